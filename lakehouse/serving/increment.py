"""An increment: what changed, brought into the generation that readers see, in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from psycopg import Connection, sql

from lakehouse.market.candle import FACT_CANDLE
from lakehouse.serving.checks import REBUILD_GOLD, PublishAborted, check_rows, constraints_named
from lakehouse.serving.copy import copy_rows
from lakehouse.serving.dimensions import equal, identifiers, upsert
from lakehouse.serving.generations import fetch_one, partition


@dataclass(frozen=True)
class Written:
    """Rows that an increment wrote."""

    inserted: int
    updated: int
    deleted: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.inserted + self.updated + self.deleted


def stage_changes(conn: Connection[Any], rows: pa.Table) -> None:
    """
    Load *rows* (columns of fact_candle and `is_gone`) into the temporary table `_changes`.

    It ends with the transaction, so that a crash leaves nothing.

    Raises:
        PublishAborted: if rows were lost on the way, a key occurs twice or a required column is NULL.
    """
    conn.execute(
        "CREATE TEMP TABLE _changes (LIKE store.fact_candle) ON COMMIT DROP;"
        "ALTER TABLE _changes DROP COLUMN generation, ADD COLUMN is_gone boolean NOT NULL"
    )
    with constraints_named("the change of gold.fact_candle"):
        copy_rows(conn, sql.Identifier("_changes"), (*FACT_CANDLE.names, "is_gone"), [rows])
        conn.execute(sql.SQL("ALTER TABLE _changes ADD PRIMARY KEY ({})").format(identifiers(FACT_CANDLE.key)))
    conn.execute("ANALYZE _changes")
    (staged,) = fetch_one(conn, "SELECT count(*) FROM _changes")
    check_rows("the staging table", staged, len(rows))


def apply_changes(conn: Connection[Any], generation: int) -> Written:
    """Delete what is gone and upsert what differs; keep gold.series up to date."""
    table = partition(generation)
    names = identifiers(FACT_CANDLE.names)
    staged = sql.SQL("SELECT {} FROM _changes WHERE NOT is_gone ORDER BY {}").format(
        names, identifiers(FACT_CANDLE.key)
    )
    conn.execute(
        sql.SQL(
            """
            CREATE TEMP TABLE _written ON COMMIT DROP AS
            WITH gone AS (
                DELETE FROM {table} t USING _changes c WHERE c.is_gone AND {same} RETURNING t.instrument_id, t.timeframe
            ), put AS ({upsert} RETURNING t.instrument_id, t.timeframe, t.xmax = 0 AS is_new)
            SELECT instrument_id, timeframe, sum(inserted)::bigint AS inserted, sum(updated)::bigint AS updated,
                sum(deleted)::bigint AS deleted
            FROM (
                SELECT instrument_id, timeframe, 0 AS inserted, 0 AS updated, 1 AS deleted FROM gone
                UNION ALL SELECT instrument_id, timeframe, is_new::int, (NOT is_new)::int, 0 FROM put
            ) GROUP BY instrument_id, timeframe
            """
        ).format(table=table, same=equal(FACT_CANDLE.key, "t", "c"), upsert=upsert(table, FACT_CANDLE, staged))
    )
    _refresh_series(conn, table)
    counts = "SELECT coalesce(sum(inserted), 0), coalesce(sum(updated), 0), coalesce(sum(deleted), 0) FROM _written"
    return Written(*map(int, fetch_one(conn, counts)))


def rebuild_series(conn: Connection[Any], generation: int) -> None:
    """Make gold.series anew from a whole generation."""
    conn.execute("DELETE FROM gold.series")
    conn.execute(
        sql.SQL(
            """
            INSERT INTO gold.series
                (instrument_id, timeframe, first_begin_at, last_begin_at, first_date, last_date, rows)
            SELECT instrument_id, timeframe, min(begin_at), max(begin_at), min(trade_date), max(trade_date), count(*)
            FROM {} GROUP BY instrument_id, timeframe
            """
        ).format(partition(generation))
    )


def check_instruments(conn: Connection[Any]) -> None:
    """Raise PublishAborted if a series belongs to no instrument."""
    orphans = conn.execute(
        """
        SELECT s.instrument_id FROM gold.series s LEFT JOIN gold.dim_instrument i USING (instrument_id)
        WHERE i.instrument_id IS NULL ORDER BY 1 LIMIT 3
        """
    ).fetchall()
    if orphans:
        ids = ", ".join(str(row[0]) for row in orphans)
        raise PublishAborted(
            f"publish: gold.fact_candle has candles of {ids}, unknown to gold.dim_instrument; {REBUILD_GOLD}"
        )


def _refresh_series(conn: Connection[Any], table: sql.Composable) -> None:
    ends = sql.SQL(
        """
        LATERAL (SELECT begin_at, trade_date FROM {table} f
            WHERE (f.instrument_id, f.timeframe) = (w.instrument_id, w.timeframe) ORDER BY begin_at {order} LIMIT 1)
        """
    )
    conn.execute(
        sql.SQL(
            """
            INSERT INTO gold.series
                (instrument_id, timeframe, first_begin_at, last_begin_at, first_date, last_date, rows)
            SELECT w.instrument_id, w.timeframe, first.begin_at, last.begin_at, first.trade_date, last.trade_date,
                coalesce(s.rows, 0) + w.inserted - w.deleted
            FROM _written w LEFT JOIN gold.series s USING (instrument_id, timeframe), {first} AS first, {last} AS last
            ON CONFLICT (instrument_id, timeframe) DO UPDATE
                SET first_begin_at = excluded.first_begin_at, last_begin_at = excluded.last_begin_at,
                    first_date = excluded.first_date, last_date = excluded.last_date, rows = excluded.rows
            """
        ).format(
            first=ends.format(table=table, order=sql.SQL("ASC")), last=ends.format(table=table, order=sql.SQL("DESC"))
        )
    )
    conn.execute(
        sql.SQL(
            """
            DELETE FROM gold.series s USING _written w
            WHERE (s.instrument_id, s.timeframe) = (w.instrument_id, w.timeframe) AND NOT EXISTS (
                SELECT FROM {} f WHERE (f.instrument_id, f.timeframe) = (s.instrument_id, s.timeframe))
            """
        ).format(table)
    )
