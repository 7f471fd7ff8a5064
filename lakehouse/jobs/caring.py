"""The step `care`: every table compacted and cleared, old rows of PostgreSQL removed, its statistics made anew."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from psycopg import Connection

from lakehouse.database.connection import connect
from lakehouse.engines.care import KEPT, TableCare, care_for
from lakehouse.jobs.retention import remove_old
from lakehouse.market.candle import FACT_CANDLE, GOLD, QUARANTINE, SILVER
from lakehouse.market.table import Table
from lakehouse.silver.lake import Lake
from lakehouse.storage.space import human_size


@dataclass
class CareReport:
    """What was done: by name of table, old rows of PostgreSQL removed by kind, and how long its statistics took."""

    run_id: str
    tables: dict[str, TableCare] = field(default_factory=dict)
    old_rows: dict[str, int] = field(default_factory=dict)
    analyzed_s: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        before, after = (sum(each.compacted[side] for each in self.tables.values()) for side in (0, 1))
        removed, freed, rows, files, size = (
            sum(getattr(each, name) for each in self.tables.values())
            for name in ("removed", "freed", "rows", "files", "size")
        )
        old = ", ".join(f"{what} {count:,}" for what, count in self.old_rows.items() if count)
        return "; ".join(
            [
                f"{before:,} files made {after:,}, {removed:,} removed ({human_size(freed)})",
                f"{rows:,} rows in {files:,} files, {human_size(size)}",
                *([f"old rows removed: {old}"] if old else []),
                *(f"{name}: {each.left_out}" for name, each in self.tables.items() if each.left_out),
            ]
        )


def care(dsn: str, lake: Lake, run_id: str, kept: dt.timedelta = KEPT) -> CareReport:
    """
    Keep all tables that there are small, PostgreSQL without what is too old, and its statistics fresh.

    No row changes, so whoever has read a table to its end has read it still: his progress moves along.

    Args:
        kept: How far back time travel goes, and how long a change may be unread.
    """
    began = time.monotonic()
    report = CareReport(run_id)
    with connect(dsn) as conn:
        for table in (*SILVER, QUARANTINE, *GOLD):
            address = lake.at(table)
            if not address.exists():
                continue
            table_id = str(address.open().metadata().id)
            progress = _progress_of(table, table_id)
            report.tables[table.name] = care_for(
                dsn,
                address,
                table.name,
                run_id,
                unread_from=_unread_from(conn, readers_of(table, table_id)),
                record=partial(_move_on, conn, progress, run_id),
                kept=kept,
            )
        report.old_rows = remove_old(conn)
        analyzing = time.monotonic()
        conn.execute("ANALYZE")
        report.analyzed_s = round(time.monotonic() - analyzing, 3)
    report.seconds = round(time.monotonic() - began, 3)
    return report


def readers_of(table: Table, table_id: str) -> list[str]:
    """Return the names under which is recorded how far the changes of *table* were read."""
    names = [f"gold < {table.name} {table_id}"]
    return [*names, "serving.fact_candle"] if table is FACT_CANDLE else names


def _progress_of(table: Table, table_id: str) -> list[str]:
    """Return the names under which is recorded how far *table* was written and read."""
    names = [table.name, *readers_of(table, table_id)]
    return [*names, "lake.quarantine"] if table is QUARANTINE else names


def _unread_from(conn: Connection[Any], readers: list[str]) -> int | None:
    """Return the first version that a reader of changes has not read; None if nobody reads any."""
    row = conn.execute("SELECT min(delta_version) FROM lake.progress WHERE table_name = ANY(%s)", (readers,)).fetchone()
    return None if row is None or row[0] is None else row[0] + 1


def _move_on(conn: Connection[Any], progress: list[str], run_id: str, former: int, version: int) -> None:
    """Let who was at the table's end be there again; who was not has no less to read."""
    conn.execute(
        """
        UPDATE lake.progress SET delta_version = %s, run_id = %s, updated_at = now()
        WHERE table_name = ANY(%s) AND delta_version = %s
        """,
        (version, run_id, progress, former),
    )
