"""Indicators by TA-Lib. All take closes oldest first and never look ahead."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import talib

Values = npt.NDArray[np.float64]


def sma(close: Values, period: int = 20) -> Values:
    """
    Return the simple moving average.

    Args:
        close: Closing prices, shape ``(n,)``, oldest first. A NaN (no close) is stepped over.
        period: Number of candles averaged, at least 2.

    Returns:
        Mean of the last *period* closes, in the unit of *close*, aligned with it. NaN for the first *period* - 1
        closes (warm-up) and where *close* is NaN.
    """
    return _over_known(close, partial(talib.SMA, timeperiod=period))


def rsi(close: Values, period: int = 14) -> Values:
    """
    Return Wilder's relative strength index.

    Args:
        close: Closing prices, shape ``(n,)``, oldest first. A NaN (no close) is stepped over.
        period: Number of changes in the smoothing window, at least 2.

    Returns:
        Index in [0, 100], dimensionless, aligned with *close*. NaN for the first *period* closes (warm-up), where
        *close* is NaN, and while a series has been flat since its start.

    Source:
        Wilder (1978), New Concepts in Technical Trading Systems: smoothing 1 / *period*, seeded with the mean of the
        first *period* changes.
    """
    return _over_known(close, partial(_rsi, period=period))


def _rsi(close: Values, period: int) -> Values:
    index = talib.RSI(close, timeperiod=period)
    # Nothing gained and nothing lost: TA-Lib says 0, which reads as "fell all the time"
    index[: _flat_length(close)] = np.nan
    return np.asarray(index, np.float64)


def _flat_length(close: Values) -> int:
    moved = np.flatnonzero(close != close[0])
    return int(moved[0]) if len(moved) else len(close)


def _over_known(close: Values, indicator: Callable[[Values], Values]) -> Values:
    """Apply *indicator* to the closes that are there: one NaN would make TA-Lib say NaN ever after."""
    result = np.full(len(close), np.nan)
    known = ~np.isnan(close)
    if known.any():
        result[known] = indicator(np.ascontiguousarray(close[known]))
    return result
