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


def parse_instant(text: str, *, is_end: bool = False) -> dt.datetime:
    """
    Return the UTC instant that *text* writes: an ISO time, in UTC unless it says otherwise, or a bare date, Moscow's.

    Args:
        is_end: A date is its last microsecond, so that all of the day is within; else its first.

    Raises:
        ValueError: if it is neither, or lies beyond the calendar.
    """
    try:
        date = dt.date.fromisoformat(text)
    except ValueError:
        date = None
    try:
        if date is None:
            instant = dt.datetime.fromisoformat(text)
            return instant.astimezone(dt.UTC) if instant.tzinfo else instant.replace(tzinfo=dt.UTC)
        return day_start(date + dt.timedelta(days=1)) - dt.timedelta.resolution if is_end else day_start(date)
    except OverflowError as error:
        raise ValueError(f"{text} lies beyond the calendar") from error


def day_start(date: dt.date) -> dt.datetime:
    """Return the UTC instant at which the Moscow *date* begins."""
    return to_utc(dt.datetime.combine(date, dt.time()))
