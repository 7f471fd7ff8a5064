"""
Moscow time.

ISS speaks naive Moscow time (UTC+4 from 2011-03-27 to 2014-10-26, UTC+3 since); we store UTC instants and Moscow dates.
"""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

MOSCOW = ZoneInfo("Europe/Moscow")


def to_utc(naive: dt.datetime) -> dt.datetime:
    """Return the UTC instant of a *naive* Moscow time."""
    return naive.replace(tzinfo=MOSCOW).astimezone(dt.UTC)


def to_moscow(instant: dt.datetime) -> dt.datetime:
    """Return the naive Moscow time of an aware *instant*."""
    return instant.astimezone(MOSCOW).replace(tzinfo=None)


def day_start(date: dt.date) -> dt.datetime:
    """Return the UTC instant at which the Moscow *date* begins."""
    return to_utc(dt.datetime.combine(date, dt.time()))
