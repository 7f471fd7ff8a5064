"""Timeframes, as the exchange has them."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum

from lakehouse.market.errors import BadInput


class Timeframe(StrEnum):
    """
    The length of a candle.

    Values are ours; ISS calls them ``interval`` 1, 10, 60, 24, 7, 31 and 4 (docs/iss.md section 2).
    """

    MINUTE = "1m"
    TEN_MINUTES = "10m"
    HOUR = "1h"
    DAY = "1d"
    WEEK = "1w"
    MONTH = "1mo"
    QUARTER = "1q"

    @property
    def interval(self) -> int:
        """The code that ISS uses for this timeframe."""
        return _INTERVAL[self]

    @property
    def is_intraday(self) -> bool:
        """Whether several candles share one trading date."""
        return self in (Timeframe.MINUTE, Timeframe.TEN_MINUTES, Timeframe.HOUR)

    def bucket(self, trade_date: dt.date) -> str:
        """Return the partition of a candle of this timeframe on *trade_date*."""
        if self is Timeframe.MINUTE:
            return f"{trade_date:%Y-%m}"
        return f"{trade_date:%Y}" if self.is_intraday else "all"

    def period_start(self, date: dt.date) -> dt.date:
        """Return the first day of the candle that *date* belongs to."""
        if self is Timeframe.WEEK:
            return date - dt.timedelta(days=date.weekday())
        if self is Timeframe.MONTH:
            return date.replace(day=1)
        if self is Timeframe.QUARTER:
            return date.replace(month=(date.month - 1) // 3 * 3 + 1, day=1)
        return date

    @classmethod
    def from_interval(cls, interval: int) -> Timeframe:
        """Return the timeframe of an ISS *interval*; raise BadInput for a code ISS does not have."""
        for timeframe, code in _INTERVAL.items():
            if code == interval:
                return timeframe
        raise BadInput(f"interval {interval} is not one of {', '.join(map(str, _INTERVAL.values()))}")

    @classmethod
    def parse(cls, text: str) -> Timeframe:
        """Return the timeframe named *text*; raise BadInput naming all of them."""
        try:
            return cls(text)
        except ValueError:
            raise BadInput(f"timeframe {text!r} is not one of {', '.join(cls)}") from None


_INTERVAL = {
    Timeframe.MINUTE: 1,
    Timeframe.TEN_MINUTES: 10,
    Timeframe.HOUR: 60,
    Timeframe.DAY: 24,
    Timeframe.WEEK: 7,
    Timeframe.MONTH: 31,
    Timeframe.QUARTER: 4,
}
