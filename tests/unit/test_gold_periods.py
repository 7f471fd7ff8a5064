"""Weeks, months and quarters in which an instrument was renamed or split."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from lakehouse.gold.periods import join_periods, split_periods
from lakehouse.gold.series import CANDLE, facts
from lakehouse.gold.splits import Split
from lakehouse.market.candle import CANDLES, FACT_CANDLE
from lakehouse.market.moscow import day_start
from lakehouse.market.renames import SINCE_EVER
from lakehouse.market.timeframe import Timeframe
from lakehouse.silver.arrow import arrow_schema

RENAMED = dt.date(2024, 11, 27)
# Ten for one
SPLIT = Split(dt.date(2026, 4, 17), 1, 10)
PRICES = ("open", "high", "low", "close")


def candle(
    read_as: str, date: dt.date, prices: tuple[float | None, ...], value: float | None, volume: float, **rest: Any
) -> dict[str, Any]:
    named = {"begin_at": day_start(date), "trade_date": date, "secid": "T", "is_final": True, "bucket": "all"}
    whence = {"read_as": read_as, "board": "TQBR", "after": SINCE_EVER}
    return named | dict(zip(PRICES, prices, strict=True)) | {"value": value, "volume": volume} | whence | rest


def joined(timeframe: str, splits: list[Split], *rows: dict[str, Any]) -> list[dict[str, Any]]:
    fields = [arrow_schema(CANDLES).field(name) for name in CANDLE]
    origin = [pa.field("read_as", pa.string()), pa.field("board", pa.string()), pa.field("after", pa.date32())]
    table = pa.Table.from_pylist(list(rows), pa.schema([*fields, *origin]))
    found = join_periods(table, Timeframe(timeframe), splits)
    assert facts(found, 7, Timeframe(timeframe), splits).schema == arrow_schema(FACT_CANDLE)
    rows_: list[dict[str, Any]] = found.to_pylist()
    return rows_


@pytest.mark.parametrize(
    ("timeframe", "first"),
    [("1w", dt.date(2024, 11, 25)), ("1mo", dt.date(2024, 11, 1)), ("1q", dt.date(2024, 10, 1))],
)
def test_a_period_of_two_codes_is_one_candle(timeframe: str, first: dt.date) -> None:
    """The exchange has one of each code: the first opens, the last closes, and what was traded adds up."""
    old = candle(timeframe, first, (10.0, 12.0, 9.0, 11.0), 100.0, 10.0, secid="TCSG")
    new = candle(timeframe, first, (11.0, 15.0, 10.0, 14.0), 300.0, 25.0, after=RENAMED)
    (found,) = joined(timeframe, [], new, old)
    assert [found[name] for name in PRICES] == [10.0, 15.0, 9.0, 14.0]
    assert (found["value"], found["volume"], found["secid"], found["trade_date"]) == (400.0, 35.0, "T", first)


def test_a_period_of_one_code_stays_as_the_exchange_has_it() -> None:
    """NULLs stay too: the sum of nothing is not nought."""
    first = dt.date(2024, 10, 1)
    rows = [
        candle("1mo", first, (10.0, 12.0, 9.0, 11.0), 100.0, 10.0),
        candle("1mo", dt.date(2024, 11, 1), (None, None, None, 11.0), None, 0.0, is_final=False),
    ]
    assert joined("1mo", [], *rows) == [{name: row[name] for name in CANDLE} for row in rows]


def test_a_code_that_came_back_counts_once() -> None:
    """Renamed and named back within the month, it has one candle, found for both of its times."""
    rows = [
        candle("1mo", dt.date(2024, 11, 1), (10.0, 12.0, 9.0, 11.0), 100.0, 10.0, after=after)
        for after in (SINCE_EVER, RENAMED)
    ]
    (found,) = joined("1mo", [], *rows)
    assert (found["value"], found["volume"]) == (100.0, 10.0)


def test_only_a_split_within_a_period_gives_it_two_units() -> None:
    """On the first day of a week all of that week is in the new units."""
    friday, monday = dt.date(2026, 4, 17), dt.date(2026, 4, 20)
    assert split_periods([Split(friday, 1, 10)], Timeframe.WEEK) == [(dt.date(2026, 4, 13), dt.date(2026, 4, 19))]
    assert split_periods([Split(monday, 1, 10)], Timeframe.WEEK) == []
    assert split_periods([SPLIT], Timeframe.MONTH) == [(dt.date(2026, 4, 1), dt.date(2026, 4, 30))]
    assert split_periods([SPLIT, Split(monday, 1, 2)], Timeframe.QUARTER) == [
        (dt.date(2026, 4, 1), dt.date(2026, 6, 30))
    ]


def month_of_a_split(value: float, *, is_final: bool = True) -> dict[str, Any]:
    first = dt.date(2026, 4, 1)
    rows = [
        candle("1mo", first, (2791.0, 2856.0, 248.0, 260.0), value, 1_000.0, is_final=is_final),
        candle("1d", dt.date(2026, 4, 1), (2791.0, 2856.0, 2700.0, 2750.0), 3_000.0, 100.0),
        candle("1d", dt.date(2026, 4, 16), (2750.0, 2760.0, 2600.0, 2605.0), 2_000.0, 200.0),
        candle("1d", dt.date(2026, 4, 17), (261.0, 262.0, 248.0, 260.0), 5_000.0, 700.0),
    ]
    (found,) = joined("1mo", [SPLIT], *rows)
    return found


def test_a_period_of_a_split_is_made_from_its_days() -> None:
    """In the units of its end, of which its split factor is: so all its prices and its volume are comparable."""
    found = month_of_a_split(10_000.0)
    assert [found[name] for name in PRICES] == pytest.approx([279.1, 285.6, 248.0, 260.0])
    assert (found["value"], found["volume"]) == (10_000.0, pytest.approx(100 * 10 + 200 * 10 + 700))


def test_days_that_are_not_all_make_no_period_of_a_split() -> None:
    """The value tells, which no split changes: what else the candle says is in two units, and is not shown."""
    found = month_of_a_split(11_000.0)
    assert [found[name] for name in (*PRICES, "volume")] == [None, None, None, 260.0, None]
    assert found["value"] == 11_000.0


def test_a_period_that_forms_may_be_read_a_moment_after_its_days() -> None:
    """Its value is a little ahead of theirs until both are final."""
    assert month_of_a_split(10_100.0, is_final=False)["open"] == pytest.approx(279.1)
    assert month_of_a_split(10_100.0)["open"] is None
    assert month_of_a_split(20_000.0, is_final=False)["open"] is None
