"""
Rules that a row of the exchange must obey; one that breaks a rule goes to silver.quarantine, never into a table.

What is merely odd is no rule: jumps of price, an `end` before the candle is over, a NULL price, a doubled row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from lakehouse.market.table import Table
from lakehouse.market.timeframe import Timeframe
from lakehouse.silver.columns import Mask, Values

_NOT_NEGATIVE = ("value", "volume", "trades")
_PRICES = ("open", "high", "low", "close")
# changeover.json names a successor that has no code yet so (docs/iss.md section 1)
PLACEHOLDER = "XXXXXX"


def broken_rules(
    table: Table, columns: Mapping[str, Values], outside: Mask, secid: str = "", timeframe: str = ""
) -> npt.NDArray[Any]:
    """
    Return the name of the first rule that each row breaks, None where it breaks none (dtype object).

    Args:
        table: What the rows are to become.
        columns: The columns read from the exchange, `begin` in naive Moscow time as `begin_at`.
        outside: Where the row lies outside the window that was asked for.
        secid: The security that was asked for; '' where the answer is about many.
        timeframe: The timeframe that was asked for; '' outside candles.
    """
    rules: npt.NDArray[Any] = np.full(len(outside), None, object)
    for name, mask in _rules(table, columns, outside, secid, timeframe):
        rules[mask & (rules == None)] = name  # noqa: E711 - element by element
    return rules


def _rules(
    table: Table, columns: Mapping[str, Values], outside: Mask, secid: str, timeframe: str
) -> Iterator[tuple[str, Mask]]:
    for name in table.key:
        if name in columns:
            yield f"{name} missing", columns[name].null
    for name, values in columns.items():
        yield f"{name} unreadable", values.bad
    if secid and "secid" in columns:
        yield "other security", columns["secid"].data != secid
    yield "outside window", outside
    if timeframe:
        yield "begin off grid", off_grid(columns["begin_at"].data, Timeframe(timeframe))
    yield from _rules_of_values(columns)


def _rules_of_values(columns: Mapping[str, Values]) -> Iterator[tuple[str, Mask]]:
    for name in _NOT_NEGATIVE:
        if name in columns:
            yield f"{name} negative", _known(columns[name]) & (columns[name].data < 0)
    if all(name in columns for name in _PRICES):
        yield "prices out of order", _out_of_order(columns)
    if "before" in columns:
        yield "ratio not positive", _not_positive(columns["before"]) | _not_positive(columns["after"])
    if "new_secid" in columns:
        yield "placeholder code", columns["new_secid"].data == PLACEHOLDER


def off_grid(begin: npt.NDArray[np.datetime64], timeframe: Timeframe) -> Mask:
    """Return which naive Moscow times cannot begin a candle of *timeframe*."""
    seconds = begin.astype("datetime64[s]").astype(np.int64)
    if timeframe.is_intraday:
        return np.asarray(seconds % (timeframe.interval * 60) != 0)
    date = begin.astype("datetime64[D]")
    return np.asarray((seconds % 86400 != 0) | (period_start(date, timeframe) != date))


def period_start(date: npt.NDArray[np.datetime64], timeframe: Timeframe) -> npt.NDArray[np.datetime64]:
    """Return the first day of the candle that each date belongs to."""
    if timeframe is Timeframe.WEEK:
        days = date.astype("datetime64[D]").astype(np.int64)
        return np.asarray(days - (days + 3) % 7).astype("datetime64[D]")  # 1970-01-01 was a Thursday
    months = date.astype("datetime64[M]").astype(np.int64)
    if timeframe is Timeframe.MONTH:
        return months.astype("datetime64[M]").astype("datetime64[D]")
    if timeframe is Timeframe.QUARTER:
        return np.asarray(months - months % 3).astype("datetime64[M]").astype("datetime64[D]")
    return date.astype("datetime64[D]")


def _out_of_order(columns: Mapping[str, Values]) -> Mask:
    """Low <= open, close <= high, as far as they are known."""
    mask = np.zeros(len(columns["low"].data), np.bool_)
    for lower, upper in combinations(("low", "open", "close", "high"), 2):
        if (lower, upper) != ("open", "close"):
            both = _known(columns[lower]) & _known(columns[upper])
            mask |= both & (columns[lower].data > columns[upper].data)
    return mask


def _not_positive(values: Values) -> Mask:
    return ~_known(values) | ~(values.data > 0)


def _known(values: Values) -> Mask:
    return ~values.null & ~values.bad
