"""The last final row of a series, as it is found page by page."""

from __future__ import annotations

import datetime as dt
from functools import reduce

from lakehouse.bronze.anchor import Anchor, last_row, later, rows_at
from lakehouse.iss.history import history_pages
from lakehouse.iss.pages import Page
from tests.exchange import MadeExchange, days

FIRST = dt.date(2024, 3, 1)
VALUES = [1, 2, 1, 1.5, 10.5, 10]


async def pages() -> list[Page]:
    """Three pages of seven dates on two boards: the rows of a date lie on two pages where a page ends between them."""
    exchange = MadeExchange(history=days(FIRST, 7, ["SMAL", "TQBR"]), page_rows=5)
    return [page async for page in history_pages(exchange, "stock", "shares", "SBER", FIRST, dt.date(2024, 3, 31))]


async def last(date: str) -> Anchor | None:
    found: Anchor | None = None
    return reduce(later, [last_row(page, date) for page in await pages()], found)


async def test_last_row_is_the_last_that_is_final() -> None:
    """Rows after the last final date are no anchors; a key has a row of every board, in their own order of values."""
    assert await last("2024-03-05") == {"begin": "2024-03-05", "rows": [["SMAL", *VALUES], ["TQBR", *VALUES]]}


async def test_rows_of_one_key_may_lie_on_two_pages() -> None:
    """A page that ends between the boards of a date loses neither."""
    third = [rows_at(page, "2024-03-03") for page in await pages()]
    assert [found and len(found["rows"]) for found in third] == [1, 1, None]
    assert await last("2024-03-03") == {"begin": "2024-03-03", "rows": [["SMAL", *VALUES], ["TQBR", *VALUES]]}


async def test_nothing_final_is_no_anchor() -> None:
    """A window of which nothing is final has no anchor."""
    assert await last("2024-02-29") is None
