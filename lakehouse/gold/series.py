"""One series of candles: its facts, and how the stored ones differ from them. Pure Arrow; Spark runs it per series."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
import pyarrow as pa

from lakehouse.gold.indicators import rsi, sma
from lakehouse.gold.splits import Split, last_dates, split_factors
from lakehouse.market.candle import FACT_CANDLE
from lakehouse.market.timeframe import Timeframe
from lakehouse.silver.arrow import arrow_schema

# What a fact takes over from Silver, beside the two columns that name the series
CANDLE = ("begin_at", "trade_date", "secid", "open", "high", "low", "close", "value", "volume", "is_final", "bucket")
SERIES = ("instrument_id", "timeframe")
_VALUES = tuple(name for name in FACT_CANDLE.names if name not in FACT_CANDLE.key)


def difference_schema() -> pa.Schema:
    """Return the schema of a difference: the columns of fact_candle, nullable in a drop, and `op`."""
    columns = [pa.field(field.name, field.type) for field in arrow_schema(FACT_CANDLE)]
    return pa.schema([*columns, pa.field("op", pa.string())])


def facts(candles: pa.Table, instrument_id: int, timeframe: Timeframe, splits: Iterable[Split]) -> pa.Table:
    """
    Return the facts of one series, from its first candle on.

    Args:
        candles: All current candles of the series, columns `CANDLE`, in any order.
        splits: All splits of the instrument.
    """
    ordered = candles.select(CANDLE).sort_by("begin_at")
    dates = ordered["trade_date"].to_numpy().astype("datetime64[D]")
    factor = split_factors(last_dates(dates, timeframe), splits)
    adjusted = ordered["close"].to_numpy().astype(np.float64) * factor
    computed = {
        "instrument_id": pa.repeat(pa.scalar(instrument_id, pa.int64()), len(ordered)),
        "timeframe": pa.repeat(timeframe.value, len(ordered)),
        "split_factor": pa.array(factor),
        "sma_20": pa.array(sma(adjusted, 20), from_pandas=True),
        "rsi_14": pa.array(rsi(adjusted, 14), from_pandas=True),
    }
    columns = {name: ordered[name] for name in CANDLE} | computed
    return pa.table({name: columns[name] for name in FACT_CANDLE.names}, schema=arrow_schema(FACT_CANDLE))


def difference(wanted: pa.Table, stored: pa.Table) -> pa.Table:
    """
    Return the rows that make *stored* equal *wanted*, both of one series, with `op`: insert, update or drop.

    Values are compared bit by bit, but NULL equals NULL and -0 equals 0.
    """
    key = "begin_at"
    after, before = _frame(wanted), _frame(stored)
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_before")) for name in _VALUES)
    put = after.join(before.with_columns(is_stored=True), on=key, how="left", suffix="_before").with_columns(
        op=pl.when(pl.col("is_stored").is_null()).then(pl.lit("insert")).when(differs).then(pl.lit("update"))
    )
    dropped = before.join(after, on=key, how="anti").with_columns(op=pl.lit("drop"))
    names = difference_schema().names
    changed = pl.concat([put.filter(pl.col("op").is_not_null()).select(names), dropped.select(names)])
    return changed.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(difference_schema())


def _frame(rows: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(rows.select(FACT_CANDLE.names))
