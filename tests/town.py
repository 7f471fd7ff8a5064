"""An increment on a running platform: a day later, a candle revised and one gone at the exchange."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from lakehouse.database.connection import connect
from lakehouse.jobs import queue
from lakehouse.settings import load_settings
from lakehouse.up import Plan, Platform, running, with_settings
from tests.killing import until

pytestmark = [pytest.mark.spark, pytest.mark.postgres]

REVISED, VANISHED = dt.date(2026, 6, 10), dt.date(2026, 6, 17)


class Town:
    """A platform on the simulator, with what the test asks of both, and its first job: SBER's days, and NOSUCH's."""

    def __init__(self, platform: Platform, lake: Path) -> None:
        self.platform, self.lake = platform, lake
        self.first = self.load(["NOSUCH", "SBER"])

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
        with urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=10) as answer:
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


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    """A platform that has loaded SBER's days of June."""
    with tempfile.TemporaryDirectory(prefix="lakehouse-") as folder:
        Path(folder).chmod(0o755)
        settings = with_settings(load_settings(), data_dir=Path(folder) / "data")
        with running(Plan(settings, source="simulator", frozen=True, web="none")) as platform:
            with connect(platform.dsn) as conn:  # its nights are moved by hand, and nothing else is to run in them
                conn.execute("UPDATE lake.schedule SET is_on = false")
            yield Town(platform, settings.data_dir)


def test_an_increment_asks_only_for_what_is_due_and_a_reread_finds_revisions(town: Town) -> None:
    """
    A day later one window of candles and one of history is asked; a re-read then gives two versions and a closed one.

    No row of Gold before the revised candle is written, later ones only where they differ, and PostgreSQL equals Gold.
    """
    assert town.ingest().windows_total == 0
    town.control("clock", {"now": "2026-07-02 06:00:00", "frozen": True}, "PUT")
    before = town.pages()
    assert town.ingest().rows <= 4  # the new day of each, and the anchors
    assert town.pages() - before <= 4
    assert len(town.versions_of(dt.date(2026, 7, 1))) == 1

    old = town.versions_of(REVISED)
    version = town.gold_version()
    revised = {"secid": "SBER", "interval": 24, "begin": f"{REVISED} 00:00:00", "values": {"close": old[0]["low"]}}
    town.control("revise", revised, "POST")
    town.control("vanish", {"secid": "SBER", "interval": 24, "begin": f"{VANISHED} 00:00:00"}, "POST")
    assert town.ingest().windows_total == 0  # nothing is due: old revisions need a re-read
    town.control("clock", {"now": "2026-07-02 06:05:00", "frozen": True}, "PUT")
    town.ingest(**{"from": "2026-06-01", "till": "2026-06-30"}, reread=True)

    versions = town.versions_of(REVISED)
    assert [row["close"] for row in versions] == [old[0]["close"], old[0]["low"]]
    assert versions[0]["known_till"] == versions[1]["known_from"]
    assert versions[1]["known_till"] is None
    gone = town.versions_of(VANISHED)
    assert len(gone) == 1
    assert gone[0]["known_till"] is not None
    changes = town.gold_changes_since(version)
    assert changes["trade_date"].min() == REVISED
    _assert_updates_differ(changes)
    assert VANISHED in set(changes.filter(pl.col("_change_type") == "delete")["trade_date"])
    assert town.differences_to_gold() == 0


def test_a_cancelled_job_says_so_only_when_it_has_stopped(town: Town) -> None:
    """Cancelling a queued ingest ends with state cancelled, none of its windows running, and nothing half-landed."""
    job_id = town.submit(["GAZP", "LKOH"], "1m")
    with connect(town.platform.dsn) as conn:
        until(lambda: (job := queue.job(conn, job_id)) and job.windows_total)
        queue.cancel(conn, job_id)
        assert town.over(job_id).state == "cancelled"
        assert {window.state for window in queue.windows(conn, job_id)} <= {"cancelled", "landed"}


def test_an_unknown_ticker_fails_alone(town: Town) -> None:
    """The exchange does not know NOSUCH: the job says so and failed; the other ticker of the request was loaded."""
    job = town.first
    assert job.state == "failed"
    assert job.why_failed is not None
    assert "the exchange does not know 'NOSUCH'" in job.why_failed
    assert job.windows_done == job.windows_total > 0
    assert town.versions_of(REVISED)


def _assert_updates_differ(changes: pl.DataFrame) -> None:
    """Every updated row differs from what it was in a value."""
    names = [name for name in changes.columns if not name.startswith("_")]
    before = changes.filter(pl.col("_change_type") == "update_preimage").select(names)
    after = changes.filter(pl.col("_change_type") == "update_postimage").select(names)
    assert before.height == after.height
    assert before.join(after, on=names, how="inner", nulls_equal=True).height == 0
