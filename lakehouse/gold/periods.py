"""Weeks, months and quarters in which an instrument was renamed or split. Pure Arrow; Spark runs it per series."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import numpy as np
import polars as pl
import pyarrow as pa

from lakehouse.gold.series import CANDLE
from lakehouse.gold.splits import Split, last_dates, split_factors
from lakehouse.market.timeframe import Timeframe

PERIODS = (Timeframe.WEEK, Timeframe.MONTH, Timeframe.QUARTER)
# Beside the candle's own columns: the timeframe it was read as, its board, and since when it counts for the instrument
ORIGIN = ("read_as", "board", "after")

_PRICES = ("open", "high", "low", "close")
_EQUAL, _FORMING = 1e-6, 0.05  # by how much the value of a period and of its days may differ


def split_periods(splits: Iterable[Split], timeframe: Timeframe) -> list[tuple[dt.date, dt.date]]:
    """Return the first and last date of each period that has days before a split and days after it."""
    firsts = {timeframe.period_start(split.trade_date) for split in splits} - {split.trade_date for split in splits}
    lasts = last_dates(np.asarray(sorted(firsts), "datetime64[D]"), timeframe).tolist()
    return list(zip(sorted(firsts), lasts, strict=True))


def join_periods(candles: pa.Table, timeframe: Timeframe, splits: Iterable[Split]) -> pa.Table:
    """
    Return one candle for each period, columns `CANDLE`.

    Where a code was renamed, the exchange has one of each code: they are joined. Where a split fell, its candle has
    prices and volumes in two units: it is made from the days, in the units of its end, when they make up its value. Of
    days that are not held nothing is known but close and value; the rest is NULL.

    Args:
        candles: The candles of one series and, of periods with a split, its days; columns `CANDLE` and `ORIGIN`.
        splits: All splits of the instrument.
    """
    splits = tuple(splits)
    rows = pl.DataFrame(candles).with_columns(period=pl.col("trade_date").dt.truncate(_EVERY[timeframe]))
    whole = _joined(rows.filter(pl.col("read_as") == timeframe.value))
    for first, last in split_periods(splits, timeframe):
        days = rows.filter(pl.col("read_as") == Timeframe.DAY.value, pl.col("period") == first).sort("begin_at")
        found = whole.filter(pl.col("period") == first)
        if found.height:
            whole = whole.update(
                found.with_columns(**_in_units_of(last, found, days, splits)), on="period", include_nulls=True
            )
    return whole.select(CANDLE).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(candles.select(CANDLE).schema)


_EVERY = {Timeframe.WEEK: "1w", Timeframe.MONTH: "1mo", Timeframe.QUARTER: "1q"}


def _joined(rows: pl.DataFrame) -> pl.DataFrame:
    # A code that was given back (A, B, A) counts for two times, its candle of a period once
    once = rows.sort("period", "after", "begin_at").unique(
        ["period", "board", "secid", "begin_at"], keep="first", maintain_order=True
    )
    known = {name: pl.col(name).drop_nulls() for name in (*_PRICES, "value", "volume")}
    return once.group_by("period", maintain_order=True).agg(
        pl.col("begin_at", "trade_date", "bucket").first(),
        pl.col("secid").last(),
        known["open"].first(),
        known["high"].max(),
        known["low"].min(),
        known["close"].last(),
        *(pl.when(known[name].len() > 0).then(known[name].sum()).alias(name) for name in ("value", "volume")),
        pl.col("is_final").all(),
    )


def _in_units_of(
    last: dt.date, period: pl.DataFrame, days: pl.DataFrame, splits: tuple[Split, ...]
) -> dict[str, pl.Expr]:
    """Return open, high, low and volume of a period in the units of its *last* date."""
    value = period["value"].item()
    allowed = _EQUAL if period["is_final"].item() else _FORMING
    if value is None or abs(days["value"].sum() - value) > allowed * value:
        return dict.fromkeys(("open", "high", "low", "volume"), pl.lit(None, pl.Float64))
    dates = np.asarray([*days["trade_date"], last], "datetime64[D]")
    factors = split_factors(dates, splits)
    factor = pl.Series(factors[:-1] / factors[-1])
    found = {
        "open": (days["open"] * factor).drop_nulls().first(),
        "high": (days["high"] * factor).max(),
        "low": (days["low"] * factor).min(),
        "volume": (days["volume"] / factor).sum(),
    }
    return {name: pl.lit(number, pl.Float64) for name, number in found.items()}
