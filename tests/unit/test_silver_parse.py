from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from lakehouse.bronze.ledger import LedgerObject
from lakehouse.market.candle import SILVER
from lakehouse.silver.parse import BronzeUnreadable, Source, parse, rows_schema
from tests.bronze_objects import (
    CANDLE_COLUMNS,
    HISTORY_COLUMNS,
    block,
    bronze_object,
    candle,
    candles_object,
)


def source(object_: LedgerObject, **changed: Any) -> Source:
    names = (
        "object_key",
        "family",
        "engine",
        "market",
        "board",
        "secid",
        "timeframe",
        "span_from",
        "span_till",
        "fetched_at",
    )
    described: dict[str, Any] = {name: getattr(object_, name) for name in names}
    return Source(
        **{"object_id": 3, "series_id": 1, "known_from": object_.fetched_at, "is_new": True, **described, **changed}
    )


def parsed(object_and_body: tuple[LedgerObject, bytes], **changed: Any) -> list[dict[str, Any]]:
    object_, body = object_and_body
    return [row for batch in parse(source(object_, **changed), body) for row in batch.to_pylist()]


def utc(*numbers: int) -> dt.datetime:
    return dt.datetime(*numbers, tzinfo=dt.UTC)  # type: ignore[misc, arg-type]


def test_a_candle_gets_utc_instants_its_moscow_date_and_its_place_in_bronze() -> None:
    """Moscow time becomes UTC, the date stays Moscow's, and line and row lead back to the object."""
    rows = parsed(candles_object([candle("2024-03-04 09:59:00"), candle("2024-03-04 10:00:00")], page=1))
    assert [(row["begin_at"], row["trade_date"], row["bucket"]) for row in rows] == [
        (utc(2024, 3, 4, 6, 59), dt.date(2024, 3, 4), "2024-03"),
        (utc(2024, 3, 4, 7, 0), dt.date(2024, 3, 4), "2024-03"),
    ]
    assert [(row["line"], row["row"]) for row in rows] == [(1, 0), (2, 0)]
    assert {name: rows[0][name] for name in ("open", "high", "low", "close", "value", "volume")} == {
        "open": 1.0,
        "high": 2.0,
        "low": 1.0,
        "close": 1.5,
        "value": 10.5,
        "volume": 10.0,
    }
    assert all(row["rule"] is None and row["is_final"] and row["is_new"] and row["object_id"] == 3 for row in rows)


def test_moscow_was_four_hours_ahead_until_october_2014() -> None:
    """The offset is that of the day, also within one object; a day's candle of 1 March begins in February in UTC."""
    days = [candle(f"2014-10-{day} 00:00:00") for day in (24, 26, 27)]
    rows = parsed(candles_object(days, timeframe="1d", from_=dt.date(2014, 1, 1), till=dt.date(2014, 12, 31)))
    assert [row["begin_at"].hour for row in rows] == [20, 20, 21]
    assert {row["bucket"] for row in rows} == {"all"}


def test_a_date_without_a_time_begins_at_midnight() -> None:
    """Recorded daily candles carry dates only."""
    rows = parsed(candles_object([candle("2024-03-04")], timeframe="1d"))
    assert rows[0]["begin_at"] == utc(2024, 3, 3, 21)


@pytest.mark.parametrize(
    ("timeframe", "begin", "fetched_at", "is_final"),
    [
        ("1m", "2024-03-04 10:00:00", utc(2024, 3, 5, 1, 4), False),
        ("1m", "2024-03-04 10:00:00", utc(2024, 3, 5, 1, 5), True),
        ("1d", "2024-03-04 00:00:00", utc(2024, 3, 5, 1, 5), True),
        ("1w", "2024-03-04 00:00:00", utc(2024, 3, 10, 21, 14), False),
        ("1w", "2024-03-04 00:00:00", utc(2024, 3, 10, 21, 15), True),
        ("1mo", "2024-03-01 00:00:00", utc(2024, 3, 31, 21, 14), False),
        ("1mo", "2024-03-01 00:00:00", utc(2024, 3, 31, 21, 15), True),
        ("1q", "2024-01-01 00:00:00", utc(2024, 3, 31, 21, 14), False),
        ("1q", "2024-01-01 00:00:00", utc(2024, 3, 31, 21, 15), True),
    ],
)
def test_a_candle_is_final_when_its_last_date_is_over_and_settled(
    timeframe: str, begin: str, fetched_at: dt.datetime, is_final: bool
) -> None:
    """Finality comes from the dates, the sessions and a settle delay, never from `end`."""
    made = candles_object(
        [candle(begin)],
        timeframe=timeframe,
        fetched_at=fetched_at,
        from_=dt.date(2024, 1, 1),
        till=dt.date(2024, 3, 31),
    )
    assert [row["is_final"] for row in parsed(made)] == [is_final]


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (candle(None), "begin_at missing"),  # type: ignore[arg-type]
        (candle("yesterday"), "begin_at unreadable"),
        (candle("2024-04-01 10:00:00"), "outside window"),
        (candle("2024-02-29 23:59:00"), "outside window"),
        (candle("2024-03-04 10:00:30"), "begin off grid"),
        (candle("2024-03-04 10:00:00", volume=-1), "volume negative"),
        (candle("2024-03-04 10:00:00", value=-0.5), "value negative"),
        (candle("2024-03-04 10:00:00", close=2.5), "prices out of order"),
        (candle("2024-03-04 10:00:00", low=1.25), "prices out of order"),
        (candle("2024-03-04 10:00:00", high="a lot"), "high unreadable"),
        (candle("2024-03-04 10:00:00", close=float("nan")), "close unreadable"),
        (candle("2024-03-04 10:00:00", close=float("inf")), "close unreadable"),
    ],
)
def test_a_row_that_breaks_a_rule_keeps_what_was_received(row: list[Any], rule: str) -> None:
    """The broken row names its rule and carries its payload; its neighbours are not touched."""
    good = candle("2024-03-04 10:01:00")
    found = parsed(candles_object([good, row]))
    assert [one["rule"] for one in found] == [None, rule]
    assert f'"begin": {"null" if row[6] is None else chr(34) + row[6] + chr(34)}' in found[1]["payload"]
    assert found[0]["close"] == 1.5


@pytest.mark.parametrize(
    ("timeframe", "begin", "fits"),
    [
        ("10m", "2024-03-04 09:50:00", True),
        ("10m", "2024-03-04 09:55:00", False),
        ("1h", "2024-03-04 09:00:00", True),
        ("1h", "2024-03-04 09:30:00", False),
        ("1d", "2024-03-02 00:00:00", True),
        ("1d", "2024-03-04 03:00:00", False),
        ("1w", "2024-03-04 00:00:00", True),
        ("1w", "2024-03-05 00:00:00", False),
        ("1mo", "2024-03-01 00:00:00", True),
        ("1mo", "2024-03-02 00:00:00", False),
        ("1q", "2024-01-01 00:00:00", True),
        ("1q", "2024-02-01 00:00:00", False),
    ],
)
def test_a_candle_begins_on_the_grid_of_its_timeframe(timeframe: str, begin: str, fits: bool) -> None:
    """Days begin at midnight, weeks on Monday, months and quarters on their first day."""
    made = candles_object([candle(begin)], timeframe=timeframe, from_=dt.date(2024, 1, 1), till=dt.date(2024, 3, 15))
    assert [row["rule"] is None for row in parsed(made)] == [fits]


def test_odd_ends_jumps_doubled_rows_and_missing_values_are_no_rules() -> None:
    """What is merely odd goes into the table."""
    rows = [
        candle("2024-03-04 10:00:00", end="2024-03-04 09:00:00"),
        candle("2024-03-04 10:01:00", close=1000, high=1000),
        candle("2024-03-04 10:01:00", close=1000, high=1000),
        candle("2024-03-04 10:02:00", volume=None, value=None),
    ]
    found = parsed(candles_object(rows))
    assert [row["rule"] for row in found] == [None] * 4
    assert found[3]["volume"] is None


def test_minus_zero_is_read_as_zero() -> None:
    """So that equality of versions is equality of bits."""
    row = candle("2024-03-04 10:00:00", value=-0.0)
    assert str(parsed(candles_object([row]))[0]["value"]) == "0.0"


def test_answers_that_were_no_success_hold_no_rows() -> None:
    """A retried 503 stays in the object and counts for nothing; the line number is that of the object."""
    good = {"candles": block(CANDLE_COLUMNS, [candle("2024-03-04 10:00:00")])}
    made = bronze_object("candles", [(503, "<html>"), good], rows=1, board="TQBR", secid="SBER", timeframe="1m")
    assert [row["line"] for row in parsed(made)] == [2]


def test_an_object_without_its_block_is_refused() -> None:
    """A success without the family's block should never have been landed."""
    made = bronze_object("candles", [{"other": block((), ())}], rows=0, board="TQBR", secid="SBER", timeframe="1m")
    with pytest.raises(BronzeUnreadable, match=r"iss/candles/stock.*#1: the answer of .* has no block 'candles'"):
        parsed(made)


def test_an_object_that_was_changed_on_the_disk_is_named() -> None:
    """Bytes that the ledger's object does not have any more: which object, what is wrong, what to do."""
    made, body = candles_object([candle("2024-03-04 10:00:00")])
    message = (
        r"^iss/candles/stock/shares/TQBR/SBER/.*: a Bronze object of .*EOFError.*; then: lakehouse rebuild ledger$"
    )
    with pytest.raises(BronzeUnreadable, match=message):
        parsed((made, body[:-9]))


def test_of_an_object_that_is_not_new_only_what_is_wanted_is_read() -> None:
    """Keys outside the new objects' spans are none of this derivation's business."""
    rows = [candle(f"2024-03-04 10:0{minute}:00") for minute in range(4)]
    wanted = [(utc(2024, 3, 4, 7, 1), utc(2024, 3, 4, 7, 3))]
    found = parsed(candles_object(rows), is_new=False, wanted=wanted)
    assert [row["row"] for row in found] == [1, 2]


def test_history_has_its_boards_in_its_rows_and_null_on_days_without_trades() -> None:
    """Market-level history gives several boards; columns that an old page lacks are NULL."""
    rows = [
        ["TQBR", "2024-03-04", "SBER", 5, 100.0, 1, 1, 2, 2, 50],
        ["SMAL", "2024-03-04", "SBER", 0, 0, None, None, None, None, 0],
        ["TQBR", "2024-03-05", "GAZP", 5, 100.0, 1, 1, 2, 2, 50],
        ["TQBR", "2024-04-05", "SBER", 5, 100.0, 1, 1, 2, 2, 50],
    ]
    made = bronze_object("history", [{"history": block(HISTORY_COLUMNS, rows)}], rows=4, secid="SBER")
    found = parsed(made)
    assert [row["rule"] for row in found] == [None, None, "other security", "outside window"]
    assert (found[0]["board"], found[0]["trades"], found[0]["legal_close"]) == ("TQBR", 5.0, None)
    assert (found[1]["board"], found[1]["close"]) == ("SMAL", None)


def test_a_card_becomes_a_row_per_board_with_the_description() -> None:
    """The rouble is RUB, whatever the card calls it; the board's own currency wins."""
    description = [["SECID", "SBER"], ["SHORTNAME", "Сбербанк"], ["NAME", "ПАО Сбербанк"], ["ISIN", "RU0009029540"]]
    description += [["TYPE", "common_share"], ["FACEUNIT", "SUR"]]
    columns = (
        "secid",
        "boardid",
        "market",
        "engine",
        "is_traded",
        "decimals",
        "history_from",
        "is_primary",
        "currencyid",
    )
    boards = [
        ["SBER", "TQBR", "shares", "stock", 1, 2, "2013-03-25", 1, None],
        ["SBER", "TQTD", "shares", "stock", 0, 2, None, 0, "USD"],
    ]
    answer = {"description": block(("name", "value"), description), "boards": block(columns, boards)}
    found = parsed(bronze_object("securities", [answer], rows=2, secid="SBER", engine="", market=""))
    assert [(row["board"], row["currency"], row["is_traded"], row["is_primary"]) for row in found] == [
        ("TQBR", "RUB", True, True),
        ("TQTD", "USD", False, False),
    ]
    assert found[0]["name"] == "ПАО Сбербанк"
    assert found[0]["history_from"] == dt.date(2013, 3, 25)
    assert found[1]["history_from"] is None


def test_splits_renames_and_calendars() -> None:
    """Reference families become their tables; a successor without a code yet is no rename."""
    splits = block(
        ("tradedate", "secid", "before", "after"), [["2024-07-15", "VTBR", 5000, 1], ["2024-07-16", "X", 0, 1]]
    )
    found = parsed(bronze_object("splits", [{"splits": splits}], rows=2, market=""))
    assert [(row["secid"], row["before"], row["rule"]) for row in found] == [
        ("VTBR", 5000.0, None),
        ("X", 0.0, "ratio not positive"),
    ]
    renames = block(
        ("action_date", "old_secid", "new_secid"), [["2024-11-27", "TCSG", "T"], ["2024-11-27", "A", "XXXXXX"]]
    )
    found = parsed(bronze_object("changeover", [{"changeover": renames}], rows=2))
    assert [(row["old_secid"], row["rule"]) for row in found] == [("TCSG", None), ("A", "placeholder code")]
    table = block(("date", "is_work_day", "start_time", "stop_time"), [["2024-12-28", 1, "10:00:00", "18:30:00"]])
    found = parsed(bronze_object("timetable", [{"dailytable": table}], rows=1, market=""))
    assert [(row["trade_date"], row["is_traded"], row["tier"]) for row in found] == [(dt.date(2024, 12, 28), True, -1)]
    days = block(("tradedate", "is_traded", "reason"), [["2024-12-28", 1, "T"], ["2024-12-29", 0, "W"]])
    found = parsed(bronze_object("calendar", [{"off_days": days}], rows=2, market=""))
    assert [(row["is_traded"], row["reason"], row["tier"]) for row in found] == [(True, "T", 0), (False, "W", 0)]


@pytest.mark.parametrize("table", SILVER, ids=lambda table: table.name)
def test_every_table_of_silver_has_rows_of_its_own_types(table: Any) -> None:
    """Row columns have the types that the table declares."""
    schema = rows_schema(table)
    assert schema.field("object_id").type == pa.int32()
    assert set(table.key) <= {*schema.names, "engine", "market", "board", "secid", "timeframe"}
