"""
One writer per Delta table at a time.

The lock itself is an advisory lock of a connection of its own, so it goes when its holder does. The generation in
lake.table_lock tells a holder whose connection was cut that somebody else has been there since.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import Connection

from lakehouse.database.connection import connect
from lakehouse.market.errors import LakehouseError, NotNow

_LOCK: LiteralString = "SELECT pg_advisory_lock(hashtextextended(%s, 0))"
_FILES = "lakehouse files"
_REMEDY = "it is tried again by itself; when it was given up: lakehouse jobs redrive"


class LockLost(LakehouseError):
    """The table's lock is no longer ours: what was derived under it must not be committed."""


@dataclass(frozen=True)
class Generation:
    """The right to commit to one table."""

    conn: Connection[Any]
    table: str
    run_id: str
    number: int

    def check(self) -> None:
        """Raise LockLost unless the lock is still ours."""
        try:
            row = self.conn.execute(
                "SELECT generation FROM lake.table_lock WHERE table_name = %s", (self.table,)
            ).fetchone()
        except psycopg.OperationalError as error:
            raise LockLost(
                f"{self.table}: the connection that held the lock of run {self.run_id} is gone; {_REMEDY}"
            ) from error
        if row is None or row[0] != self.number:
            raise LockLost(f"{self.table}: another run took its lock after run {self.run_id}; {_REMEDY}")


@contextmanager
def no_writer(dsn: str, tables: Sequence[str], patience_s: float) -> Iterator[None]:
    """
    Keep writers from all of *tables* while the block runs, between two commits of each.

    Take them in the order in which writers nest them: silver.quarantine behind the other tables of Silver.

    Raises:
        NotNow: if one of them is being written for longer than *patience_s*.
    """
    with connect(dsn) as conn:
        conn.execute("SELECT set_config('lock_timeout', %s, false)", (f"{patience_s * 1000:.0f}",))
        for table in tables:
            try:
                conn.execute(_LOCK, (_name(table),))
            except psycopg.errors.LockNotAvailable as error:
                raise NotNow(
                    f"{table} has been written for longer than {patience_s:.0f} s: try again when that is done "
                    "(lakehouse jobs)"
                ) from error
        yield


@contextmanager
def files_lock(dsn: str) -> Iterator[None]:
    """Wait until nobody else copies or removes files of the tables, and let nobody begin to while the block runs."""
    with connect(dsn) as conn:
        conn.execute(_LOCK, (_FILES,))
        yield


@contextmanager
def files_lock_if_free(dsn: str) -> Iterator[bool]:
    """Hold the lock of `files_lock` while the block runs, and give whether it is held: somebody may have it."""
    with connect(dsn) as conn:
        row = conn.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (_FILES,)).fetchone()
        yield bool(row and row[0])


@contextmanager
def table_lock(dsn: str, table: str, run_id: str) -> Iterator[Generation]:
    """Wait for the lock of *table* and hold it while the block runs; yields the generation to check before a commit."""
    with connect(dsn) as conn:
        conn.execute(_LOCK, (_name(table),))
        row = conn.execute(
            """
            INSERT INTO lake.table_lock AS l (table_name, run_id, generation) VALUES (%s, %s, 1)
            ON CONFLICT (table_name) DO UPDATE
                SET run_id = excluded.run_id, generation = l.generation + 1, taken_at = now()
            RETURNING generation
            """,
            (table, run_id),
        ).fetchone()
        if row is None:
            raise LockLost(f"{table}: its lock could not be written down")
        yield Generation(conn, table, run_id, row[0])
        # closing the connection lets the advisory lock go, in whatever way the block ended


def _name(table: str) -> str:
    return f"lakehouse {table}"
