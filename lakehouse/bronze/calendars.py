"""The trading calendar as Bronze knows it: what decides when rows are final, and whether there should be some."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from psycopg import Connection

from lakehouse.bronze.context import FetchContext
from lakehouse.bronze.ledger import newest
from lakehouse.bronze.reference import read_reference, stored_blocks
from lakehouse.bronze.window import Series
from lakehouse.iss.blocks import Block
from lakehouse.iss.errors import IssUnavailable
from lakehouse.market.sessions import Calendar

# The calendar's letter for a weekend; with trading it is a weekend session (docs/iss.md section 1).
_WEEKEND = "W"


def known_calendar(context: FetchContext, conn: Connection[Any], engine: str) -> Calendar:
    """
    Return the trading dates of *engine*, by the newest tables in Bronze; read from the exchange if there are none.

    The calendar decides; what it does not list, the timetable does: working days of the week, and its exceptions.

    Raises:
        IssError: if the exchange must be asked and does not answer as it should.
    """
    known = [newest(conn, Series(family, engine)) for family in ("timetable", "calendar")]
    timetable, calendar = ("" if object_ is None else object_.object_key for object_ in known)
    if timetable:
        return _stored(context.store_url, tuple(context.store_options.items()), timetable, calendar)
    blocks = dict(read_reference(context, "timetable", engine=engine).blocks)
    # Some are answered with a login page (docs/iss.md section 1); the timetable alone then decides.
    with suppress(IssUnavailable):
        blocks |= read_reference(context, "calendar", engine=engine).blocks
    return _calendar(blocks)


@lru_cache(maxsize=8)
def _stored(store_url: str, store_options: tuple[tuple[str, str], ...], timetable: str, calendar: str) -> Calendar:
    """Return the calendar of two objects, which never change; thousands of windows of a process ask for it."""
    blocks: dict[str, Block] = {}
    for family, object_key in (("timetable", timetable), ("calendar", calendar)):
        if object_key:
            blocks |= stored_blocks(store_url, dict(store_options), family, object_key)
    return _calendar(blocks)


def _calendar(blocks: Mapping[str, Block]) -> Calendar:
    listed = blocks["off_days"].records() if "off_days" in blocks else []
    traded = {_date(row["date"]): bool(row["is_work_day"]) for row in blocks["dailytable"].records()}
    return Calendar(
        traded | {_date(row["tradedate"]): bool(row["is_traded"]) for row in listed},
        frozenset(row["week_day"] for row in blocks["timetable"].records() if row["is_work_day"]),
        frozenset(_date(row["tradedate"]) for row in listed if row["is_traded"] and row["reason"] == _WEEKEND),
    )


def _date(text: str) -> dt.date:
    return dt.date.fromisoformat(text)
