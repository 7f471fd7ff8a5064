"""Split factors: what makes old prices comparable with today's."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lakehouse.market.timeframe import Timeframe

Dates = npt.NDArray[np.datetime64]


@dataclass(frozen=True, order=True)
class Split:
    """A split (1 -> 100) or consolidation (5000 -> 1): *before* securities became *after* on *trade_date*."""

    trade_date: dt.date
    before: float
    after: float


def split_factors(dates: Dates, splits: Iterable[Split]) -> npt.NDArray[np.float64]:
    """
    Return what prices of *dates* (datetime64[D]) are multiplied by, and volumes divided by.

    Before each split's date the factor is before / after, times that of later splits; 1 from the last split on.
    """
    ordered = sorted(splits)
    factors = [1.0]
    for split in reversed(ordered):
        factors.append(factors[-1] * (split.before / split.after))
    later = len(ordered) - np.searchsorted(_as_days([split.trade_date for split in ordered]), dates, side="right")
    return np.asarray(factors, np.float64)[later]


def last_dates(dates: Dates, timeframe: Timeframe) -> Dates:
    """
    Return the last calendar date that each candle covers, from its first.

    A week, month or quarter in which a split fell closes at prices after it, so its factor is that of its last date.
    """
    days = dates.astype("datetime64[D]")
    if timeframe is Timeframe.WEEK:
        return _as_days(days + np.timedelta64(6, "D"))
    if timeframe in (Timeframe.MONTH, Timeframe.QUARTER):
        length = np.timedelta64(1 if timeframe is Timeframe.MONTH else 3, "M")
        return _as_days((days.astype("datetime64[M]") + length).astype("datetime64[D]") - np.timedelta64(1, "D"))
    return days


def _as_days(dates: Sequence[dt.date] | npt.NDArray[Any]) -> Dates:
    return np.asarray(dates, "datetime64[D]")
