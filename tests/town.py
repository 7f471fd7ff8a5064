"""A platform on the exchange simulator, with what tests ask of both: jobs, the exchange's clock, tables and readers."""

from __future__ import annotations

import datetime as dt
import json
import urllib.request
from typing import Any

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from lakehouse.database.connection import connect
from lakehouse.jobs import queue
from lakehouse.up import Platform
from tests.killing import until


class Town:
    """A running platform on the simulator. Its nights are moved by hand, and nothing else is to run in them."""

    def __init__(self, platform: Platform) -> None:
        self.platform, self.lake = platform, platform.plan.settings.data_dir
        with connect(platform.dsn) as conn:
            conn.execute("UPDATE lake.schedule SET is_on = false")

    def submit(self, instruments: list[str], timeframe: str = "1d", **request: Any) -> int:
        """Ask for an ingest; return its job."""
        document = {"instruments": instruments, "timeframes": [timeframe], "from": "2026-01-01", **request}
        with connect(self.platform.dsn) as conn:
            return queue.submit_ingest(conn, queue.IngestRequest.parse(document), "test")

    def over(self, job_id: int) -> queue.Job:
        """Return a job when it is over."""
        with connect(self.platform.dsn) as conn:
            job = until(lambda: self._if_over(conn, job_id), every_s=0.1)
        assert isinstance(job, queue.Job)
        return job

    def _if_over(self, conn: Any, job_id: int) -> queue.Job | None:
        self.platform.check()
        job = queue.job(conn, job_id)
        return job if job and job.is_over else None

    def load(self, instruments: list[str], **request: Any) -> queue.Job:
        """Run an ingest of days to its end, and, where it had windows, to that of all that follows."""
        job = self.over(self.submit(instruments, **request))
        if job.windows_total:
            with connect(self.platform.dsn) as conn:
                until(lambda: self._is_idle(conn), every_s=0.1)
        return job

    def ingest(self, **request: Any) -> queue.Job:
        """Load SBER's days."""
        job = self.load(["SBER"], **request)
        assert job.state == "done", job
        return job

    def _is_idle(self, conn: Any) -> bool:
        busy = conn.execute("SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')").fetchone()
        return bool(busy[0] == 0)

    def control(self, path: str, document: dict[str, Any] | None = None, method: str | None = None) -> Any:
        """Speak to the simulator's own end points."""
        url = self.platform.iss_url.removesuffix("/iss") + f"/_simulator/{path}"
        body = json.dumps(document).encode() if document is not None else None
        with urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=300) as answer:
            return json.load(answer)

    def pages(self) -> int:
        """Return how many pages of candles and history the exchange has given so far."""
        found: dict[str, int] = self.control("stats")["pages"]
        return found["candles"] + found["history"]

    def versions_of(self, date: dt.date) -> list[dict[str, Any]]:
        """Return all versions of SBER's daily candle of *date*, oldest first."""
        table = pl.from_arrow(DeltaTable(self.lake / "silver/candles").to_pyarrow_table())
        assert isinstance(table, pl.DataFrame)
        is_asked = (pl.col("secid") == "SBER") & (pl.col("timeframe") == "1d") & (pl.col("trade_date") == date)
        return table.filter(is_asked).sort("known_from").to_dicts()

    def gold_changes_since(self, version: int) -> pl.DataFrame:
        """Return the rows of fact_candle written after *version*."""
        changes = DeltaTable(self.lake / "gold/fact_candle").load_cdf(starting_version=version + 1)
        frame = pl.from_arrow(pa.table(changes.read_all()))
        assert isinstance(frame, pl.DataFrame)
        return frame

    def gold_version(self) -> int:
        """Return the version of fact_candle."""
        return DeltaTable(self.lake / "gold/fact_candle").version()

    def differences_to_gold(self) -> int:
        """Return how many rows PostgreSQL and Gold do not have in common."""
        names = ("instrument_id", "timeframe", "begin_at", "close", "volume", "split_factor", "sma_20", "rsi_14")
        gold = DeltaTable(self.lake / "gold/fact_candle").to_pyarrow_table(columns=list(names)).to_pylist()
        with connect(self.platform.dsn) as conn:
            stored = conn.execute(
                "SELECT instrument_id, timeframe, begin_at, close, volume, split_factor, sma_20, rsi_14"
                " FROM gold.fact_candle"
            ).fetchall()
        return len(set(stored) ^ {tuple(row[name] for name in names) for row in gold})
