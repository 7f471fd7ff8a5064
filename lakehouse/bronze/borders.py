"""Where a series begins and ends, and on which dates there is trading: what tells "no trades" from "missing"."""

from __future__ import annotations

import datetime as dt
from typing import Any

from psycopg import Connection

from lakehouse.bronze.calendars import known_calendar
from lakehouse.bronze.context import FetchContext
from lakehouse.bronze.reference import read_reference
from lakehouse.bronze.window import Series, Window, period_end, period_start
from lakehouse.iss.candles import Border, parse_borders
from lakehouse.market.instrument import Instrument
from lakehouse.market.timeframe import Timeframe

_DAY = dt.timedelta(days=1)


def read_border(context: FetchContext, series: Series, now: dt.datetime) -> Border | None:
    """
    Return the first and last row of a series of candles or history; None if the exchange has no rows of it.

    Raises:
        IssError: if the exchange must be asked and does not answer as it should.
    """
    if series.family == "history":
        return read_history_border(context, series.instrument, now)
    return read_candle_borders(context, series.instrument, now).get(Timeframe(series.timeframe))


def read_candle_borders(context: FetchContext, instrument: Instrument, now: dt.datetime) -> dict[Timeframe, Border]:
    """Return the borders of all timeframes that have candles; raises like `read_border`."""
    place = {"engine": instrument.engine, "market": instrument.market, "board": instrument.board}
    return parse_borders(read_reference(context, "borders", **place, secid=instrument.secid, now=now).answers[0])


def read_history_border(context: FetchContext, instrument: Instrument, now: dt.datetime) -> Border | None:
    """Return the border of the end-of-day rows on all boards of the instrument's market; raises like `read_border`."""
    boards = read_reference(context, "securities", secid=instrument.secid, now=now).blocks["boards"].records()
    spans = [
        (row["history_from"], row["history_till"])
        for row in boards
        if (row["engine"], row["market"]) == (instrument.engine, instrument.market)
        and row["history_from"]
        and row["history_till"]
    ]
    if not spans:
        return None
    begin, end = min(from_ for from_, _ in spans), max(till for _, till in spans)
    return Border(dt.datetime.fromisoformat(begin), dt.datetime.fromisoformat(end))


def expects_rows(context: FetchContext, conn: Connection[Any], window: Window, now: dt.datetime) -> bool:
    """Return whether the exchange should have rows in a window: there are trading dates in it within the border."""
    border = read_border(context, window.series, now)
    if border is None:
        return False
    first = max(window.from_at.date(), period_start(window.series, border.begin.date()))
    last = min(window.till, period_end(window.series, border.end.date()))
    calendar = known_calendar(context, conn, window.series.engine)
    return any(calendar.trades(first + _DAY * day) for day in range((last - first).days + 1))
