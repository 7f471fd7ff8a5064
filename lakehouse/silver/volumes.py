"""
Whether the candles within a day add up to the day's candle: pure, over current and final candles.

Rows that the exchange leaves out of a full page cannot be seen by paging: the pages follow each other as they should.
They are seen where a day's candle and its minutes are both held, as what they sum up must be the same.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from lakehouse.bronze.doubts import DIFFERS, NOT_PROVABLE
from lakehouse.market.timeframe import Timeframe

LISTING = ("engine", "market", "board", "secid")
KEY = (*LISTING, "timeframe", "trade_date")
# Doubles that are not whole are summed with noise; whole numbers below 2^53 are exact
TOLERANCE = 1e-9
MEASURES = ("volume", "value")


@dataclass(frozen=True)
class Verdict:
    """A date of a series within the day that does not add up, or cannot be compared (bronze/doubts.py)."""

    engine: str
    market: str
    board: str
    secid: str
    timeframe: str
    trade_date: dt.date
    state: str
    measure: str
    day_volume: float | None
    intraday_volume: float


def daily_sums(candles: pl.DataFrame) -> pl.DataFrame:
    """
    Return one row per series and date: `volume`, `value` (NULL counts as 0) and `rows`; sums of sums are sums.

    Args:
        candles: Columns of KEY, `volume` and `value`, in any order; with `rows`, they are sums already.
    """
    rows = pl.col("rows").sum() if "rows" in candles.columns else pl.len().cast(pl.Int64).alias("rows")
    return candles.group_by(KEY).agg(pl.col("volume").sum(), pl.col("value").sum(), rows)


def verdicts(asked: pl.DataFrame, sums: pl.DataFrame) -> list[Verdict]:
    """
    Return the dates that differ or are not provable; those that agree are not among them.

    Args:
        asked: The dates to look at, columns of KEY (timeframes within the day): each proved to be held whole. And
            `day_is_covered`: whether the day's candle would be held if there were one.
        sums: `daily_sums` of the candles of these dates, and of their days (timeframe 1d).
    """
    days = sums.filter(pl.col("timeframe") == Timeframe.DAY.value).drop("timeframe")
    place = [*LISTING, "trade_date"]
    joined = asked.join(sums, on=KEY, how="left").join(days, on=place, how="left", suffix="_of_day").sort(KEY)
    return list(_judged(joined.iter_rows(named=True)))


def agree(one: float, other: float) -> bool:
    """Whether two sums are the same: exactly where both are whole, else but for the noise of adding doubles."""
    if one.is_integer() and other.is_integer():
        return one == other
    return math.isclose(one, other, rel_tol=TOLERANCE)


def _judged(rows: Iterable[dict[str, Any]]) -> Iterator[Verdict]:
    for row in rows:
        has_day = row["rows_of_day"] is not None
        if not has_day and row["rows"] is None:
            continue  # a date without trades
        measure, day, within = _measured(row)
        if not measure or not (has_day or row["day_is_covered"]):
            state = NOT_PROVABLE
        elif agree(day, within):
            continue
        else:
            state = DIFFERS
        yield Verdict(
            **{name: row[name] for name in KEY},
            state=state,
            measure=measure or MEASURES[0],
            day_volume=day if has_day else None,
            intraday_volume=within,
        )


def _measured(row: dict[str, Any]) -> tuple[str, float, float]:
    """Return the first measure that either side has anything of, and both sides in it; an index has no volume."""
    for measure in MEASURES:
        day, within = float(row[f"{measure}_of_day"] or 0), float(row[measure] or 0)
        if day or within:
            return measure, day, within
    return "", 0.0, 0.0
