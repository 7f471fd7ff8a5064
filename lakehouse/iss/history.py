"""End-of-day rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Sequence

from lakehouse.iss.answer import Answer
from lakehouse.iss.blocks import NUMBER_OR_NULL, Block, check_types, read_block
from lakehouse.iss.client import IssClient
from lakehouse.iss.errors import PagingBroken
from lakehouse.iss.pages import Page, check_span, key_column, segment

VALUES = ("open", "high", "low", "close", "value", "volume")
CURSOR = ("index", "total", "pagesize")
# Other markets have no official close or no weighted average (docs/iss.md section 4).
_OF_SHARES = ("waprice", "legalcloseprice")


async def history_pages(
    client: IssClient, engine: str, market: str, secid: str, from_: dt.date, till: dt.date
) -> AsyncGenerator[Page, None]:
    """
    Yield the pages of end-of-day rows of all boards of a market, *from_* and *till* included.

    Raises:
        PagingBroken: if the cursor is not where it was asked, its total moves, rows are lost or repeated, or lie
            outside the span.

    Source:
        https://iss.moex.com/iss/reference/63
    """
    required = ("boardid", "secid", "tradedate", "numtrades", *VALUES, *(_OF_SHARES if market == "shares" else ()))
    start, total = 0, -1
    seen: set[tuple[str, str]] = set()
    while True:
        answer = await fetch_history_page(client, engine, market, secid, from_, till, start)
        block = read_block(answer, "history", required)
        check_types(answer, block, VALUES, NUMBER_OR_NULL)
        keys = key_column(answer, block, "tradedate", 10)
        page = f"{secid} {market} history {from_}..{till}: the page from row {start}"
        total = _check_cursor(page, read_block(answer, "history.cursor", CURSOR), start, total, len(keys))
        check_span(page, keys, from_.isoformat(), till)
        _check_new(page, block, keys, seen)
        start += len(keys)
        yield Page(answer, block, keys, f"cursor at {start} of {total}" if start == total else "")
        if start == total:
            return


async def fetch_history_page(
    client: IssClient, engine: str, market: str, secid: str, from_: dt.date, till: dt.date, start: int
) -> Answer:
    """
    Fetch up to 100 end-of-day rows from row *start* on, with their cursor.

    Source:
        https://iss.moex.com/iss/reference/63
    """
    path = f"/history/engines/{segment(engine)}/markets/{segment(market)}/securities/{segment(secid)}.json"
    parameters: dict[str, str | int] = {
        "iss.only": "history,history.cursor",
        "from": from_.isoformat(),
        "till": till.isoformat(),
        "start": start,
    }
    return await client.get(path, parameters)


def _check_cursor(page: str, cursor: Block, start: int, known_total: int, rows: int) -> int:
    """Return the total; -1 is a total not known yet."""
    if len(cursor.rows) != 1:
        raise PagingBroken(f"{page} has {len(cursor.rows)} cursors, expected 1")
    index, total, page_rows = (cursor.column(name)[0] for name in CURSOR)
    if index != start:
        raise PagingBroken(f"{page} says that it begins at row {index}")
    if known_total not in (-1, total):
        raise PagingBroken(f"{page} says that there are {total} rows, the page before said {known_total}")
    if rows != min(page_rows, total - start):
        raise PagingBroken(f"{page} holds {rows} rows, expected {min(page_rows, total - start)} of {total}")
    return int(total)


def _check_new(page: str, block: Block, keys: Sequence[str], seen: set[tuple[str, str]]) -> None:
    found = set(zip(block.column("boardid"), keys, strict=True))
    if repeated := sorted(found & seen):
        board, date = repeated[0]
        raise PagingBroken(f"{page} repeats {board} {date} of a page before")
    seen |= found
