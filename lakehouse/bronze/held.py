"""
Bringing up to date what is held: what of a series the ledger says is due, and the dates since, if it was kept up.

Nothing else is asked: gaps that nobody asked for stay.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.rows import dict_row

from lakehouse.bronze.coverage import FORMING, PROVISIONAL, Coverage
from lakehouse.bronze.window import Series
from lakehouse.market.moscow import to_moscow
from lakehouse.market.timeframe import Timeframe

_DAY = dt.timedelta(days=1)
# A series whose last dates were read within that time of them was asked up to the present of then, and goes on
_PRESENT = dt.timedelta(days=14)


@dataclass(frozen=True)
class HeldListing:
    """An instrument on a board, as a request names it, and the timeframes of it that are due."""

    listing: str
    timeframes: tuple[Timeframe, ...]


def held_spans(rows: Sequence[Coverage], last: dt.date, now: dt.datetime) -> list[tuple[dt.date, dt.date]]:
    """
    Return the spans of a series, both ends included, that bring what is held of it up to date.

    Args:
        rows: What the ledger knows of the series.
        last: The last date of which the exchange may show rows.
    """
    spans = [(row.from_date, row.till_date) for row in rows if row.is_due(now)]
    newest = max(rows, key=lambda row: row.till_date, default=None)
    if newest and is_kept_up(newest) and newest.till_date < last:
        spans.append((newest.till_date + _DAY, last))
    return spans


def is_kept_up(newest: Coverage) -> bool:
    """Return whether the newest dates of a series were read up to the present: then it goes on."""
    return not newest.is_final or _read_on(newest) - newest.till_date <= _PRESENT


def due_listings(
    conn: Connection[Any], last_date: Callable[[str], dt.date], now: dt.datetime, *, only_lively: bool = False
) -> list[HeldListing]:
    """
    Return the instruments of which something that is held is due.

    Args:
        last_date: Gives the last date of which rows of an engine may be shown.
        only_lively: Leave out what failed, and what had no rows of late: it can wait for the night.
    """
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_DUE, {"now": now}).fetchall()
    boards = {(row["engine"], row["market"], row["secid"]): row["board"] for row in rows if row["board"]}
    due: set[tuple[str, str, Timeframe]] = set()
    for names, group in groupby(rows, key=_series):
        last = last_date(names.engine)
        if not _is_due(list(map(_coverage, group)), last, now, only_lively):
            continue
        # End-of-day rows are of all boards, and come with the days of one
        board = names.board or boards.get((names.engine, names.market, names.secid), "")
        due.add((names.secid, board, Timeframe(names.timeframe or Timeframe.DAY)))
    listings = sorted({(secid, board) for secid, board, _ in due})
    return [
        HeldListing(f"{secid}@{board}", tuple(each for each in Timeframe if (secid, board, each) in due))
        for secid, board in listings
        if board
    ]


def _is_due(rows: Sequence[Coverage], last: dt.date, now: dt.datetime, only_lively: bool) -> bool:
    if only_lively:
        newest = max(row.till_date for row in rows)
        rows = [row for row in rows if row.is_final or row.state in (FORMING, PROVISIONAL)]
        if newest < last - _PRESENT or not rows:
            return False
    return bool(held_spans(rows, last, now))


def _read_on(row: Coverage) -> dt.date:
    """Return the Moscow date on which an object was read: the last segment of its key begins with the time, in UTC."""
    fetched_at = row.object_key.rpartition("/")[2].partition("-")[0]
    return to_moscow(dt.datetime.fromisoformat(fetched_at)).date()


def _series(row: dict[str, Any]) -> Series:
    return Series(*(row[name] for name in ("family", "engine", "market", "board", "secid", "timeframe")))


def _coverage(row: dict[str, Any]) -> Coverage:
    names = ("from_date", "till_date", "state", "object_key", "next_due_at")
    return Coverage(**{name: row[name] for name in names})


# Of each series what is due, and the newest row
_DUE: LiteralString = """
    SELECT family, engine, market, board, secid, timeframe, from_date, till_date, state,
        coalesce(object_key, '') AS object_key, next_due_at
    FROM lake.coverage c
    WHERE state NOT IN ('complete', 'no trades') OR till_date = (SELECT max(till_date) FROM lake.coverage o
        WHERE (o.family, o.engine, o.market, o.secid, o.board, o.timeframe)
            = (c.family, c.engine, c.market, c.secid, c.board, c.timeframe))
    ORDER BY family, engine, market, board, secid, timeframe, from_date"""
