"""Progress of the demo on the terminal: bars with counts and time left, and where the time went."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from psycopg import Connection
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from lakehouse.database.outage import shared
from lakehouse.jobs import queue
from lakehouse.up import Platform

_POLL_S = 0.25
_BARS = (
    ("windows_done", "exchange -> Bronze"),
    ("windows_merged", "Bronze -> Silver"),
    ("windows_published", "Gold -> PostgreSQL"),
)


def watch(platform: Platform, job_ids: Sequence[int]) -> list[queue.Job]:
    """Show the jobs move until all are over, also when the database goes away meanwhile; return them."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bars = {name: progress.add_task(label, total=None, note="") for name, label in _BARS}
        while True:
            platform.check()
            jobs = shared(platform.dsn).run(lambda conn: _jobs(conn, job_ids))
            is_planned = all(job.state != "queued" for job in jobs)
            total = sum(job.windows_total for job in jobs)
            pages, rows = sum(job.pages for job in jobs), sum(job.rows for job in jobs)
            for name, bar in bars.items():
                note = f"{pages:,} pages, {rows:,} rows" if name == "windows_done" else "windows"
                done = sum(getattr(job, name) for job in jobs)
                progress.update(bar, total=total if is_planned else None, completed=done, note=note)
            if all(job.is_over for job in jobs):
                break
            time.sleep(_POLL_S)
    shared(platform.dsn).run(lambda conn: _print_steps(console, conn, jobs))
    return jobs


def seconds_by_station(conn: Connection[Any], jobs: Sequence[queue.Job]) -> dict[str, float]:
    """Return where the time went: from the first request to the last landed window, and each station's own work."""
    seconds = {"fetch": _fetch_seconds(conn, jobs)}
    steps = {step["run_id"]: step for job in jobs for step in queue.steps_of(conn, job)}
    for step in steps.values():
        seconds[step["step"]] = round(seconds.get(step["step"], 0.0) + (step["seconds"] or 0.0), 2)
    return seconds


def _jobs(conn: Connection[Any], job_ids: Sequence[int]) -> list[queue.Job]:
    return [found for job_id in job_ids if (found := queue.job(conn, job_id))]


def _fetch_seconds(conn: Connection[Any], jobs: Sequence[queue.Job]) -> float:
    row = conn.execute(
        """
        SELECT extract(epoch FROM max(w.updated_at) - min(j.started_at))::float8
        FROM lake.job j JOIN lake.job_window w USING (job_id) WHERE job_id = ANY(%s)
        """,
        ([job.job_id for job in jobs],),
    ).fetchone()
    return round(row[0], 2) if row and row[0] is not None else 0.0


def _print_steps(console: Console, conn: Connection[Any], jobs: Sequence[queue.Job]) -> None:
    console.print("Where the time went")
    table = Table("station", "seconds", box=None)
    for name, seconds in seconds_by_station(conn, jobs).items():
        table.add_row(name, f"{seconds:.1f}")
    console.print(table)
