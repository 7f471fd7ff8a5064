"""The last final row of a window: read again when the series goes on, to see whether the exchange still says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lakehouse.iss.candles import VALUES
from lakehouse.iss.pages import Page

# {"begin": key as the exchange writes it, "rows": [[board, open, high, low, close, value, volume], ...]}: a key has
# several rows where a market has several boards.
Anchor = Mapping[str, Any]


def rows_at(page: Page, begin: str) -> Anchor | None:
    """Return the rows of a page whose key is *begin*; None if there are none."""
    if begin not in page.keys:
        return None
    columns = page.block.columns
    wanted = [columns.index(name) for name in VALUES]
    board = columns.index("boardid") if "boardid" in columns else None
    rows = [
        ["" if board is None else row[board], *(row[at] for at in wanted)]
        for key, row in zip(page.keys, page.block.rows, strict=True)
        if key == begin
    ]
    return {"begin": begin, "rows": sorted(rows, key=repr)}


def last_row(page: Page, date: str) -> Anchor | None:
    """Return the last row of a page that is not after *date* (YYYY-MM-DD); None if there is none."""
    begin = _last_until(page.keys, date)
    return rows_at(page, begin) if begin else None


def later(one: Anchor | None, other: Anchor | None) -> Anchor | None:
    """Return the later of two anchors; rows of one key may be spread over two pages."""
    if one is None or other is None:
        return other if one is None else one
    if one["begin"] == other["begin"]:
        return {"begin": one["begin"], "rows": sorted([*one["rows"], *other["rows"]], key=repr)}
    return max(one, other, key=lambda anchor: str(anchor["begin"]))


def _last_until(keys: Sequence[str], date: str) -> str:
    last = max(keys, default="")
    return last if last[:10] <= date else max((key for key in keys if key[:10] <= date), default="")
