"""Frames that the comparison of volumes takes, made by hand or from the made market."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl

from lakehouse.silver.volumes import Verdict, daily_sums, verdicts
from lakehouse.simulator.exchange import MadeExchange
from lakehouse.simulator.periods import month_bounds

DATE = dt.date(2024, 3, 4)
_PLACE = {"engine": "stock", "market": "shares", "board": "TQBR", "secid": "SBER"}
_SCHEMA = {
    **dict.fromkeys((*_PLACE, "timeframe"), pl.String),
    "trade_date": pl.Date,
    "volume": pl.Float64,
    "value": pl.Float64,
}
INTERVALS = {"1m": 1, "10m": 10, "1h": 60, "1d": 24}


def candles(rows: Sequence[tuple[str, float | None, float | None]], date: dt.date = DATE) -> pl.DataFrame:
    """Return candles of one date, each given as timeframe, volume and turnover."""
    records = [(*_PLACE.values(), timeframe, date, volume, value) for timeframe, volume, value in rows]
    return pl.DataFrame(records, _SCHEMA, orient="row")


def asked(timeframe: str, date: dt.date = DATE, *, day_is_covered: bool = True) -> pl.DataFrame:
    """Return one date of a series within the day as one that is held whole."""
    place = candles([(timeframe, None, None)], date).drop("volume", "value")
    return place.with_columns(day_is_covered=pl.lit(day_is_covered))


def found(places: pl.DataFrame, *held: pl.DataFrame) -> list[Verdict]:
    """Return what the comparison says of *places* when *held* are all candles there are."""
    return verdicts(places, daily_sums(pl.concat(held)))


def month_of(exchange: MadeExchange, secid: str, timeframe: str, month: int) -> pl.DataFrame:
    """Return the candles of a month (since January 1970) of the made exchange, placed where `asked` looks."""
    first, stop = month_bounds(month)
    all_ = exchange.candles(secid, INTERVALS[timeframe], 0 if timeframe == "1d" else month)
    of_month = all_[(all_.begin >= first) & (all_.begin < stop)]
    dates = of_month.begin.astype("datetime64[s]").astype("datetime64[D]")
    place = [pl.lit(value).alias(name) for name, value in {**_PLACE, "timeframe": timeframe}.items()]
    frame = pl.DataFrame({"trade_date": dates, "volume": of_month.volume, "value": of_month.value})
    return frame.select(*place, "trade_date", "volume", "value")
