"""
Days whose adjusted prices jump as by a split: the exchange's list lacks one, or has it on another date.

Light on purpose (psycopg only): the functions import it. Publishing looks at the days that it writes, and at those
after them: 10 ms for two days of 300 series, 0.9 s for ten years. A finding goes when the jump does, as a split that is
added makes it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import Connection, sql
from psycopg.rows import class_row


@dataclass(frozen=True)
class PriceJump:
    """
    A day that opens at about a whole multiple of the close before, or a whole part of it, and no split explains that.

    Attributes:
        secid: The instrument's code on that day.
        close_date: The day before with trades.
        close: Its close, raw.
        open: The day's open, raw.
        known: What known splits multiply prices before the day by; 1 where none is known of that date.
        before, after: The split (*before* securities become *after*) that would explain what is left.
    """

    engine: str
    market: str
    board: str
    secid: str
    trade_date: dt.date
    close_date: dt.date
    close: float
    open: float
    known: float
    before: int
    after: int

    @property
    def what_to_do(self) -> str:
        """The command that mends it, if it was a split; prices move so, too."""
        if self.known != 1:
            return f"the split known of that date is not in the prices: lakehouse splits --secid {self.secid}"
        engine = "" if self.engine == "stock" else f" --engine {self.engine}"
        added = f"{self.secid} {self.trade_date} {self.before} {self.after}{engine}"
        return f'if it was a split: lakehouse splits add {added} --reason "where it is said"'


def jumps(conn: Connection[Any], *, secid: str | None = None, limit: int = 1000) -> list[PriceJump]:
    """Return what is found at present, the newest dates first; of one code if given."""
    with conn.cursor(row_factory=class_row(PriceJump)) as cursor:
        return cursor.execute(_JUMPS, {"secid": secid, "limit": limit}).fetchall()


def jump_count(conn: Connection[Any], secid: str | None = None) -> int:
    """Return how many days jump; of one code if given."""
    query = "SELECT count(*) FROM lake.price_jump WHERE %(secid)s::text IS NULL OR secid = %(secid)s"
    (count,) = conn.execute(query, {"secid": secid}).fetchone() or (0,)
    return int(count)


def find_jumps(conn: Connection[Any], facts: sql.Composable) -> None:
    """Look at the days in the temporary table `_changes`, and at those after them: what changed of *facts*."""
    conn.execute(sql.SQL(_TOUCHED).format(facts=facts))
    conn.execute(_FORGET)
    conn.execute(sql.SQL(_INSERT).format(days=sql.SQL(_DAYS_TOUCHED).format(facts=facts)))


def find_all_jumps(conn: Connection[Any], facts: sql.Composable) -> None:
    """Look at all days of *facts*."""
    conn.execute("DELETE FROM lake.price_jump")
    conn.execute(sql.SQL(_INSERT).format(days=sql.SQL(_ALL_DAYS).format(facts=facts)))


_JUMPS: LiteralString = """
    SELECT i.engine, i.market, i.board, j.secid, j.trade_date, j.close_date, j.close, j.open, j.known, j.before, j.after
    FROM lake.price_jump j JOIN gold.dim_instrument i USING (instrument_id)
    WHERE %(secid)s::text IS NULL OR j.secid = %(secid)s
    ORDER BY j.trade_date DESC, j.secid LIMIT %(limit)s"""
_TOUCHED: LiteralString = """
    CREATE TEMP TABLE _touched ON COMMIT DROP AS
    SELECT instrument_id, begin_at FROM _changes WHERE timeframe = '1d'
    UNION
    SELECT c.instrument_id, following.begin_at
    FROM _changes c, LATERAL (
        SELECT f.begin_at FROM {facts} f
        WHERE f.instrument_id = c.instrument_id AND f.timeframe = '1d' AND f.begin_at > c.begin_at
        ORDER BY f.begin_at LIMIT 1) following
    WHERE c.timeframe = '1d'"""
_FORGET: LiteralString = """
    DELETE FROM lake.price_jump j USING _touched t
    WHERE (j.instrument_id, j.begin_at) = (t.instrument_id, t.begin_at)"""
_DAYS_TOUCHED: LiteralString = """
    SELECT f.instrument_id, f.begin_at, f.trade_date, f.secid, f.open, f.split_factor, b.trade_date AS close_date,
        b.close, b.split_factor AS factor_before
    FROM _touched t JOIN {facts} f
        ON f.instrument_id = t.instrument_id AND f.timeframe = '1d' AND f.begin_at = t.begin_at,
    LATERAL (
        SELECT p.trade_date, p.close, p.split_factor FROM {facts} p
        WHERE p.instrument_id = f.instrument_id AND p.timeframe = '1d' AND p.begin_at < f.begin_at
        ORDER BY p.begin_at DESC LIMIT 1) b"""
_ALL_DAYS: LiteralString = """
    SELECT instrument_id, begin_at, trade_date, secid, open, split_factor, lag(trade_date) OVER w AS close_date,
        lag(close) OVER w AS close, lag(split_factor) OVER w AS factor_before
    FROM {facts} WHERE timeframe = '1d' WINDOW w AS (PARTITION BY instrument_id ORDER BY begin_at)"""
# Shares open at some per cent from the close before; what is not within 8 % of a whole ratio is no split
_INSERT: LiteralString = """
    INSERT INTO lake.price_jump
        (instrument_id, begin_at, trade_date, secid, close_date, close, open, known, before, after)
    SELECT instrument_id, begin_at, trade_date, secid, close_date, close, open, factor_before / split_factor,
        CASE WHEN fell THEN 1 ELSE whole END, CASE WHEN fell THEN whole ELSE 1 END
    FROM ({days}) d,
        LATERAL (SELECT close * factor_before / (open * split_factor) AS ratio WHERE close > 0 AND open > 0) r,
        LATERAL (SELECT ratio > 1 AS fell, greatest(ratio, 1 / ratio) AS times) t,
        LATERAL (SELECT round(times)::integer AS whole WHERE times > 1.8 AND times < 1e6) w
    WHERE abs(times / whole - 1) <= 0.08"""
