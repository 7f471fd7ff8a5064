"""Candles as arrays: exact ones for making and gathering, and those that ISS sends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Self

import numpy as np
import orjson

from lakehouse.simulator.periods import SECONDS_A_DAY, Flags, Floats, Ints


@dataclass(frozen=True)
class ExactCandles:
    """
    Candles in whole numbers, oldest first, so that sums are exact.

    Attributes:
        begin: Naive Moscow seconds since 1970.
        open, close, high, low: Prices in points, 10^-decimals of the instrument's price unit.
        volume: Securities.
        turnover: Securities times points; for an index, which has no volume, hundredths of a rouble.
    """

    begin: Ints
    open: Ints
    close: Ints
    high: Ints
    low: Ints
    volume: Ints
    turnover: Ints

    def __len__(self) -> int:
        return len(self.begin)

    def __getitem__(self, rows: slice | Flags | Ints) -> ExactCandles:
        return ExactCandles(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def priced(cls, begin: Ints, prices: Ints, volume: Ints, turnover: Ints) -> Self:
        """Return candles with *prices* of shape (4, n): open, close, high, low."""
        return cls(begin, prices[0], prices[1], prices[2], prices[3], volume, turnover)

    @classmethod
    def concatenate(cls, parts: Sequence[ExactCandles]) -> Self:
        """Return the rows of all *parts* in their order."""
        none = [np.empty(0, np.int64)]
        return cls(
            *(np.concatenate([getattr(part, field.name) for part in parts] or none) for field in fields(cls)),
        )

    def gather(self, period: Ints) -> tuple[ExactCandles, Ints]:
        """Return one candle for each run of equal *period* (its begin), and the row of the last candle in each."""
        if not len(self):
            return self, period
        first = np.flatnonzero(np.append(True, period[1:] != period[:-1]))
        last = np.append(first[1:], len(period)) - 1
        gathered = ExactCandles(
            begin=period[first],
            open=self.open[first],
            close=self.close[last],
            high=np.maximum.reduceat(self.high, first),
            low=np.minimum.reduceat(self.low, first),
            volume=np.add.reduceat(self.volume, first),
            turnover=np.add.reduceat(self.turnover, first),
        )
        return gathered, last


@dataclass(frozen=True)
class Candles:
    """Candles as ISS sends them, oldest first; times are naive Moscow seconds since 1970."""

    open: Floats
    close: Floats
    high: Floats
    low: Floats
    value: Floats
    volume: Floats
    begin: Ints
    end: Ints

    def __len__(self) -> int:
        return len(self.begin)

    def __getitem__(self, rows: slice | Flags | Ints) -> Candles:
        return Candles(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def none(cls) -> Self:
        """Return no candles."""
        numbers, times = np.empty(0), np.empty(0, np.int64)
        return cls(numbers, numbers, numbers, numbers, numbers, numbers, times, times)

    def with_value(self, row: int, **values: float) -> Candles:
        """Return these candles with other *values* in one row."""
        changed = {name: getattr(self, name).copy() for name in values}
        for name, value in values.items():
            changed[name][row] = value
        return replace(self, **changed)


VALUES = ("open", "close", "high", "low", "value", "volume")


@dataclass(frozen=True)
class EncodedCandles:
    """Candles as the text of JSON rows; *stops* is the byte after each row."""

    begin: Ints
    text: bytes
    stops: Ints

    def rows(self, first: int, stop: int) -> bytes:
        """Return the text of rows *first* to *stop* - 1, with commas between."""
        return self.text[1 if first == 0 else int(self.stops[first - 1]) + 1 : int(self.stops[stop - 1])]


def encode_candles(candles: Candles) -> EncodedCandles:
    """Return the JSON text of *candles*, columns in ISS's order."""
    columns = [getattr(candles, name).tolist() for name in VALUES]
    rows = zip(*columns, _texts(candles.begin), _texts(candles.end), strict=True)
    # ISS writes whole numbers of double columns without a fraction (docs/iss.md section 4)
    text = orjson.dumps(list(rows)).replace(b".0,", b",")
    # No string in a row holds a bracket, so each closing one ends a row, and the last ends the list
    stops = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("]"))[:-1] + 1
    return EncodedCandles(candles.begin, text, stops)


def _texts(seconds: Ints) -> list[str]:
    """Return naive seconds as ISS writes them: ``2026-06-30 10:00:00``."""
    days, times = np.divmod(seconds, SECONDS_A_DAY)
    dates, places = np.unique(days, return_inverse=True)
    names = [f"{date} " for date in dates.astype("datetime64[D]")]
    of_day = _times_of_day()
    return [names[place] + of_day[time] for place, time in zip(places.tolist(), times.tolist(), strict=True)]


@lru_cache
def _times_of_day() -> list[str]:
    return [f"{time // 3600:02}:{time // 60 % 60:02}:{time % 60:02}" for time in range(SECONDS_A_DAY)]
