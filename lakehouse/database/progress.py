"""Up to which version of a Delta table the next station has read; written after its commit."""

from __future__ import annotations

from typing import Any

from psycopg import Connection


def read_progress(conn: Connection[Any], table: str) -> int | None:
    """Return the Delta version recorded for *table*, None before the first."""
    row = conn.execute("SELECT delta_version FROM lake.progress WHERE table_name = %s", (table,)).fetchone()
    return int(row[0]) if row else None


def write_progress(conn: Connection[Any], table: str, delta_version: int, run_id: str) -> None:
    """Record *delta_version* for *table*; writing it twice is harmless."""
    conn.execute(
        """
        INSERT INTO lake.progress (table_name, delta_version, run_id) VALUES (%s, %s, %s)
        ON CONFLICT (table_name) DO UPDATE
            SET delta_version = excluded.delta_version, run_id = excluded.run_id, updated_at = now()
        """,
        (table, delta_version, run_id),
    )
