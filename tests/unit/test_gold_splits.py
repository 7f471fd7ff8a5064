"""Split factors."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from lakehouse.gold.splits import Split, last_dates, split_factors
from lakehouse.market.timeframe import Timeframe


def days(*dates: str) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    return np.array(dates, "datetime64[D]")


def test_prices_before_the_split_are_multiplied() -> None:
    """GMKN's split 1 -> 100 of 2024-04-08 makes the prices before it a hundredth, from its date on they stay."""
    split = Split(dt.date(2024, 4, 8), 1, 100)
    dates = days("2024-04-01", "2024-04-07", "2024-04-08", "2025-01-01")
    assert split_factors(dates, [split]).tolist() == [0.01, 0.01, 1, 1]


def test_a_consolidation_raises_prices() -> None:
    """VTBR's consolidation 5000 -> 1 of 2024-07-15 makes the prices before it 5,000 times as high."""
    assert split_factors(days("2024-07-08", "2024-07-15"), [Split(dt.date(2024, 7, 15), 5000, 1)]).tolist() == [5000, 1]


def test_splits_multiply() -> None:
    """The factor of a date is the product of all later splits, in whatever order they are given."""
    splits = [Split(dt.date(2026, 4, 17), 1, 10), Split(dt.date(2015, 1, 20), 100, 1), Split(dt.date(2020, 6, 1), 1, 4)]
    found = split_factors(days("2015-01-19", "2015-01-20", "2020-06-01", "2026-04-17"), splits)
    assert found == pytest.approx([2.5, 0.025, 0.1, 1])


def test_without_splits_the_factor_is_one() -> None:
    """An instrument that was never split has the factor 1, also when it has no candles."""
    assert split_factors(days("2024-01-01"), []).tolist() == [1]
    assert split_factors(days(), [Split(dt.date(2024, 1, 1), 1, 2)]).tolist() == []


@pytest.mark.parametrize(
    ("timeframe", "first", "last"),
    [
        ("1m", "2024-04-05", "2024-04-05"),
        ("1d", "2024-04-05", "2024-04-05"),
        ("1w", "2024-04-01", "2024-04-07"),
        ("1mo", "2024-02-01", "2024-02-29"),
        ("1q", "2023-10-01", "2023-12-31"),
    ],
)
def test_a_candle_closes_at_the_prices_of_its_last_date(timeframe: str, first: str, last: str) -> None:
    """The factor of a week, month or quarter is that of its last date: so its close is comparable."""
    assert last_dates(days(first), Timeframe(timeframe)).tolist() == days(last).tolist()
