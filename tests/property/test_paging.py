"""Paging loses nothing and doubles nothing, or refuses."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lakehouse.iss.candles import candle_pages
from lakehouse.iss.errors import IssError
from lakehouse.iss.history import history_pages
from lakehouse.market.instrument import Instrument
from lakehouse.market.timeframe import Timeframe
from tests.exchange import Document, Fault, MadeExchange, candle, days, minutes

FIRST = dt.datetime.fromisoformat("2024-03-04T10:00")
SBER = Instrument("stock", "shares", "TQBR", "SBER")


def cutting(number: int, block: str, keep: slice) -> Fault:
    """Return a fault that gives only a part of one page."""

    def fault(request: int, document: Document) -> Document:
        if request == number:
            document[block]["data"] = document[block]["data"][keep]
        return document

    return fault


slices = st.builds(slice, st.integers(0, 20), st.integers(1, 520))


async def candles(exchange: MadeExchange) -> list[Any]:
    pages = candle_pages(exchange, SBER, Timeframe.MINUTE, FIRST, FIRST.date() + dt.timedelta(days=9))
    return [row for page in [page async for page in pages] if not page.is_proof for row in page.block.rows]


async def history(exchange: MadeExchange) -> list[Any]:
    pages = history_pages(exchange, "stock", "shares", "SBER", FIRST.date(), FIRST.date() + dt.timedelta(days=900))
    return [row for page in [page async for page in pages] for row in page.block.rows]


@given(st.integers(0, 2000))
def test_all_candles_come_once(count: int) -> None:
    """However many candles there are, each comes once and in order."""
    made = minutes(FIRST, count)
    assert asyncio.run(candles(MadeExchange(made))) == made


@given(st.integers(0, 350), st.sampled_from([("TQBR",), ("TQBR", "SMAL"), ("EQBR", "SMAL", "TQBR")]))
def test_all_history_comes_once(count: int, boards: tuple[str, ...]) -> None:
    """However many days and boards there are, each row comes once."""
    made = days(FIRST.date(), count, boards)
    assert asyncio.run(history(MadeExchange(history=made, page_rows=100))) == made


@given(st.integers(0, 1600), st.integers(0, 4), slices)
def test_lost_candles_of_a_page_are_noticed(count: int, page: int, keep: slice) -> None:
    """Rows lost from any page, all of them included, and from the proof are never passed over: all come, or none."""
    made = minutes(FIRST, count)
    beyond = candle(FIRST + dt.timedelta(days=30))
    try:
        read = asyncio.run(candles(MadeExchange([*made, beyond], fault=cutting(page, "candles", keep))))
    except IssError:
        return
    assert read == made


@given(st.integers(0, 1600), st.integers(0, 4), st.integers(0, 499), st.sampled_from(["doubled", "left out"]))
def test_rows_that_move_the_others_are_noticed(count: int, page: int, row: int, defect: str) -> None:
    """A row doubled in a page, or left out of it, with as many rows as before, loses or doubles none."""
    made = minutes(FIRST, count)
    exchange = MadeExchange([*made, candle(FIRST + dt.timedelta(days=30))])

    def fault(request: int, document: Document) -> Document:
        if request == page:
            start, rows = exchange.asked["start"], list(exchange.wanted)
            at = start + row
            moved = [*rows[:at], *rows[at : at + 1], *rows[at:]] if defect == "doubled" else rows[:at] + rows[at + 1 :]
            document["candles"]["data"] = moved[start : start + 500]
        return document

    exchange.fault = fault
    try:
        read = asyncio.run(candles(exchange))
    except IssError:
        return
    assert read == made


@given(st.integers(0, 1600), st.integers(0, 4), st.integers(-3, 3))
def test_pages_of_another_number_are_noticed(count: int, page: int, pages_off: int) -> None:
    """A page in place of another one, skipped or repeated, is never passed over."""
    made = minutes(FIRST, count)
    exchange = MadeExchange([*made, candle(FIRST + dt.timedelta(days=30))])

    def fault(request: int, document: Document) -> Document:
        if request == page:
            start = max(0, exchange.asked["start"] + 499 * pages_off)
            document["candles"]["data"] = exchange.wanted[start : start + 500]
        return document

    exchange.fault = fault
    try:
        read = asyncio.run(candles(exchange))
    except IssError:
        return
    assert read == made


@given(st.integers(0, 350), st.integers(0, 3), slices)
def test_lost_history_of_a_page_is_noticed(count: int, page: int, keep: slice) -> None:
    """The cursor counts the rows, so none is lost from any page."""
    made = days(FIRST.date(), count)
    try:
        read = asyncio.run(history(MadeExchange(history=made, page_rows=100, fault=cutting(page, "history", keep))))
    except IssError:
        return
    assert read == made
