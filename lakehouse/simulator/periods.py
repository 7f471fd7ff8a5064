"""ISS intervals: what period a candle covers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MINUTE, TEN_MINUTES, HOUR, DAY, WEEK, MONTH, QUARTER = INTERVALS = (1, 10, 60, 24, 7, 31, 4)
INTRADAY = (MINUTE, TEN_MINUTES, HOUR)
SECONDS_A_DAY = 86_400


def period_start(seconds: Ints, interval: int) -> Ints:
    """Return, for each naive second since 1970, the one at which its candle of *interval* begins."""
    if interval in INTRADAY:
        return seconds - seconds % (interval * 60)
    days = seconds // SECONDS_A_DAY
    if interval == WEEK:
        days = days - (days + 3) % 7  # 1970-01-01 was a Thursday
    elif interval in (MONTH, QUARTER):
        months = months_of(seconds)
        months = months - months % 3 if interval == QUARTER else months
        days = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return np.asarray(days * SECONDS_A_DAY)


def period_start_of(second: int, interval: int) -> int:
    """Return the second at which the candle that covers *second* begins."""
    return int(period_start(np.array([second]), interval)[0])


def months_of(seconds: Ints) -> Ints:
    """Return the months from January 1970 to each second."""
    return np.asarray(seconds.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64))


def chunk_of(second: int, interval: int) -> int:
    """Return the number of the chunk that holds a candle: its month within a day, else one chunk for all."""
    return int(months_of(np.array([second]))[0]) if interval in INTRADAY else 0


def month_bounds(month: int) -> tuple[int, int]:
    """Return the first second of a month since January 1970, and that of the next month."""
    bounds = np.array([month, month + 1]).astype("datetime64[M]").astype("datetime64[s]").astype(np.int64)
    return int(bounds[0]), int(bounds[1])
