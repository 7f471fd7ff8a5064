"""
Generations of facts: built aside, attached, shown, and dropped when nobody can see them any more.

A reader's plan knows the partitions that were attached when it was planned, and its snapshot, taken a moment later,
says which generation counts. So a generation is attached first, and shown when every statement planned before that is
under way. Attached and shown in one transaction, eight busy readers found nothing in 12 of 40 rebuilds.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import structlog
from psycopg import Connection, errors, sql

from lakehouse.market.candle import FACT_CANDLE
from lakehouse.serving.checks import constraints_named
from lakehouse.serving.copy import copy_rows
from lakehouse.serving.dimensions import identifiers

log = structlog.get_logger()

# A statement older than this is past its planning, whatever else it does
PLANNED_AFTER_S = 2.0
_LOCK_TIMEOUT = "2s"


def partition(generation: int) -> sql.Identifier:
    """Return the table that holds *generation*."""
    return sql.Identifier("store", f"fact_candle_{generation}")


def build_generation(conn: Connection[Any], batches: Iterable[pa.Table]) -> tuple[int, int]:
    """
    Load *batches* into a new generation and attach it, unseen: one transaction, no reader waits.

    Returns:
        The generation and its number of rows.

    Raises:
        PublishAborted: if a key occurs twice or a required column is NULL.
    """
    with conn.transaction():
        # A gap in the numbers is harmless: what a crash left keeps its own
        generation: int = fetch_one(conn, "SELECT coalesce(max(generation), 0) + 1 FROM store.generation")[0]
        table = partition(generation)
        conn.execute("SET LOCAL maintenance_work_mem = '512MB'")
        conn.execute(sql.SQL("CREATE TABLE {} (LIKE store.fact_candle)").format(table))
        conn.execute(sql.SQL("ALTER TABLE {} ALTER generation SET DEFAULT {}").format(table, sql.Literal(generation)))
        with constraints_named("gold.fact_candle"):
            rows = copy_rows(conn, table, FACT_CANDLE.names, batches, freeze=True)
            conn.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(table, identifiers(FACT_CANDLE.key)))
        conn.execute(sql.SQL("ANALYZE {}").format(table))
        conn.execute(
            sql.SQL("ALTER TABLE store.fact_candle ATTACH PARTITION {} FOR VALUES IN ({})").format(
                table, sql.Literal(generation)
            )
        )
        conn.execute("INSERT INTO store.generation (generation) VALUES (%s)", (generation,))
    await_planned(conn)
    return generation, rows


def await_planned(conn: Connection[Any]) -> None:
    """Wait until no statement is being planned that began before now: PLANNED_AFTER_S at most, as a rule a moment."""
    asked_at: dt.datetime = fetch_one(conn, "SELECT clock_timestamp()")[0]
    while True:
        (waiting,) = fetch_one(
            conn,
            """
            SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
            WHERE l.relation = 'store.fact_candle'::regclass AND a.datname = current_database()
                AND a.pid <> pg_backend_pid() AND coalesce(a.state, 'active') = 'active'
                AND coalesce(a.query_start, '-infinity') < %(asked_at)s
                AND coalesce(a.query_start, %(asked_at)s) > clock_timestamp() - make_interval(secs => %(planned_s)s)
            """,
            {"asked_at": asked_at, "planned_s": PLANNED_AFTER_S},
        )
        if not waiting:
            return
        time.sleep(0.005)


def show_generation(conn: Connection[Any], generation: int) -> None:
    """Point readers to *generation*, in the caller's transaction."""
    conn.execute(
        """
        UPDATE store.generation SET retired_by = pg_current_xact_id()
        WHERE generation = (SELECT p.generation FROM gold.publication p)
        """
    )
    conn.execute("UPDATE gold.publication SET generation = %s", (generation,))


def drop_generations(conn: Connection[Any], *, keep_former: bool) -> list[int]:
    """
    Drop what no reader can see: generations that were never shown, and former ones; return those dropped.

    A former generation stays while a snapshot exists that was taken before it was replaced, and with *keep_former* the
    last one stays anyway. What a slow reader holds up is left for the next time. Needs the lock of the publisher, and
    no transaction. On a server where we may not see what others do, any session of theirs counts as such a reader:
    grant pg_read_all_stats.
    """
    dropped = []
    with_timeout = sql.SQL("SET lock_timeout = {}").format(sql.Literal(_LOCK_TIMEOUT))
    conn.execute(with_timeout)
    try:
        for generation in _unseen(conn, keep_former):
            _detach(conn, generation)
            conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(partition(generation)))
            conn.execute("DELETE FROM store.generation WHERE generation = %s", (generation,))
            dropped.append(generation)
    except errors.LockNotAvailable:
        log.warning("serving.generation_held", dropped=dropped)
    finally:
        conn.execute("RESET lock_timeout")
    return dropped


def _unseen(conn: Connection[Any], keep_former: bool) -> list[int]:
    rows = conn.execute(
        """
        SELECT g.generation FROM store.generation g
        WHERE g.generation <> (SELECT p.generation FROM gold.publication p)
            AND (NOT %s OR g.retired_by IS NULL OR g.retired_by < (SELECT max(retired_by) FROM store.generation))
            AND (g.retired_by IS NULL OR NOT EXISTS (
                SELECT FROM pg_stat_activity a
                WHERE a.pid <> pg_backend_pid() AND a.datname = current_database()
                    AND (age(a.backend_xmin) >= age(g.retired_by::xid) OR a.query = '<insufficient privilege>')))
        ORDER BY g.generation
        """,
        (keep_former,),
    ).fetchall()
    return [row[0] for row in rows]


def _detach(conn: Connection[Any], generation: int) -> None:
    """Detach a generation without making readers wait; finish what an earlier attempt left half done."""
    attached = conn.execute(
        """
        SELECT i.inhdetachpending FROM pg_inherits i
        WHERE i.inhparent = 'store.fact_candle'::regclass AND i.inhrelid = to_regclass(%s)
        """,
        (f"store.fact_candle_{generation}",),
    ).fetchone()
    if attached is None:
        return
    how = sql.SQL("FINALIZE" if attached[0] else "CONCURRENTLY")
    conn.execute(sql.SQL("ALTER TABLE store.fact_candle DETACH PARTITION {} {}").format(partition(generation), how))


def fetch_one(conn: Connection[Any], query: Any, parameters: Any = None) -> tuple[Any, ...]:
    """Return the one row of a query that always has one."""
    row: tuple[Any, ...] | None = conn.execute(query, parameters).fetchone()
    if row is None:
        raise RuntimeError("a query that always gives a row gave none")
    return row
