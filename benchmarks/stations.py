"""
Seconds and rows a second of each station, through the whole chain on one machine.

Runs the demo's market, then 1,000,000 minute candles more, and prints both side by side:

    python -m benchmarks.stations [--rows 1000000]
"""

from __future__ import annotations

import argparse
import datetime as dt
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from psycopg import Connection

from lakehouse.cli.platform import wait_until_idle
from lakehouse.cli.progress import seconds_by_station
from lakehouse.cli.remote import demo_ingests
from lakehouse.database.connection import connect
from lakehouse.jobs import queue
from lakehouse.settings import load_settings
from lakehouse.up import Plan, Platform, running, with_settings

# Minute candles of a liquid share on a day with all three sessions.
ROWS_A_DAY = 990
SHARES = ("SBER", "GAZP", "LKOH", "GMKN", "VTBR", "MOEX", "ROSN", "NVTK")
TILL = dt.date(2026, 5, 31)


def main() -> None:
    options = argparse.ArgumentParser(description="Seconds and rows/s of each station.")
    options.add_argument("--rows", type=int, default=1_000_000, help="minute candles beside the demo's market")
    rows = options.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        Path(folder).chmod(0o755)
        settings = with_settings(load_settings(), data_dir=Path(folder) / "data")
        plan = Plan(settings, source="simulator", frozen=True, web="none")
        with running(plan) as platform, connect(platform.dsn) as conn:
            _show("the demo's market", run_jobs(conn, platform, demo_ingests(plan)), conn)
            _show(f"{rows:,} minute candles more", run_jobs(conn, platform, [minutes(rows)]), conn)


def minutes(rows: int) -> dict[str, Any]:
    """Return the ingest of about *rows* minute candles."""
    days = rows // (ROWS_A_DAY * len(SHARES)) * 7 // 5 + 7
    first = TILL - dt.timedelta(days=days)
    return {"instruments": list(SHARES), "timeframes": ["1m"], "from": f"{first}", "till": f"{TILL}"}


def run_jobs(conn: Connection[Any], platform: Platform, documents: Sequence[dict[str, Any]]) -> list[queue.Job]:
    """Ingest what *documents* ask for; return the jobs when all is published."""
    job_ids = [queue.submit_ingest(conn, queue.IngestRequest.parse(document), "bench") for document in documents]
    while True:
        platform.check()
        jobs = [job for job_id in job_ids if (job := queue.job(conn, job_id))]
        if all(job.is_over for job in jobs):
            wait_until_idle(platform.dsn, platform)
            return jobs
        time.sleep(0.2)


def _show(name: str, jobs: Sequence[queue.Job], conn: Connection[Any]) -> None:
    rows, pages = sum(job.rows for job in jobs), sum(job.pages for job in jobs)
    print(f"\n{name}: {rows:,} rows in {pages:,} pages")
    for station, seconds in seconds_by_station(conn, jobs).items():
        pace = f"{pages / seconds:,.0f} pages/s" if station == "fetch" else f"{rows / seconds:,.0f} rows/s"
        print(f"  {station:10} {seconds:7.1f} s   {pace}")


if __name__ == "__main__":
    main()
