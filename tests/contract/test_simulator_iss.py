"""The simulator speaks ISS as docs/iss.md section 10 says, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lakehouse.simulator.clock import Clock
from lakehouse.simulator.exchange import DEMO_NOW, MadeExchange
from lakehouse.simulator.server import running
from tests.contract.simulator_calls import BOARD, MARKET, Reply, call

CANDLE_COLUMNS = ["open", "close", "high", "low", "value", "volume", "begin", "end"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Base address of ISS; its clock stands before the opening of 2026-07-01."""
    with running(MadeExchange(seed=1), Clock(DEMO_NOW, frozen=True)) as base_url:
        yield base_url


def candles(url: str, secid: str = "SBER", **query: object) -> Reply:
    """Ask for candles of a share on TQBR."""
    return call(f"{url}{BOARD}/{secid}/candles.json", **query)


def test_candles_have_the_exchange_s_columns_and_types(url: str) -> None:
    """Close stands before high; numbers are doubles, times are texts of 19 bytes; whole numbers have no fraction."""
    reply = candles(url, interval=24, from_="2024-03-04", till="2024-03-04")
    block = reply.document["candles"]
    assert block["columns"] == CANDLE_COLUMNS
    assert block["metadata"]["open"] == {"type": "double"}
    assert block["metadata"]["begin"] == {"type": "datetime", "bytes": 19, "max_size": 0}
    (row,) = block["data"]
    assert row[6:] == ["2024-03-04 00:00:00", "2024-03-04 23:59:59"]
    assert isinstance(row[5], int)
    assert reply.content_type == "application/json; charset=utf-8"
    assert reply.date == "Wed, 01 Jul 2026 03:00:00 GMT"


def test_a_page_of_candles_has_500_rows(url: str) -> None:
    """Pages join without loss until an empty one; there is no cursor, and a limit changes nothing."""
    begins: list[str] = []
    sizes: list[int] = []
    while rows := candles(url, interval=1, from_="2026-06-29", till="2026-06-30", start=len(begins)).rows("candles"):
        begins += [row["begin"] for row in rows]
        sizes.append(len(rows))
    assert begins == sorted(set(begins))
    assert sizes[:-1] == [500] * (len(sizes) - 1)
    assert len(begins) > 1500
    limited = candles(url, interval=1, from_="2026-06-29", limit=10)
    assert len(limited.rows("candles")) == 500
    assert list(limited.document) == ["candles"]
    assert candles(url, interval=1, from_="2026-06-29", start=10).rows("candles")[0]["begin"] == begins[10]


def test_a_start_past_the_end_gives_no_rows(url: str) -> None:
    """A start beyond the last row is answered 200 with an empty page."""
    for query in ({"interval": 24, "start": 100_000}, {"interval": 60, "from_": "2026-06-01", "start": 9999}):
        reply = candles(url, **query)
        assert (reply.status, reply.document["candles"]["data"]) == (200, [])


def test_from_and_till_are_inclusive(url: str) -> None:
    """A date covers the whole day, a time is exact, with a blank or a T."""
    day = candles(url, interval=60, from_="2026-06-30", till="2026-06-30").rows("candles")
    assert (day[0]["begin"], day[-1]["begin"]) == ("2026-06-30 06:00:00", "2026-06-30 23:00:00")
    for from_, till in (("2026-06-30 10:00:00", "2026-06-30 12:00:00"), ("2026-06-30T10:00:00", "2026-06-30T12:00:00")):
        hours = candles(url, interval=60, from_=from_, till=till).rows("candles")
        assert [row["begin"][11:13] for row in hours] == ["10", "11", "12"]


def test_an_interval_may_be_absent_or_unknown(url: str) -> None:
    """Ten minutes is what no interval means; an interval that there is not gives no rows."""
    first, second = candles(url, from_="2026-06-30").rows("candles")[:2]
    assert (first["begin"], second["begin"]) == ("2026-06-30 06:50:00", "2026-06-30 07:00:00")
    assert candles(url, interval=5).document["candles"]["data"] == []


def test_blocks_and_columns_can_be_chosen(url: str) -> None:
    """iss.meta, iss.only, iss.data and {block}.columns do as docs/iss.md section 2 says."""
    query: dict[str, Any] = {"interval": 24, "from_": "2026-06-29", "till": "2026-06-30"}
    assert "metadata" not in candles(url, iss_meta="off", **query).document["candles"]
    assert candles(url, iss_only="history", **query).document == {}
    assert candles(url, iss_data="off", **query).document["candles"]["data"] == []
    chosen = candles(url, candles_columns="begin,close,nothing", **query).document["candles"]
    assert chosen["columns"] == ["begin", "close"]
    assert [row[0] for row in chosen["data"]] == ["2026-06-29 00:00:00", "2026-06-30 00:00:00"]
    assert set(chosen["metadata"]) == {"begin", "close"}


def test_the_extended_form_is_a_list(url: str) -> None:
    """iss.json=extended gives the charset, then blocks with rows as objects, after their metadata unless it is off."""
    query: dict[str, Any] = {"interval": 24, "from_": "2026-06-30", "iss_json": "extended"}
    charset, blocks = candles(url, iss_meta="off", **query).document
    assert charset == {"charsetinfo": {"name": "utf-8"}}
    assert list(blocks["candles"][0]) == CANDLE_COLUMNS
    metadata, rows = candles(url, **query).document[1]["candles"]
    assert metadata["close"] == {"type": "double"}
    assert rows == blocks["candles"]


def test_the_newest_come_first_when_asked(url: str) -> None:
    """iss.reverse turns the order of candles round."""
    rows = candles(url, interval=24, from_="2026-06-25", iss_reverse="true").rows("candles")
    begins = [row["begin"] for row in rows]
    assert begins[0] == "2026-06-30 00:00:00"
    assert begins == sorted(begins, reverse=True)


@pytest.mark.parametrize(
    "path",
    [
        f"{BOARD}/NOSUCH/candles.json",
        "/engines/stock/markets/shares/boards/TQTF/securities/SBER/candles.json",
        "/engines/stock/markets/index/securities/SBER/candles.json",
        "/engines/currency/markets/selt/securities/SBER/candles.json",
        "/history/engines/stock/markets/shares/securities/NOSUCH.json",
        "/history/engines/stock/markets/shares/boards/SMAL/securities/LKOH.json",
        f"{BOARD}/NOSUCH/candleborders.json",
    ],
)
def test_what_the_exchange_does_not_know_is_empty(url: str, path: str) -> None:
    """An unknown code, or a code on another board or market, is answered 200 with columns and no rows."""
    reply = call(f"{url}{path}")
    assert reply.status == 200
    block = next(iter(reply.document.values()))
    assert block["columns"]
    assert block["data"] == []


@pytest.mark.parametrize(
    "path", ["/securities1.json", "/engines/stock/markets/shares/securities/SBER/candles.xml", "/x"]
)
def test_a_bad_path_is_html(url: str, path: str) -> None:
    """A path that there is not is answered 404 with HTML."""
    reply = call(f"{url}{path}")
    assert reply.status == 404
    assert reply.content_type.startswith("text/html")


@pytest.mark.parametrize("query", [{"from_": "yesterday"}, {"start": "-1"}, {"interval": "day"}])
def test_a_bad_parameter_is_told(url: str, query: dict[str, str]) -> None:
    """A parameter that makes no sense is answered 400 with what was expected."""
    reply = candles(url, **query)
    assert reply.status == 400
    assert "expected" in reply.text


def test_paths_are_in_any_case(url: str) -> None:
    """Codes and boards may be in small letters."""
    small = call(
        f"{url}/Engines/stock/markets/shares/boards/tqbr/securities/sber/candles.json", interval=24, from_="2026-06-30"
    )
    assert small.text == candles(url, interval=24, from_="2026-06-30").text


def test_a_market_gives_the_candles_of_the_main_board(url: str) -> None:
    """Candles at market level are those of the main board, for an index, a fund and a bond, too."""
    for market, board, secid in (
        ("shares", "TQBR", "GAZP"),
        ("index", "SNDX", "IMOEX"),
        ("shares", "TQTF", "EQMX"),
        ("bonds", "TQOB", "SU26238RMFS4"),
    ):
        at_board = call(
            f"{url}/engines/stock/markets/{market}/boards/{board}/securities/{secid}/candles.json", interval=31
        )
        assert len(at_board.rows("candles")) > 50
        assert (
            call(f"{url}/engines/stock/markets/{market}/securities/{secid}/candles.json", interval=31).text
            == at_board.text
        )


def test_borders_have_every_interval(url: str) -> None:
    """Seven rows; at market level with the group of boards."""
    rows = call(f"{url}{BOARD}/SBER/candleborders.json").rows("borders")
    assert {row["interval"] for row in rows} == {1, 10, 60, 24, 7, 31, 4}
    day = next(row for row in rows if row["interval"] == 24)
    assert (day["begin"], day["end"]) == ("2016-07-01 00:00:00", "2026-06-30 23:59:59")
    assert {row["board_group_id"] for row in call(f"{url}{MARKET}/SBER/candleborders.json").rows("borders")} == {57}


def history(url: str, secid: str, market: str = "shares", **query: object) -> Reply:
    """Ask for end-of-day rows at market level."""
    return call(f"{url}/history/engines/stock/markets/{market}/securities/{secid}.json", **query)


def test_history_pages_have_100_rows_and_a_cursor(url: str) -> None:
    """Pages join to the cursor's total, boards of one date in the main board's order; only=history drops the cursor."""
    keys: list[tuple[str, str]] = []
    while rows := (page := history(url, "GAZP", from_="2025-01-01", start=len(keys))).rows("history"):
        (cursor,) = page.rows("history.cursor")
        assert (cursor["INDEX"], cursor["PAGESIZE"]) == (len(keys), 100)
        keys += [(row["TRADEDATE"], row["BOARDID"]) for row in rows]
        assert len(rows) == min(100, cursor["TOTAL"] - cursor["INDEX"])
    (cursor,) = page.rows("history.cursor")
    assert cursor["TOTAL"] == len(keys) == len(set(keys))
    assert [date for date, _ in keys] == sorted(date for date, _ in keys)
    assert {board for _, board in keys} == {"TQBR", "SMAL"}
    assert list(history(url, "GAZP", iss_only="history").document) == ["history"]
    (cursor,) = history(url, "GAZP", limit=20).rows("history.cursor")
    assert cursor["PAGESIZE"] == 20


def test_history_of_a_board_has_that_board_only(url: str) -> None:
    """At board level other boards' rows are absent."""
    path = "/history/engines/stock/markets/shares/boards/{board}/securities/GAZP.json"
    for board in ("TQBR", "SMAL"):
        rows = call(url + path.format(board=board), from_="2026-01-01").rows("history")
        assert {row["BOARDID"] for row in rows} == {board}


def test_history_ends_with_yesterday(url: str) -> None:
    """Today's row is not there before the day is over, and halted days have rows without prices."""
    assert history(url, "SBER", from_="2026-06-25").rows("history")[-1]["TRADEDATE"] == "2026-06-30"
    halted = history(url, "VTBR", from_="2024-07-09", till="2024-07-12").rows("history")
    assert [(row["NUMTRADES"], row["OPEN"]) for row in halted if row["BOARDID"] == "TQBR"] == [(0, None)] * 4


def test_history_of_an_index_has_its_own_columns(url: str) -> None:
    """IMOEX has null volume and trades."""
    row = history(url, "IMOEX", "index", from_="2026-06-30").rows("history")[0]
    assert (row["BOARDID"], row["VOLUME"], row["NUMTRADES"]) == ("SNDX", None, None)


def test_a_card_names_all_boards(url: str) -> None:
    """The card describes the security and its boards; old codes stay, not traded; unknown codes are empty."""
    card = call(f"{url}/securities/GAZP.json")
    facts = {row["name"]: row["value"] for row in card.rows("description")}
    assert (facts["SECID"], facts["TYPE"], facts["FACEUNIT"]) == ("GAZP", "common_share", "SUR")
    boards = {row["boardid"]: row for row in card.rows("boards")}
    assert {board: row["is_primary"] for board, row in boards.items()} == {"TQBR": 1, "SMAL": 0}
    assert (boards["TQBR"]["history_from"], boards["TQBR"]["history_till"]) == ("2016-07-01", "2026-06-30")
    (old,) = call(f"{url}/securities/TCSG.json").rows("boards")
    assert (old["is_traded"], old["history_till"]) == (0, "2024-11-27")
    unknown = call(f"{url}/securities/NOSUCH.json")
    assert (unknown.status, unknown.document["description"]["data"], unknown.document["boards"]["data"]) == (
        200,
        [],
        [],
    )


def test_a_board_is_one_answer(url: str) -> None:
    """Securities, market data and the version of both; what is no longer traded is absent."""
    reply = call(f"{url}{BOARD}.json")
    assert list(reply.document) == ["securities", "marketdata", "dataversion"]
    by_secid = {row["SECID"]: row for row in reply.rows("securities")}
    assert {"SBER", "T", "ABIO"} <= set(by_secid)
    assert not {"TCSG", "YNDX", "ISKJ", "IMOEX"} & set(by_secid)
    close = candles(url, interval=24, from_="2026-06-30").rows("candles")[0]["close"]
    assert by_secid["SBER"]["PREVPRICE"] == close
    assert {row["LAST"] for row in reply.rows("marketdata")} == {None}  # before the opening


def test_the_index_names_engines_markets_and_boards(url: str) -> None:
    """All eight tables are there, and boards lead to markets of an engine."""
    reply = call(f"{url}/index.json")
    tables = "engines markets boards boardgroups durations securitytypes securitygroups securitycollections"
    assert list(reply.document) == tables.split()
    markets = {row["market_id"]: row["market_name"] for row in reply.rows("markets")}
    boards = {row["boardid"]: markets[row["market_id"]] for row in reply.rows("boards")}
    assert (boards["TQBR"], boards["TQOB"], boards["SNDX"]) == ("shares", "bonds", "index")
    assert [row["interval"] for row in reply.rows("durations")] == [1, 10, 60, 24, 7, 31, 4]


def test_splits_and_renames_are_listed(url: str) -> None:
    """Splits of all or of one code; technical renames only; a bonus issue and a move abroad are in neither."""
    rows = call(f"{url}/statistics/engines/stock/splits.json").rows("splits")
    assert {row["secid"] for row in rows} == {"GMKN", "VTBR", "PLZL", "T"}
    assert call(f"{url}/statistics/engines/stock/splits/VTBR.json").rows("splits") == [
        {"tradedate": "2024-07-15", "secid": "VTBR", "before": 5000, "after": 1}
    ]
    changes = call(f"{url}/history/engines/stock/markets/shares/securities/changeover.json").rows("changeover")
    assert [(row["old_secid"], row["new_secid"]) for row in changes] == [("ISKJ", "ABIO"), ("TCSG", "T")]
    assert changes[-1]["action_date"] == "2024-11-27"


def test_the_calendars_agree(url: str) -> None:
    """The new calendar lists all days or the unusual ones; the old one holds this and next year's exceptions."""
    span = {"from_": "2026-06-08", "till": "2026-06-14"}
    days = {
        row["tradedate"]: row for row in call(f"{url}/calendars/stock.json", show_all_days=1, **span).rows("off_days")
    }
    assert len(days) == 7
    assert (days["2026-06-10"]["is_traded"], days["2026-06-10"]["reason"]) == (1, "N")
    assert (days["2026-06-12"]["is_traded"], days["2026-06-12"]["reason"]) == (0, "H")
    unusual = call(f"{url}/calendars/stock.json", **span).rows("off_days")
    assert [row["tradedate"] for row in unusual] == ["2026-06-12", "2026-06-13", "2026-06-14"]
    old = call(f"{url}/engines/stock.json")
    exceptions = {row["date"]: row["is_work_day"] for row in old.rows("dailytable")}
    assert exceptions["2026-06-12"] == 0
    assert min(exceptions) >= "2026-01-01"
    assert [row["is_work_day"] for row in old.rows("timetable")] == [1, 1, 1, 1, 1, 0, 0]
