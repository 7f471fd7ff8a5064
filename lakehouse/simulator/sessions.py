"""In which minutes of a day the exchange trades, by era (docs/iss.md section 5)."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache

import numpy as np

from lakehouse.simulator.periods import Floats, Ints

_EVENING = ((dt.date(2020, 6, 22), dt.date(2022, 2, 25)), (dt.date(2022, 9, 12), dt.date.max))
_MORNING = ((dt.date(2021, 12, 6), dt.date(2022, 2, 25)), (dt.date(2025, 1, 13), dt.date.max))

_OPENING = (9 * 60 + 59, 10 * 60)  # the opening auction's deal
_MAIN = (10 * 60, 18 * 60 + 40)
_CLOSING = (18 * 60 + 45, 18 * 60 + 50)  # the closing auction and deals at its price
_EVENING_MINUTES = (19 * 60 + 5, 23 * 60 + 50)
_MORNING_MINUTES = (6 * 60 + 59, 9 * 60 + 50)
_WEEKEND = (10 * 60, 19 * 60)


def trading_minutes(date: dt.date, *, is_weekend: bool, has_auctions: bool, is_extended: bool) -> Ints:
    """
    Return the minutes of the day, 0 to 1439, in which trades can happen.

    Args:
        date: The day.
        is_weekend: Whether it is a weekend session.
        has_auctions: Whether the security opens with an auction; an index has none.
        is_extended: Whether the security takes part in morning and evening sessions.
    """
    return _minutes(
        is_weekend,
        has_auctions,
        is_extended and any(first <= date <= last for first, last in _MORNING),
        is_extended and any(first <= date <= last for first, last in _EVENING),
    )


@lru_cache
def _minutes(is_weekend: bool, has_auctions: bool, has_morning: bool, has_evening: bool) -> Ints:
    spans = [
        (_MORNING_MINUTES, has_morning and not is_weekend),
        (_OPENING, has_auctions),
        (_MAIN, not is_weekend),
        (_CLOSING, not is_weekend),
        (_EVENING_MINUTES, has_evening and not is_weekend),
        (_WEEKEND, is_weekend),
    ]
    minutes = np.concatenate([np.arange(*span) for span, is_held in spans if is_held])
    minutes.flags.writeable = False
    return minutes.astype(np.int64)


def _activity() -> Floats:
    """Return how much is traded in each minute of the day, 1 being an ordinary one of the main session."""
    minute = np.arange(24 * 60)
    since_opening = minute - _MAIN[0]
    activity = 1 + 2.5 * np.exp(-np.clip(since_opening, 0, None) / 25) + 1.2 * np.exp(-np.abs(_MAIN[1] - minute) / 30)
    activity[(minute < _OPENING[0]) | (minute >= _EVENING_MINUTES[0])] *= 0.35
    activity[_OPENING[0]] = 8
    activity[_MORNING_MINUTES[0]] = 3
    activity[_CLOSING[0]] = 12
    return activity


ACTIVITY = _activity()
