"""What is fetched at once: a span of a series, cut along a fixed grid."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from lakehouse.market.instrument import Instrument
from lakehouse.market.moscow import day_start, to_moscow, to_utc
from lakehouse.market.sessions import DELAY
from lakehouse.market.timeframe import Timeframe

# Where the windows of tables without dates begin: before the exchange's first trade.
EVER = dt.date(1990, 1, 1)
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, order=True)
class Series:
    """
    What rows of one kind belong to; fields that do not apply are empty.

    *family* is candles or history (of all boards of a market: *board* and *timeframe* are empty), or one of the tables
    of reference.py.
    """

    family: str
    engine: str = ""
    market: str = ""
    board: str = ""
    secid: str = ""
    timeframe: str = ""

    def __str__(self) -> str:
        words = (self.secid, self.board or self.market, self.timeframe or self.family)
        return " ".join(word for word in words if word)

    @property
    def instrument(self) -> Instrument:
        """The security on its board."""
        return Instrument(self.engine, self.market, self.board, self.secid)


@dataclass(frozen=True, order=True)
class Window:
    """A span of a series: rows that begin from *from_at* (naive Moscow) to the end of the date *till*."""

    series: Series
    from_at: dt.datetime
    till: dt.date

    def __str__(self) -> str:
        return f"{self.series} {format_from(self.from_at)}..{self.till}"

    @property
    def span(self) -> tuple[dt.datetime, dt.datetime]:
        """The span in UTC, its end excluded."""
        return to_utc(self.from_at), day_start(self.till + _DAY)

    @property
    def first_whole_date(self) -> dt.date:
        """The first date of which no part lies before the window."""
        return self.from_at.date() + (_DAY if self.from_at.time() > dt.time() else dt.timedelta())


def candle_series(instrument: Instrument, timeframe: Timeframe) -> Series:
    """Return the series of an instrument's candles."""
    return Series("candles", instrument.engine, instrument.market, instrument.board, instrument.secid, timeframe.value)


def history_series(instrument: Instrument) -> Series:
    """Return the series of end-of-day rows of an instrument on all boards of its market."""
    return Series("history", instrument.engine, instrument.market, secid=instrument.secid)


def format_from(from_at: dt.datetime) -> str:
    """Return *from_at* as a date, or with its time where it is not midnight."""
    return f"{from_at:%Y-%m-%d}" if from_at.time() == dt.time() else f"{from_at:%Y-%m-%dT%H%M%S}"


def settled_date(instant: dt.datetime) -> dt.date:
    """Return the exchange's date at *instant*; a day has passed when its last minutes are out, too."""
    return to_moscow(instant - DELAY).date()


def period_start(series: Series, date: dt.date) -> dt.date:
    """Return the first date of the row of *series* that *date* belongs to."""
    return Timeframe(series.timeframe).period_start(date) if series.timeframe else date


def period_end(series: Series, date: dt.date) -> dt.date:
    """Return the last date of the row of *series* that *date* belongs to."""
    start = period_start(series, date)
    if series.timeframe == Timeframe.WEEK:
        return start + 6 * _DAY
    if series.timeframe == Timeframe.MONTH:
        return _months_later(start, 1) - _DAY
    if series.timeframe == Timeframe.QUARTER:
        return _months_later(start, 3) - _DAY
    return start


def cell(series: Series, date: dt.date) -> tuple[dt.date, dt.date]:
    """
    Return the first and the last date of the grid's cell that holds *date*: about 20 pages of a liquid series.

    Half a month of 1m (a cell never leaves its month), half a year of 10m, two years of 1h, a decade of everything
    else. A week belongs to the decade in which it begins.
    """
    date = period_start(series, date)
    if series.timeframe == Timeframe.MINUTE:
        first = date.replace(day=16 if date.day > 15 else 1)
        return first, first.replace(day=15) if first.day == 1 else _months_later(date.replace(day=1), 1) - _DAY
    if series.timeframe == Timeframe.TEN_MINUTES:
        first = date.replace(month=7 if date.month > 6 else 1, day=1)
        return first, _months_later(first, 6) - _DAY
    years = 2 if series.timeframe == Timeframe.HOUR else 10
    first = dt.date(date.year - date.year % years, 1, 1)
    last = dt.date(first.year + years - 1, 12, 31)
    if series.timeframe == Timeframe.WEEK:
        first = period_end(series, first - _DAY) + _DAY
        last = period_end(series, last)
    return first, last


def _months_later(first: dt.date, months: int) -> dt.date:
    month = first.month - 1 + months
    return dt.date(first.year + month // 12, month % 12 + 1, 1)
