"""From what was asked to the windows that are due: reads borders, ledger and clock, and plans."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from lakehouse.bronze.borders import read_candle_borders, read_history_border
from lakehouse.bronze.context import FetchContext
from lakehouse.bronze.ledger import coverage
from lakehouse.bronze.plan import plan_windows
from lakehouse.bronze.reference import read_reference
from lakehouse.bronze.window import Window, candle_series, history_series
from lakehouse.market.instrument import Instrument
from lakehouse.market.timeframe import Timeframe


def instrument_windows(
    context: FetchContext,
    instrument: Instrument,
    timeframes: Sequence[Timeframe],
    *,
    from_: dt.date | None,
    till: dt.date | None,
    now: dt.datetime,
    reread: bool = False,
) -> list[Window]:
    """
    Return the windows of an instrument's candles that are due; see `plan_windows`. With 1d come the end-of-day rows.

    Raises:
        IssError: if the exchange does not tell its borders.
    """
    borders = read_candle_borders(context, instrument, now)
    asked = [(candle_series(instrument, timeframe), borders.get(timeframe)) for timeframe in timeframes]
    if Timeframe.DAY in timeframes:
        asked.append((history_series(instrument), read_history_border(context, instrument, now)))
    windows: list[Window] = []
    with context.connect() as conn:
        for series, border in asked:
            windows += plan_windows(series, from_, till, border, coverage(conn, series), now, reread)
    return windows


def read_market_tables(context: FetchContext, engine: str, market: str, now: dt.datetime) -> None:
    """
    Bring splits, renames and the trading calendar of a market into Bronze, once a day.

    Raises:
        IssError: if the exchange does not give one of them.
    """
    read_reference(context, "splits", engine=engine, now=now)
    read_reference(context, "changeover", engine=engine, market=market, now=now)
    read_reference(context, "timetable", engine=engine, now=now)
    read_reference(context, "calendar", engine=engine, now=now)
