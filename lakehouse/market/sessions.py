"""When a date's trading is over and when its rows are final: by the calendar, never by what a candle calls its end."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from lakehouse.market.moscow import to_moscow, to_utc

# The last quarter of an hour is not given to everybody (docs/iss.md section 5): no date, no absence is settled before.
DELAY = dt.timedelta(minutes=15)
# What the exchange corrects in the night after a session, it corrects before the next one begins.
SETTLE = dt.timedelta(hours=4)
# The morning session begins at 06:50 and the evening session ends at 23:50, a weekend's lasts from 09:50 to 19:00
# (docs/iss.md section 5).
_MORNING_BEGINS, _EVENING_ENDS = dt.time(6, 50), dt.time(23, 50)
_WEEKEND_BEGINS, _WEEKEND_ENDS = dt.time(9, 50), dt.time(19)
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Calendar:
    """
    The trading dates of an engine.

    Attributes:
        traded: Whether there is trading, by date; a date that is not listed is decided by its weekday.
        weekdays: ISO weekdays (1 = Monday) with trading.
        weekend_sessions: Dates on which there is a weekend session only.
    """

    traded: Mapping[dt.date, bool] = field(default_factory=dict)
    weekdays: Collection[int] = frozenset({1, 2, 3, 4, 5})
    weekend_sessions: Collection[dt.date] = frozenset()

    def trades(self, date: dt.date) -> bool:
        """Return whether there is trading on *date*, weekend sessions included."""
        return self.traded.get(date, date.isoweekday() in self.weekdays)

    def begun_at(self, date: dt.date) -> dt.datetime:
        """Return the instant (UTC) from which the first trades of a trading *date* may be shown to everybody."""
        begins = _WEEKEND_BEGINS if date in self.weekend_sessions else _MORNING_BEGINS
        return to_utc(dt.datetime.combine(date, begins)) + DELAY

    def over_at(self, date: dt.date) -> dt.datetime:
        """Return the instant (UTC) from which all trades of *date* are shown to everybody."""
        if not self.trades(date):
            return to_utc(dt.datetime.combine(date + _DAY, dt.time())) + DELAY
        ends = _WEEKEND_ENDS if date in self.weekend_sessions else _EVENING_ENDS
        return to_utc(dt.datetime.combine(date, ends)) + DELAY

    def final_at(self, date: dt.date) -> dt.datetime:
        """Return the instant (UTC) from which the rows of *date* are final."""
        return self.over_at(date) + (SETTLE if self.trades(date) else dt.timedelta())

    def last_begun(self, instant: dt.datetime) -> dt.date:
        """Return the last trading date of which rows may be shown at *instant*."""
        date = to_moscow(instant).date()
        while not self.trades(date) or self.begun_at(date) > instant:
            date -= _DAY
        return date

    def last_over(self, instant: dt.datetime) -> dt.date:
        """Return the last date that is over at *instant*."""
        return _last(self.over_at, instant)

    def last_final(self, instant: dt.datetime) -> dt.date:
        """Return the last date whose rows are final at *instant*."""
        return _last(self.final_at, instant)


def _last(settled_at: Callable[[dt.date], dt.datetime], instant: dt.datetime) -> dt.date:
    date = to_moscow(instant).date()
    while settled_at(date) > instant:
        date -= _DAY
    return date
