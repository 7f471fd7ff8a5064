"""The made market's calendar: holidays, working Saturdays, weekend sessions, and the weeks of 2022 without trading."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache

from lakehouse.simulator.chance import chance
from lakehouse.simulator.security import CalendarDay

FIRST_DATE = dt.date(2016, 7, 1)
# Days are made up to here; the clock cannot go further
LAST_DATE = dt.date(2027, 12, 31)
# The market stood still (docs/iss.md section 5)
CLOSED_FROM, CLOSED_TILL = dt.date(2022, 2, 28), dt.date(2022, 3, 23)

_HOLIDAYS = {(1, 1), (1, 2), (1, 7), (2, 23), (3, 8), (5, 1), (5, 9), (6, 12), (11, 4), (12, 31)}
_WORKING_SATURDAYS = {
    dt.date(2018, 4, 28),
    dt.date(2018, 6, 9),
    dt.date(2018, 12, 29),
    dt.date(2021, 2, 20),
    dt.date(2024, 4, 27),
    dt.date(2024, 11, 2),
    dt.date(2024, 12, 28),
    dt.date(2025, 11, 1),
}
_WEEKEND_SESSIONS_FROM = dt.date(2025, 3, 1)
_WEEKENDS_WITH_SESSION = 0.7
_DAY = dt.timedelta(days=1)


def dates(first: dt.date, last: dt.date) -> list[dt.date]:
    """Return all dates from *first* to *last*, both included."""
    return [first + _DAY * day for day in range((last - first).days + 1)]


@lru_cache(maxsize=8)
def made_calendar(seed: int) -> tuple[CalendarDay, ...]:
    """Return every date from FIRST_DATE to LAST_DATE, oldest first."""
    weekends = (LAST_DATE - FIRST_DATE).days // 7 + 2
    has_session = chance(seed, "weekends").random(weekends) < _WEEKENDS_WITH_SESSION
    days: list[CalendarDay] = []
    session_date = None
    for date in reversed(dates(FIRST_DATE, LAST_DATE)):
        reason = _reason(date)
        if reason in ("N", "T"):
            session_date = date
            is_open = not CLOSED_FROM <= date <= CLOSED_TILL
            days.append(CalendarDay(date, is_open, True, reason if is_open else "H", date if is_open else None))
            continue
        # Saturday and Sunday of one weekend fall into one week that starts on Friday, as FIRST_DATE does
        weekend = (date - FIRST_DATE).days // 7
        is_open = reason == "W" and date >= _WEEKEND_SESSIONS_FROM and bool(has_session[weekend])
        days.append(CalendarDay(date, is_open, False, reason, session_date if is_open else None))
    return tuple(reversed(days))


def _reason(date: dt.date) -> str:
    if (date.month, date.day) in _HOLIDAYS:
        return "H"
    if date in _WORKING_SATURDAYS:
        return "T"
    return "W" if date.isoweekday() > 5 else "N"
