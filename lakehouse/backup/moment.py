"""
One moment of the platform: what PostgreSQL says, and the versions of the Delta tables that it speaks of.

Between two commits of every table: there, the ledger says exactly which objects Silver holds, and how far each reader
has read. Writers wait for the moment it takes to look; what lies in Bronze and the tables' files do not change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from lakehouse.backup.manifest import TableState
from lakehouse.database.connection import connect, one_moment
from lakehouse.database.locks import no_writer
from lakehouse.jobs.caring import readers_of
from lakehouse.market.candle import GOLD, QUARANTINE, SILVER
from lakehouse.market.table import Table
from lakehouse.silver.lake import Lake

TABLES: tuple[Table, ...] = (*SILVER, QUARANTINE, *GOLD)
PATIENCE_S = 600.0


@dataclass(frozen=True)
class Moment:
    """
    Attributes:
        conn: A transaction that sees PostgreSQL as it was; *snapshot* is its name for others.
        tables: The Delta tables that there were.
    """

    conn: Connection[Any]
    snapshot: str
    tables: dict[str, TableState]

    def readers(self, table: Table) -> list[int]:
        """Return the versions of *table* that those who read its changes read last."""
        names = readers_of(table, self.tables[table.name].table_id)
        rows = self.conn.execute("SELECT delta_version FROM lake.progress WHERE table_name = ANY(%s)", (names,))
        return [version for (version,) in rows]

    def objects(self) -> set[str]:
        """Return the objects of Bronze that the ledger knew."""
        return {key for (key,) in self.conn.execute("SELECT object_key FROM lake.bronze_object")}

    def migrations(self) -> dict[str, str]:
        """Return the migrations that had run, with their checksums."""
        return dict(self.conn.execute("SELECT name, checksum FROM public.lakehouse_migration").fetchall())

    def roles(self) -> list[str]:
        """Return the platform's roles: those that nobody logs in as."""
        rows = self.conn.execute(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE 'lakehouse\\_%' AND NOT rolcanlogin ORDER BY rolname"
        )
        return [name for (name,) in rows]


@contextmanager
def moment(dsn: str, lake: Lake, patience_s: float) -> Iterator[Moment]:
    """
    Give one moment, and keep it while the block runs.

    Raises:
        NotNow: if a table is being written for longer than *patience_s*.
    """
    with connect(dsn) as conn, one_moment(conn):
        # The moment is that of the first statement
        with no_writer(dsn, [table.name for table in TABLES], patience_s):
            row = conn.execute("SELECT pg_export_snapshot()").fetchone()
            tables = {table.name: state for table in TABLES if (state := _state(lake, table))}
        yield Moment(conn, str(row[0]) if row else "", tables)


def _state(lake: Lake, table: Table) -> TableState | None:
    address = lake.at(table)
    if not address.exists():
        return None
    delta = address.open()
    return TableState(str(delta.metadata().id), delta.version())
