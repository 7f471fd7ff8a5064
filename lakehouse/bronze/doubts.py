"""
Dates on which a series does not add up: the sums of its candles within the day and the day's candle.

Silver finds them (silver/volume_check.py); planning asks them again, whatever coverage says; people see them listed.
Light on purpose (psycopg only): the functions import it.
"""

# ruff: noqa: S608 - the text is made of literals
from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.rows import class_row

from lakehouse.bronze.window import Series
from lakehouse.market.timeframe import Timeframe

DIFFERS, NOT_PROVABLE = "differs", "not provable"


@dataclass(frozen=True)
class VolumeGap:
    """
    A date of a series within the day (1m, 10m or 1h) that differs from the day's candle, or that nothing proves.

    Attributes:
        state: `differs`, or `not provable` where no day's candle is held that could be compared.
        measure: `volume` (securities); `value` (turnover) where neither side has a volume, as of an index.
        day_volume: Of the day's candle; None if there is none.
        intraday_volume: Sum of the candles within the day; 0 if there are none.
        reread_at: When another reading gave the same: since then the date is listed, and not asked any more.
    """

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
    found_at: dt.datetime
    reread_at: dt.datetime | None


def gaps(
    conn: Connection[Any], *, secid: str | None = None, state: str | None = None, limit: int = 1000
) -> list[VolumeGap]:
    """Return what is found at present, the newest dates first; of one security or state if given."""
    with conn.cursor(row_factory=class_row(VolumeGap)) as cursor:
        return cursor.execute(_GAPS, {"secid": secid, "state": state, "limit": limit}).fetchall()


def gap_counts(conn: Connection[Any], secid: str | None = None) -> dict[str, int]:
    """Return how many dates of series differ, and how many are not provable; of one code if given."""
    query = """
        SELECT state, count(*) FROM lake.volume_gap WHERE %(secid)s::text IS NULL OR secid = %(secid)s GROUP BY state
    """
    found = dict(conn.execute(query, {"secid": secid}).fetchall())
    return {state: int(found.get(state, 0)) for state in (DIFFERS, NOT_PROVABLE)}


def doubted_dates(conn: Connection[Any], series: Series) -> list[dt.date]:
    """
    Return the dates of *series* to be asked again although they are covered, oldest first.

    A date stays in doubt until another reading of it landed; Silver then decides anew.
    """
    if series.family != "candles":
        return []
    query = _DOUBTED_DAYS if series.timeframe == Timeframe.DAY else _DOUBTED
    return [date for (date,) in conn.execute(query, dict(vars(series))).fetchall()]


_GAPS: LiteralString = """
    SELECT engine, market, board, secid, timeframe, trade_date, state, measure, day_volume, intraday_volume, found_at,
        reread_at
    FROM lake.volume_gap
    WHERE (%(secid)s::text IS NULL OR secid = %(secid)s) AND (%(state)s::text IS NULL OR state = %(state)s)
    ORDER BY trade_date DESC, engine, market, board, secid, timeframe LIMIT %(limit)s"""
_OF_INSTRUMENT: LiteralString = """
    FROM lake.volume_gap g
    JOIN lake.coverage c ON (c.engine, c.market, c.board, c.secid) = (g.engine, g.market, g.board, g.secid)
        AND c.family = 'candles' AND c.timeframe = %(timeframe)s AND g.trade_date BETWEEN c.from_date AND c.till_date
    WHERE g.engine = %(engine)s AND g.market = %(market)s AND g.board = %(board)s AND g.secid = %(secid)s
        AND g.state = 'differs'"""
_DOUBTED: LiteralString = (
    "SELECT g.trade_date"
    + _OF_INSTRUMENT
    + " AND g.timeframe = c.timeframe AND g.reread_at IS NULL AND c.object_key = g.object_key ORDER BY 1"
)
_DOUBTED_DAYS: LiteralString = (
    "SELECT DISTINCT g.trade_date"
    + _OF_INSTRUMENT
    + " AND g.day_reread_at IS NULL AND c.object_key IS NOT DISTINCT FROM g.day_object_key ORDER BY 1"
)
