"""From what was asked to the windows that are due: reads borders, ledger and clock, and plans."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

from lakehouse.bronze.borders import read_candle_borders, read_history_border
from lakehouse.bronze.calendars import known_calendar
from lakehouse.bronze.context import FetchContext
from lakehouse.bronze.doubts import doubted_dates
from lakehouse.bronze.ledger import coverage
from lakehouse.bronze.plan import plan_windows
from lakehouse.bronze.reference import read_reference
from lakehouse.bronze.window import Window, candle_series, history_series
from lakehouse.iss.candles import Border
from lakehouse.market.instrument import Instrument
from lakehouse.market.timeframe import Timeframe

_LIVELY = dt.timedelta(days=14)


def instrument_windows(
    context: FetchContext,
    instrument: Instrument,
    timeframes: Sequence[Timeframe],
    *,
    from_: dt.date | None,
    till: dt.date | None,
    now: dt.datetime,
    reread: bool = False,
    held: bool = False,
) -> list[Window]:
    """
    Return the windows of an instrument's candles that are due; see `plan_windows`. With 1d come the end-of-day rows.

    Raises:
        IssError: if the exchange does not tell its borders.
    """
    borders = read_candle_borders(context, instrument, now)
    windows: list[Window] = []
    with context.connect() as conn:
        shown_till = known_calendar(context, conn, instrument.engine).last_begun(now)
        asked = [
            (candle_series(instrument, timeframe), _grown(borders.get(timeframe), shown_till))
            for timeframe in timeframes
        ]
        if Timeframe.DAY in timeframes:
            asked.append((history_series(instrument), read_history_border(context, instrument, now)))
        for series, border in asked:
            known, doubted = coverage(conn, series), doubted_dates(conn, series)
            windows += plan_windows(series, from_, till, border, known, now, reread, doubted, held)
    return windows


def _grown(border: Border | None, shown_till: dt.date) -> Border | None:
    """
    Return a border as it may be by now: it was read once today, and candles of today may have come since.

    A series without a candle for weeks is left as it was told: it is over, or tomorrow's border will show it.
    """
    if border is None or border.end.date() < shown_till - _LIVELY:
        return border
    return replace(border, end=max(border.end, dt.datetime.combine(shown_till, dt.time())))


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
