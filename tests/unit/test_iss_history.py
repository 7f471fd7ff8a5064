"""Pages of end-of-day rows follow their cursor or are refused."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from lakehouse.iss.errors import IssContractError, PagingBroken
from lakehouse.iss.history import history_pages
from lakehouse.iss.pages import Page
from tests.exchange import Document, Fault, MadeExchange, days

FIRST, LAST = dt.date(2024, 1, 1), dt.date(2024, 12, 31)


async def read(exchange: MadeExchange) -> list[Page]:
    return [page async for page in history_pages(exchange, "stock", "shares", "SBER", FIRST, LAST)]


def cursor_of(number: int, **changed: int) -> Fault:
    """Return a fault that changes the cursor of one answer."""

    def fault(request: int, document: Document) -> Document:
        if request == number:
            cursor = document["history.cursor"]
            row = dict(zip(cursor["columns"], cursor["data"][0], strict=True)) | changed
            cursor["data"] = [[row[name] for name in cursor["columns"]]]
        return document

    return fault


def rows_of(number: int, change: Any) -> Fault:
    """Return a fault that changes the rows of one answer."""

    def fault(request: int, document: Document) -> Document:
        if request == number:
            document["history"]["data"] = change(document["history"]["data"])
        return document

    return fault


async def test_cursor_proves_the_end() -> None:
    """Pages are read until the cursor's total is reached; no request is spent on an empty page."""
    pages = await read(MadeExchange(history=days(FIRST, 125, ["TQBR", "SMAL"]), page_rows=100))
    assert [len(page.keys) for page in pages] == [100, 100, 50]
    assert [page.end_proof for page in pages] == ["", "", "cursor at 250 of 250"]


async def test_no_rows_are_proved_by_a_total_of_zero() -> None:
    """An empty page with a total of 0 is an end, too."""
    pages = await read(MadeExchange(page_rows=100))
    assert [(len(page.keys), page.end_proof) for page in pages] == [(0, "cursor at 0 of 0")]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            cursor_of(1, INDEX=0),
            r"SBER shares history 2024-01-01\.\.2024-12-31: the page from row 100 says that it begins at row 0",
        ),
        (cursor_of(1, TOTAL=251), "the page from row 100 says that there are 251 rows, the page before said 250"),
        (rows_of(1, lambda rows: rows[1:]), "the page from row 100 holds 99 rows, expected 100 of 250"),
        (rows_of(2, lambda rows: []), "the page from row 200 holds 0 rows, expected 50 of 250"),
        (rows_of(1, lambda rows: days(FIRST, 100)), "the page from row 100 repeats TQBR 2024-01-01 of a page before"),
        (rows_of(0, lambda rows: days(FIRST - dt.timedelta(days=1), 100)), "asked were 2024-01-01..2024-12-31"),
    ],
    ids=["index", "total", "lost", "empty too early", "repeated", "foreign"],
)
async def test_pages_that_do_not_add_up_are_refused(fault: Fault, message: str) -> None:
    """A cursor that lies, a total that moves and rows that are lost, repeated or foreign end the reading."""
    with pytest.raises(PagingBroken, match=message):
        await read(MadeExchange(history=days(FIRST, 250), page_rows=100, fault=fault))


async def test_two_cursors_are_refused() -> None:
    """Which of two cursors would hold?"""

    def fault(request: int, document: Document) -> Document:
        document["history.cursor"]["data"] *= 2
        return document

    with pytest.raises(PagingBroken, match="the page from row 0 has 2 cursors, expected 1"):
        await read(MadeExchange(history=days(FIRST, 3), page_rows=100, fault=fault))


async def test_history_without_a_cursor_is_a_broken_contract() -> None:
    """Without its cursor a page proves nothing."""
    fault: Fault = lambda request, document: {"history": document["history"]}  # noqa: E731
    with pytest.raises(IssContractError, match=r"has no block 'history\.cursor'"):
        await read(MadeExchange(history=days(FIRST, 3), page_rows=100, fault=fault))
