"""The client against the simulator over a socket: both must mean the same by ISS."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Iterator

import pytest

from lakehouse.iss.blocks import read_block
from lakehouse.iss.candles import SERIES_END, Border, candle_pages, fetch_borders, parse_borders, reaches
from lakehouse.iss.client import IssClient, Patience
from lakehouse.iss.errors import IssContractError
from lakehouse.iss.history import history_pages
from lakehouse.iss.pages import Page
from lakehouse.iss.reference import (
    CALENDAR,
    CHANGEOVER,
    SPLITS,
    TIMETABLE,
    fetch_calendar,
    fetch_changeover,
    fetch_splits,
    fetch_timetable,
)
from lakehouse.iss.securities import CARD, fetch_security
from lakehouse.market.instrument import Instrument
from lakehouse.market.moscow import to_utc
from lakehouse.market.timeframe import Timeframe
from lakehouse.simulator.clock import Clock
from lakehouse.simulator.exchange import MadeExchange
from lakehouse.simulator.server import running
from tests.contract.test_client_transport import CountedBudget

T = dt.datetime.fromisoformat
D = dt.date.fromisoformat
SBER = Instrument("stock", "shares", "TQBR", "SBER")
# A Wednesday in mid-session
NOW = T("2026-06-24 15:00:00")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(MadeExchange(1), Clock(NOW, frozen=True)) as address:
        yield address


@pytest.fixture
async def client(url: str) -> AsyncIterator[IssClient]:
    async with IssClient(url, CountedBudget(), Patience(attempts=1)) as client:
        yield client


async def candles(
    client: IssClient, timeframe: Timeframe, from_: str, till: str, instrument: Instrument = SBER
) -> list[Page]:
    return [page async for page in candle_pages(client, instrument, timeframe, T(from_), D(till))]


async def borders(client: IssClient) -> dict[Timeframe, Border]:
    return parse_borders(await fetch_borders(client, SBER))


async def test_answers_carry_the_simulators_clock(client: IssClient) -> None:
    """The Date header is the clock of the exchange, in UTC."""
    assert (await fetch_security(client, "SBER")).fetched_at == to_utc(NOW)


@pytest.mark.parametrize("timeframe", list(Timeframe))
async def test_series_lies_within_its_border(client: IssClient, timeframe: Timeframe) -> None:
    """The last candle is the one in which the border ends, and a window around the border ends with proof."""
    border = (await borders(client))[timeframe]
    pages = await candles(client, timeframe, f"{border.end.date() - dt.timedelta(days=100)} 00:00:00", "2026-06-24")
    last = max(key for page in pages for key in page.keys)
    assert pages[-1].end_proof == SERIES_END
    assert reaches(timeframe, T(last), border.end)
    assert T(last) <= border.end


async def test_whole_series_begins_at_its_border(client: IssClient) -> None:
    """Ten years of days are read page by page, in order, from the border's begin."""
    border = (await borders(client))[Timeframe.DAY]
    pages = await candles(client, Timeframe.DAY, "2010-01-01 00:00:00", "2026-06-24")
    keys = [key for page in pages for key in page.keys]
    assert T(keys[0]) == border.begin
    assert keys == sorted(set(keys))
    assert len(keys) > 2000
    assert [len(page.keys) + page.overlap for page in pages[:-2]] == [500] * (len(pages) - 2)


async def test_minutes_of_a_day_are_more_than_a_page(client: IssClient) -> None:
    """A day of minutes of a liquid share needs paging, and adds up to the day's candle."""
    minutes = await candles(client, Timeframe.MINUTE, "2026-06-22 00:00:00", "2026-06-22")
    (day, _) = await candles(client, Timeframe.DAY, "2026-06-22 00:00:00", "2026-06-22")
    assert len(minutes) >= 2
    volumes = [sum(page.block.column("volume")) for page in minutes if not page.is_proof]
    assert sum(volumes) == pytest.approx(day.block.column("volume")[0])


async def test_window_may_begin_in_mid_day(client: IssClient) -> None:
    """A datetime as from is kept to the minute: that is how an anchor is read along."""
    (page, _) = await candles(client, Timeframe.MINUTE, "2026-06-22 18:00:00", "2026-06-22")
    assert page.keys[0] == "2026-06-22 18:00:00"


async def test_last_quarter_of_an_hour_is_hidden(client: IssClient) -> None:
    """No candle begins after a quarter of an hour before the clock."""
    pages = await candles(client, Timeframe.MINUTE, "2026-06-24 14:00:00", "2026-06-24")
    last = T(max(key for page in pages for key in page.keys))
    assert NOW - dt.timedelta(minutes=20) < last <= NOW - dt.timedelta(minutes=15)


async def test_unknown_code_has_no_candles_and_no_card(client: IssClient) -> None:
    """The exchange answers 200 and empty blocks for what it does not know."""
    nobody = Instrument("stock", "shares", "TQBR", "NOPE")
    pages = await candles(client, Timeframe.DAY, "2026-06-01 00:00:00", "2026-06-24", nobody)
    assert [(len(page.keys), page.end_proof) for page in pages] == [(0, ""), (0, SERIES_END)]
    assert read_block(await fetch_security(client, "NOPE"), "boards", CARD["boards"]).rows == []


async def test_history_of_all_boards_follows_its_cursor(client: IssClient) -> None:
    """A year of end-of-day rows of all boards is proved by its cursor."""
    pages = [page async for page in history_pages(client, "stock", "shares", "GAZP", D("2025-06-01"), D("2026-06-23"))]
    rows = sum(len(page.keys) for page in pages)
    boards = {board for page in pages for board in page.block.column("boardid")}
    assert pages[-1].end_proof == f"cursor at {rows} of {rows}"
    assert len(boards) > 1
    assert {len(page.keys) for page in pages[:-1]} == {100}


async def test_history_of_an_index_has_no_volume(client: IssClient) -> None:
    """An index has end-of-day rows on its own market, without volume."""
    pages = [page async for page in history_pages(client, "stock", "index", "IMOEX", D("2026-06-01"), D("2026-06-23"))]
    assert pages[0].keys
    assert set(pages[0].block.column("volume")) == {None}


async def test_card_names_the_primary_board(client: IssClient) -> None:
    """A share, a fund and an index each have one primary board."""
    for secid, board in {"SBER": "TQBR", "EQMX": "TQTF", "IMOEX": "SNDX"}.items():
        rows = read_block(await fetch_security(client, secid), "boards", CARD["boards"]).records()
        assert [row["boardid"] for row in rows if row["is_primary"]] == [board]


async def test_reference_tables_have_their_blocks(client: IssClient) -> None:
    """Timetable, calendar, splits and changes of codes have rows, with the columns that are read."""
    answers = {
        "timetable": (await fetch_timetable(client, "stock"), TIMETABLE),
        "off_days": (await fetch_calendar(client, "stock", D("2026-01-01"), D("2026-12-31")), CALENDAR),
        "splits": (await fetch_splits(client, "stock"), SPLITS),
        "changeover": (await fetch_changeover(client, "stock", "shares"), CHANGEOVER),
    }
    for name, ((answer,), required) in answers.items():
        assert read_block(answer, name, required[name]).rows
    calendar = read_block(answers["off_days"][0][0], "off_days", CALENDAR["off_days"])
    assert len(calendar.rows) == 365


async def test_path_that_does_not_exist_is_a_refusal(client: IssClient) -> None:
    """A wrong path is answered with 404 and HTML: that is a broken contract, not a bad day."""
    with pytest.raises(IssContractError, match="answered 404 Not Found, expected 200"):
        await client.get("/securities1.json")
