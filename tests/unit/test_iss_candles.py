"""Pages of candles prove their end or are refused."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from lakehouse.iss.candles import Border, candle_pages, parse_borders, reaches
from lakehouse.iss.errors import IssContractError, PagingBroken
from lakehouse.iss.pages import Page
from lakehouse.market.instrument import Instrument
from lakehouse.market.timeframe import Timeframe
from tests.exchange import Document, Fault, MadeExchange, answer, candle, minutes

SBER = Instrument("stock", "shares", "TQBR", "SBER")
FIRST = dt.datetime(2024, 3, 4, 10, 0)  # noqa: DTZ001 - the exchange's times are naive
DAY = dt.date(2024, 3, 4)


async def read(exchange: MadeExchange, border_end: dt.datetime | None = None) -> list[Page]:
    pages = candle_pages(exchange, SBER, Timeframe.MINUTE, FIRST, DAY, lambda answer: border_end)
    return [page async for page in pages]


def on_request(number: int, change: Any) -> Fault:
    """Return a fault that changes the rows of one answer."""

    def fault(request: int, document: Document) -> Document:
        if request == number:
            document["candles"]["data"] = change(document["candles"]["data"])
        return document

    return fault


async def test_empty_page_proves_the_end() -> None:
    """Without a border, pages are read until one is empty."""
    pages = await read(MadeExchange(minutes(FIRST, 600)))
    assert [len(page.keys) for page in pages] == [500, 100, 0]
    assert [page.end_proof for page in pages] == ["", "", "empty page"]


async def test_short_page_at_the_border_proves_the_end() -> None:
    """A short page that reaches the end of the series needs no empty page after it."""
    pages = await read(MadeExchange(minutes(FIRST, 600)), border_end=FIRST + dt.timedelta(minutes=599))
    assert [len(page.keys) for page in pages] == [500, 100]
    assert pages[-1].end_proof == "short page at the border"


async def test_short_page_before_the_border_proves_nothing() -> None:
    """A short page that ends before the border does is followed by another request."""
    pages = await read(MadeExchange(minutes(FIRST, 600)), border_end=FIRST + dt.timedelta(days=30))
    assert pages[-1].end_proof == "empty page"


async def test_full_page_at_the_border_proves_nothing() -> None:
    """A page of 500 rows may have a page after it even where the border says that the series ends."""
    pages = await read(MadeExchange(minutes(FIRST, 500)), border_end=FIRST + dt.timedelta(minutes=499))
    assert [len(page.keys) for page in pages] == [500, 0]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            on_request(1, lambda rows: minutes(FIRST, 500)),
            r"SBER TQBR 1m 2024-03-04T10:00\.\.2024-03-04: the page from row 500 begins at 2024-03-04 10:00:00, "
            "the page before ended at 2024-03-04 18:19:00: it was repeated or shifted",
        ),
        (
            on_request(1, lambda rows: [candle(FIRST + dt.timedelta(minutes=499)), *rows[:-1]]),
            "the page from row 500 begins at 2024-03-04 18:19:00, the page before ended at 2024-03-04 18:19:00",
        ),
        (
            on_request(0, lambda rows: rows[:300]),
            "the page from row 300 follows a short page of 300 rows: rows were lost",
        ),
        (on_request(0, lambda rows: rows[::-1]), "the page from row 0 is not in the order of begin"),
        (
            on_request(1, lambda rows: minutes(FIRST + dt.timedelta(days=1), 10)),
            r"row 500 holds rows of 2024-03-05 10:00:00\.\.2024-03-05 10:09:00, asked were 2024-03-04 10:00:00",
        ),
        (
            on_request(0, lambda rows: minutes(FIRST - dt.timedelta(minutes=1), 10)),
            "the page from row 0 holds rows of 2024-03-04 09:59",
        ),
    ],
    ids=["repeated", "shifted", "lost", "disordered", "too late", "too early"],
)
async def test_pages_that_do_not_add_up_are_refused(fault: Fault, message: str) -> None:
    """Repeated, shifted, lost, disordered and foreign rows end the reading with what was found."""
    with pytest.raises(PagingBroken, match=message):
        await read(MadeExchange(minutes(FIRST, 800), fault=fault))


async def test_two_rows_of_one_begin_are_passed_on() -> None:
    """The exchange has candles that are there twice; they are Silver's to judge, not a broken page."""
    pages = await read(MadeExchange([candle(FIRST, 1.0), candle(FIRST, 2.0)]))
    assert [len(page.keys) for page in pages] == [2, 0]


async def test_begin_that_is_no_time_is_a_broken_contract() -> None:
    """The proof rests on begin, so begin must be what we know."""
    with pytest.raises(
        IssContractError, match="column begin of block 'candles' holds '2024-03-04', expected a text of 19"
    ):
        await read(
            MadeExchange(minutes(FIRST, 3), fault=on_request(0, lambda rows: [[1, 1, 1, 1, 1, 1, "2024-03-04", ""]]))
        )


@pytest.mark.parametrize(
    ("timeframe", "begin", "end", "expected"),
    [
        (Timeframe.MINUTE, "2024-03-04 18:49:00", "2024-03-04 18:49:00", True),
        (Timeframe.MINUTE, "2024-03-04 18:49:00", "2024-03-04 18:49:59", True),
        (Timeframe.MINUTE, "2024-03-04 18:48:00", "2024-03-04 18:49:00", False),
        (Timeframe.HOUR, "2024-03-04 18:00:00", "2024-03-04 18:49:59", True),
        (Timeframe.DAY, "2024-03-04 00:00:00", "2024-03-04 23:59:59", True),
        (Timeframe.DAY, "2024-03-01 00:00:00", "2024-03-04 00:00:00", False),
        (Timeframe.MONTH, "2024-03-01 00:00:00", "2024-03-29 00:00:00", True),
        (Timeframe.WEEK, "2024-03-04 00:00:00", "2024-03-11 00:00:00", False),
    ],
)
def test_border_may_be_given_as_begin_or_as_end(timeframe: Timeframe, begin: str, end: str, expected: bool) -> None:
    """The last candle is the one that holds the border's end, however the exchange writes it."""
    assert reaches(timeframe, dt.datetime.fromisoformat(begin), dt.datetime.fromisoformat(end)) is expected


def test_borders_are_read_by_timeframe() -> None:
    """Intervals we do not know and series without candles have no border."""
    begin, end = "2011-12-15 10:00:00", "2024-03-04 18:49:00"
    rows = [[begin, end, 1], [begin, end, 5], [None, None, 24]]
    got = answer({"borders": {"columns": ["begin", "end", "interval"], "data": rows}})
    border = Border(dt.datetime.fromisoformat(begin), dt.datetime.fromisoformat(end))
    assert parse_borders(got) == {Timeframe.MINUTE: border}


def test_border_that_is_no_time_is_a_broken_contract() -> None:
    """A border decides what is asked, so it must be what we know."""
    got = answer({"borders": {"columns": ["begin", "end", "interval"], "data": [["soon", "2024-03-04 18:49:00", 1]]}})
    with pytest.raises(IssContractError, match="a border is 'soon', expected a date and a time"):
        parse_borders(got)
