"""Pages of candles prove their end or are refused."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from lakehouse.iss.candles import SERIES_END, Border, candle_pages, parse_borders, reaches
from lakehouse.iss.errors import IssContractError, PagingBroken
from lakehouse.iss.pages import Page
from lakehouse.market.instrument import Instrument
from lakehouse.market.timeframe import Timeframe
from tests.exchange import Document, Fault, MadeExchange, answer, candle, minutes

SBER = Instrument("stock", "shares", "TQBR", "SBER")
FIRST = dt.datetime(2024, 3, 4, 10, 0)  # noqa: DTZ001 - the exchange's times are naive
DAY = dt.date(2024, 3, 4)


async def read(exchange: MadeExchange) -> list[Page]:
    return [page async for page in candle_pages(exchange, SBER, Timeframe.MINUTE, FIRST, DAY)]


def on_request(number: int, change: Any) -> Fault:
    """Return a fault that changes the rows of one answer."""

    def fault(request: int, document: Document) -> Document:
        if request == number:
            document["candles"]["data"] = change(document["candles"]["data"])
        return document

    return fault


async def test_next_row_beyond_the_window_proves_the_end() -> None:
    """The window has ended when the row after its last one, asked for by number, begins later."""
    exchange = MadeExchange([*minutes(FIRST, 800), candle(FIRST + dt.timedelta(days=3))])
    pages = await read(exchange)
    assert [(len(page.keys), page.is_proof) for page in pages] == [(500, False), (300, False), (0, True)]
    assert [page.end_proof for page in pages] == ["", "", "next row 2024-03-07 10:00:00"]


async def test_window_without_rows_is_proven_by_the_next_row() -> None:
    """No rows in a window are believed when the exchange shows what comes after them."""
    pages = await read(MadeExchange([candle(FIRST + dt.timedelta(days=3))]))
    assert [page.end_proof for page in pages] == ["", "next row 2024-03-07 10:00:00"]


async def test_last_row_alone_ends_the_series() -> None:
    """Where nothing follows the last row, the proof says that the series ends: its border is to agree."""
    assert [page.end_proof for page in await read(MadeExchange(minutes(FIRST, 800)))] == ["", "", SERIES_END]
    assert [page.end_proof for page in await read(MadeExchange())] == ["", SERIES_END]


async def test_full_page_is_followed_by_another_request() -> None:
    """A page of 500 rows may have a page after it."""
    assert [len(page.keys) for page in await read(MadeExchange(minutes(FIRST, 500)))] == [500, 0, 0]


async def test_rest_of_a_cut_page_is_read() -> None:
    """A page that gives only its first rows is followed by one that begins with the rest."""
    made = minutes(FIRST, 800)
    pages = await read(MadeExchange(made, fault=on_request(0, lambda rows: rows[:300])))
    assert [row for page in pages if not page.is_proof for row in page.block.rows] == made


async def test_candles_that_appear_meanwhile_are_read() -> None:
    """A window of today grows while it is read: what the proof shows is read, too."""
    made = minutes(FIRST, 800)
    pages = await read(MadeExchange(made, fault=on_request(1, lambda rows: rows[:290])))
    assert [row for page in pages if not page.is_proof for row in page.block.rows] == made


async def test_an_empty_window_is_believed_when_it_is_said_twice() -> None:
    """No row is there to begin the proof with, and a proof that passed over rows would settle what never was."""
    later = minutes(FIRST + dt.timedelta(days=1), 3)
    (page, proof) = await read(empty := MadeExchange(later))
    assert (len(page.keys), proof.end_proof, empty.requests) == (0, "next row 2024-03-05 10:00:00", 3)

    def passes_over(number: int, document: Document) -> Document:
        rows = document["candles"]["data"]
        return {"candles": {**document["candles"], "data": [[], rows[5:], rows][number]}}

    says = r"row 0 is empty, and is followed by 2024-03-05 10:00:00, when asked again by 2024-03-04 10:00:00"
    with pytest.raises(PagingBroken, match=says):
        await read(MadeExchange([*minutes(FIRST, 5), *later], fault=passes_over))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            on_request(1, lambda rows: minutes(FIRST, 500)),
            r"SBER TQBR 1m 2024-03-04T10:00\.\.2024-03-04: the page from row 499 begins with 2024-03-04 10:00:00, "
            "by its number its first row is 2024-03-04 18:19:00: rows were lost, doubled or moved",
        ),
        (
            on_request(1, lambda rows: [candle(FIRST + dt.timedelta(minutes=498)), *rows]),
            "the page from row 499 begins with 2024-03-04 18:18:00, by its number its first row is 2024-03-04 18:19:00",
        ),
        (
            on_request(0, lambda rows: [*minutes(FIRST, 200), *minutes(FIRST + dt.timedelta(minutes=201), 300)]),
            "the page from row 499 begins with 2024-03-04 18:19:00, by its number its first row is 2024-03-04 18:20:00",
        ),
        (
            on_request(0, lambda rows: [candle(FIRST, 2.0), *rows]),
            "the page from row 0 has 501 rows, the exchange gives 500: some are doubled",
        ),
        (
            on_request(0, lambda rows: [candle(FIRST, 2.0), *rows[:-1]]),
            "the page from row 499 begins with 2024-03-04 18:19:00, by its number its first row is 2024-03-04 18:18:00",
        ),
        (
            on_request(0, lambda rows: [*rows[:100], *rows[150:]]),
            "the page from row 0, to its proof, begins with 2024-03-04 17:29:00, "
            "by its number its first row is 2024-03-04 18:19:00",
        ),
        (
            on_request(1, lambda rows: [*rows[:100], *rows[150:]]),
            "the page from row 499, to its proof, begins with 2024-03-04 22:29:00",
        ),
        (on_request(1, lambda rows: []), "the page from row 499 is empty, by its number its first row is 2024-03-04"),
        (on_request(1, lambda rows: rows[:1]), "row 499 gives no more rows, though 2024-03-04 18:20:00 follows"),
        (on_request(2, lambda rows: []), "the page from row 499, to its proof, is empty"),
        (on_request(2, lambda rows: [candle(FIRST)]), "to its proof, begins with 2024-03-04 10:00:00, by its number"),
        (on_request(2, lambda rows: [rows[0], candle(FIRST)]), "to its proof, is not in the order of begin"),
        (on_request(0, lambda rows: rows[::-1]), "the page from row 0 is not in the order of begin"),
        (
            on_request(1, lambda rows: [*rows[:1], *minutes(FIRST + dt.timedelta(days=1), 10)]),
            r"row 499 holds rows of 2024-03-05 10:00:00\.\.2024-03-05 10:09:00, asked were 2024-03-04 10:00:00",
        ),
        (
            on_request(0, lambda rows: minutes(FIRST - dt.timedelta(minutes=1), 10)),
            "the page from row 0 holds rows of 2024-03-04 09:59",
        ),
    ],
    ids=[
        "repeated",
        "doubled at the border",
        "one left out of a full page",
        "doubled in a full page",
        "doubled in a page that was cut",
        "lost inside",
        "lost inside the last page",
        "emptied",
        "cut to its first row",
        "proof emptied",
        "proof of another row",
        "disordered proof",
        "disordered",
        "too late",
        "too early",
    ],
)
async def test_pages_that_do_not_add_up_are_refused(fault: Fault, message: str) -> None:
    """Repeated, shifted, lost, disordered and foreign rows end the reading with what was found."""
    with pytest.raises(PagingBroken, match=message):
        await read(MadeExchange(minutes(FIRST, 800), fault=fault))


async def test_proof_before_the_window_is_refused() -> None:
    """An empty window is not proven by a row from before it."""
    fault = on_request(1, lambda rows: [candle(FIRST - dt.timedelta(minutes=1))])
    with pytest.raises(PagingBroken, match="is followed by 2024-03-04 09:59:00, asked was what begins from 2024-03-04"):
        await read(MadeExchange(fault=fault))


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
