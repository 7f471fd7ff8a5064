"""The exchange's clock: naive Moscow time, which tests may move."""

from __future__ import annotations

import datetime as dt
import time

from lakehouse.market.moscow import to_utc

EPOCH = dt.datetime.fromisoformat("1970-01-01")
# Anonymous readers see share data about 15 minutes late (docs/iss.md section 5)
DELAY = dt.timedelta(minutes=15)


def to_seconds(moment: dt.datetime | dt.date) -> int:
    """Return the seconds from 1970-01-01 00:00:00 to *moment*, both naive Moscow time; a date is its midnight."""
    if not isinstance(moment, dt.datetime):
        moment = dt.datetime.combine(moment, dt.time())
    return int((moment - EPOCH).total_seconds())


def from_seconds(seconds: int) -> dt.datetime:
    """Return the naive Moscow time *seconds* after 1970-01-01 00:00:00."""
    return EPOCH + dt.timedelta(seconds=seconds)


class Clock:
    """A clock that starts at *now* and runs, or stands still while *frozen*."""

    def __init__(self, now: dt.datetime, frozen: bool = False) -> None:
        self._now = now
        self._set_at = time.monotonic()
        self.frozen = frozen

    def now(self) -> dt.datetime:
        """Return the naive Moscow time, in whole seconds."""
        if self.frozen:
            return self._now
        return self._now + dt.timedelta(seconds=int(time.monotonic() - self._set_at))

    def seen(self) -> int:
        """Return the second up to which trades are visible."""
        return to_seconds(self.now() - DELAY)

    def set(self, now: dt.datetime | None = None, frozen: bool | None = None) -> None:
        """Move the clock, stop it or let it run; what is None stays as it is."""
        self._now = self.now() if now is None else now
        self._set_at = time.monotonic()
        self.frozen = self.frozen if frozen is None else frozen

    def http_date(self) -> str:
        """Return the time as the HTTP header ``Date`` has it."""
        utc = to_utc(self.now())
        return f"{_WEEKDAYS[utc.weekday()]}, {utc.day:02} {_MONTHS[utc.month - 1]} {utc:%Y %H:%M:%S} GMT"


# strftime's %a and %b follow the locale, HTTP does not
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
