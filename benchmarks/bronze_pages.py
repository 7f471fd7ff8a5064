"""
Pages a second from the exchange simulator into Bronze, without a limit: python -m benchmarks.bronze_pages.

The simulator runs as a process of its own on this machine; the first run makes its minutes, so that the second measures
what is ours: requests, proofs, objects, ledger. CPU seconds are of this process alone.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import structlog

from lakehouse.bronze.fetch import FetchContext, Landed, fetch_windows
from lakehouse.bronze.prepare import instrument_windows
from lakehouse.bronze.reference import exchange_now, resolve_instrument
from lakehouse.bronze.window import Window
from lakehouse.database.connection import connect
from lakehouse.database.migrate import migrate
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.market.timeframe import Timeframe


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1] if __doc__ else None)
    parser.add_argument("--windows", type=int, default=60, help="half-months of minutes to read (default 60)")
    windows = parser.parse_args().windows
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    folder = Path(tempfile.mkdtemp(prefix="lakehouse-bench-"))
    folder.chmod(0o755)
    command = [sys.executable, "-m", "lakehouse.simulator", "--frozen"]
    simulator = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    try:
        url = simulator.stdout.readline().split()[-1] if simulator.stdout else ""
        with EmbeddedPostgres(folder / "postgres", fsync=False) as server:
            migrate(server.dsn)
            for run in ("simulator cold", "simulator warm"):
                context = FetchContext(url, server.dsn, str(folder / "bronze"), rate_per_s=0)
                print(f"{run}: {measure(context, windows)}", flush=True)
                shutil.rmtree(folder / "bronze")
                with connect(server.dsn) as conn:
                    conn.execute("TRUNCATE lake.bronze_object, lake.coverage")
    finally:
        simulator.terminate()
        simulator.wait()
        shutil.rmtree(folder)
    return 0


def measure(context: FetchContext, count: int) -> str:
    """Read the last *count* windows of SBER's minutes and say how fast that went."""
    planned = plan(context)[-count:]
    begun, cpu = time.perf_counter(), time.process_time()
    outcomes = fetch_windows(context, [(window, _silent) for window in planned])
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    landed = [outcome for outcome in outcomes if isinstance(outcome, Landed)]
    if len(landed) != len(planned):
        raise SystemExit(f"{len(planned) - len(landed)} of {len(planned)} windows did not land: {outcomes}")
    pages, rows = sum(one.pages for one in landed), sum(one.rows for one in landed)
    read = f"{pages} pages, {rows} rows, {len(landed)} objects in {seconds:.1f} s ({cpu:.1f} s of CPU)"
    return f"{read} = {pages / seconds:.0f} pages/s, {pages / cpu:.0f} a second of CPU"


def plan(context: FetchContext) -> list[Window]:
    now = exchange_now(context)
    instrument = resolve_instrument(context, "SBER", now)
    asked = {"from_": dt.date(2020, 1, 1), "till": None, "now": now, "reread": True}
    return instrument_windows(context, instrument, [Timeframe.MINUTE], **asked)  # type: ignore[arg-type]


def _silent(pages: int, rows: int) -> None:
    pass


if __name__ == "__main__":
    raise SystemExit(main())
