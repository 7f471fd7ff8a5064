"""The last final row of a window: read again when the series goes on, to see whether the exchange still says it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from lakehouse.bronze.window import Series, last_final_date
from lakehouse.iss.candles import VALUES
from lakehouse.iss.pages import Page

Anchor = Mapping[str, Any]


def last_final_row(series: Series, pages: Sequence[Page], fetched_at: dt.datetime) -> Anchor | None:
    """Return the last row that was final at *fetched_at*, or None."""
    final = last_final_date(series, fetched_at).isoformat()
    begin = max((_last_until(page.keys, final) for page in pages), default="")
    return rows_at(pages, begin) if begin else None


def rows_at(pages: Sequence[Page], begin: str) -> Anchor:
    """
    Return the rows whose key is *begin*, none if there is no such row.

    Returns:
        ``{"begin": key as the exchange writes it, "rows": [[board, open, high, low, close, value, volume], ...]}``:
        a key has several rows where a market has several boards.
    """
    rows = []
    for page in pages:
        if begin not in page.keys:
            continue
        columns = page.block.columns
        wanted = [columns.index(name) for name in VALUES]
        board = columns.index("boardid") if "boardid" in columns else None
        for key, row in zip(page.keys, page.block.rows, strict=True):
            if key == begin:
                rows.append(["" if board is None else row[board], *(row[at] for at in wanted)])
    return {"begin": begin, "rows": sorted(rows, key=repr)}


def _last_until(keys: Sequence[str], date: str) -> str:
    last = max(keys, default="")
    return last if last[:10] <= date else max((key for key in keys if key[:10] <= date), default="")
