"""What a worker does against what may befall it: those before it that died, and a full disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
from psycopg import Connection
from psycopg.rows import dict_row

from lakehouse.bronze.reconcile import Reconciled, reconcile
from lakehouse.bronze.window import format_from
from lakehouse.jobs.attempts import Step
from lakehouse.jobs.queue import enqueue
from lakehouse.storage.space import naming_full_disk
from lakehouse.storage.store import Store

log = structlog.get_logger()


def recover(conn: Connection[Any], store: Store) -> Reconciled:
    """
    Record objects that landed and were not recorded, count their windows as landed, and ask for their merge.

    Windows that were being read and did not land are read again when their message comes again.
    """
    found = reconcile(conn, store)
    windows = _land_windows(conn)
    if _has_unmerged(conn):
        enqueue(conn, "merge", {}, only_one=True)
    if found.recorded or windows:
        log.warning("jobs.recovered", objects=len(found.recorded), windows=windows)
    return found


def on_a_disk(steps: Mapping[str, Step], folder: Path) -> dict[str, Step]:
    """Return steps that say in one line that the disk of *folder* is full, when that is why they fail."""
    return {name: _on_a_disk(name, step, folder) for name, step in steps.items()}


def _on_a_disk(name: str, step: Step, folder: Path) -> Step:
    def run(arguments: dict[str, Any]) -> None:
        with naming_full_disk(f"{name} cannot write", folder):
            step(arguments)

    return run


def _land_windows(conn: Connection[Any]) -> int:
    """Mark windows as landed whose worker died between the object and the mark; return how many."""
    with conn.cursor(row_factory=dict_row) as cursor:
        running = cursor.execute(
            """
            SELECT w.window_id, w.from_at, w.till_date, o.object_key, o.pages, o.rows
            FROM lake.job_window w JOIN lake.job j USING (job_id)
                JOIN lake.bronze_object o USING (family, engine, market, board, secid, timeframe)
            WHERE w.state = 'running' AND o.complete AND o.landed_at >= j.started_at ORDER BY o.fetched_at
            """
        ).fetchall()
    landed = {
        row["window_id"]: row
        for row in running
        if row["object_key"].split("/")[-2] == f"{format_from(row['from_at'])}_{row['till_date']}"
    }
    for window_id, row in landed.items():
        conn.execute(
            """
            UPDATE lake.job_window SET state = 'landed', object_key = %s, pages = greatest(pages, %s),
                rows = greatest(rows, %s), error = NULL, updated_at = now()
            WHERE window_id = %s AND state = 'running'
            """,
            (row["object_key"], row["pages"], row["rows"], window_id),
        )
    return len(landed)


def _has_unmerged(conn: Connection[Any]) -> bool:
    row = conn.execute("SELECT EXISTS (SELECT FROM lake.bronze_object WHERE published_at IS NULL)").fetchone()
    return bool(row and row[0])
