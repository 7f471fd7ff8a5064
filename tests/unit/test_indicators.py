"""Indicators against published tables, and by their properties."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.gold.indicators import rsi, sma

# StockCharts ChartSchool, "Relative Strength Index (RSI)", spreadsheet cs-rsi: closes and 14-period RSI by Wilder's
# smoothing, published with two decimals.
RSI_CLOSES = [
    44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245, 45.8433, 46.0826, 45.8931,
    46.0328, 45.6140, 46.2820, 46.2820, 46.0028, 46.0328, 46.4116, 46.2222, 45.6439, 46.2122, 46.2521,
    45.7137, 46.4515, 45.7835, 45.3548, 44.0288, 44.1783, 44.2181, 44.5672, 43.4205, 42.6628, 43.1314,
]  # fmt: skip
PUBLISHED_RSI_14 = [
    70.53, 66.32, 66.55, 69.41, 66.36, 57.97, 62.93, 63.26, 56.06, 62.38, 54.71, 50.42, 39.99, 41.46, 41.87, 45.46,
    37.30, 33.08, 37.77,
]  # fmt: skip

# StockCharts ChartSchool, "Bollinger Bands", spreadsheet cs-bbands: closes and middle band, the 20-period SMA.
SMA_CLOSES = [
    86.1557, 89.0867, 88.7829, 90.3228, 89.0671, 91.1453, 89.4397, 89.1750, 86.9302, 87.6752, 86.9596, 89.4299,
    89.3221, 88.7241, 87.4497, 87.2634, 89.4985, 87.9006, 89.1260, 90.7043, 92.9001, 92.9784, 91.8021, 92.6647,
    92.6843, 92.3021, 92.7725, 92.5373, 92.9490, 93.2039, 91.0669, 89.8318, 89.7435, 90.3994, 90.7387, 88.0177,
    88.0867, 88.8439, 90.7781, 90.5416, 91.3894, 90.6500,
]  # fmt: skip
PUBLISHED_SMA_20 = [
    88.71, 89.05, 89.24, 89.39, 89.51, 89.69, 89.75, 89.91, 90.08, 90.38, 90.66, 90.86, 90.88, 90.91, 90.99, 91.15,
    91.19, 91.12, 91.17, 91.25, 91.24, 91.17, 91.05,
]  # fmt: skip

closes = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=120).map(lambda values: np.array(values))


def test_rsi_is_the_published_one() -> None:
    """RSI 14 is that of StockCharts' table, to the table's rounding; the first 14 values are NaN."""
    index = rsi(np.array(RSI_CLOSES))
    assert np.isnan(index[:14]).all()
    assert index[14:] == pytest.approx(PUBLISHED_RSI_14, abs=0.00501)


def test_sma_is_the_published_one() -> None:
    """SMA 20 is that of StockCharts' table, to the table's rounding; the first 19 values are NaN."""
    mean = sma(np.array(SMA_CLOSES))
    assert np.isnan(mean[:19]).all()
    assert mean[19:] == pytest.approx(PUBLISHED_SMA_20, abs=0.00501)


@settings(max_examples=60)
@given(closes)
def test_rsi_lies_between_0_and_100(close: npt.NDArray[np.float64]) -> None:
    """RSI is within [0, 100] wherever there is one."""
    index = rsi(close)
    known = index[~np.isnan(index)]
    assert ((known >= 0) & (known <= 100)).all()


@settings(max_examples=60)
@given(closes)
def test_warm_up_is_exact(close: npt.NDArray[np.float64]) -> None:
    """SMA begins at the 20th close; RSI at the 15th, or at the first close that differs from the first of all."""
    moved = np.flatnonzero(close != close[0])
    first_rsi = max(14, int(moved[0])) if len(moved) else len(close)
    assert np.array_equal(np.isnan(sma(close)), np.arange(len(close)) < 19)
    assert np.array_equal(np.isnan(rsi(close)), np.arange(len(close)) < first_rsi)


@settings(max_examples=60)
@given(closes, st.floats(1e-4, 1e4))
def test_indicators_are_scale_free(close: npt.NDArray[np.float64], scale: float) -> None:
    """Prices in another unit give the same RSI and an SMA in that unit."""
    # A price so much smaller than its neighbours that it rounds away is no price
    close = np.round(close, 2)
    assert sma(close * scale) == pytest.approx(sma(close) * scale, rel=1e-9, nan_ok=True)
    assert rsi(close * scale) == pytest.approx(rsi(close), abs=1e-4, nan_ok=True)


@settings(max_examples=60)
@given(closes, st.data())
def test_the_future_does_not_change_the_past(close: npt.NDArray[np.float64], data: st.DataObject) -> None:
    """An indicator up to a candle is the same, to the bit, whatever comes after it."""
    now = data.draw(st.integers(1, len(close)))
    for indicator in (sma, rsi):
        assert np.array_equal(indicator(close)[:now], indicator(close[:now]), equal_nan=True)


@settings(max_examples=60)
@given(closes, st.data())
def test_a_missing_close_is_stepped_over(close: npt.NDArray[np.float64], data: st.DataObject) -> None:
    """A candle without a close has no indicator and leaves those of the others as they would be without it."""
    missing = np.array(data.draw(st.lists(st.booleans(), min_size=len(close), max_size=len(close))))
    with_gaps = np.where(missing, np.nan, close)
    for indicator in (sma, rsi):
        found = indicator(with_gaps)
        assert np.isnan(found[missing]).all()
        assert np.array_equal(found[~missing], indicator(close[~missing]), equal_nan=True)


def test_a_flat_series_has_no_rsi() -> None:
    """Nothing gained and nothing lost is NaN, where TA-Lib says 0; once the series moves there is an index."""
    assert np.isnan(rsi(np.full(40, 5.0))).all()
    moved = rsi(np.append(np.full(40, 5.0), [6.0, 6.0]))
    assert np.isnan(moved[:40]).all()
    assert moved[40:] == pytest.approx([100, 100])
