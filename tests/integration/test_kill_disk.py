"""A full disk: one clear line that names the folder and what is free, nothing half-written counts, then it goes on."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from lakehouse.cache import cache_dir
from lakehouse.database.connection import connect
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.market.errors import LakehouseError
from lakehouse.silver.lake import Lake
from lakehouse.storage.space import DiskFull, naming_full_disk
from lakehouse.storage.store import open_store
from lakehouse.up.supervisor import Supervisor
from tests.killing import WORKERS, Calm, SlowExchange, hashes, shown, until
from tests.unprivileged import as_nobody, fill, small_disk
from tests.up_process import COMMAND, UpProcess

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# As it is told while it fills: less than 16 MB
FULL = r"(\d+ kB|1?\d(\.\d+)? MB)"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody can enter."""
    with tempfile.TemporaryDirectory(prefix="lakehouse-disk-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_an_object_that_does_not_fit_is_not_there(place: Path) -> None:
    """Bronze's store says which folder is full, and lists no half of an object; with room the same put succeeds."""
    with small_disk(place / "disk", 4) as disk:
        store = open_store(str(disk / "bronze"))
        assert store.put("iss/first", b"1" * 1000)
        ballast = fill(disk, leave=100_000)
        with pytest.raises(DiskFull, match=rf"cannot write iss/big: no space left in {disk}/bronze \(\d+ kB free\)"):
            store.put("iss/big", os.urandom(1_000_000))
        assert list(store.list("iss/")) == ["iss/first"]
        assert store.clear_unfinished() <= 1
        ballast.unlink()
        assert store.put("iss/big", b"1" * 1_000_000)
        assert [path.name for path in disk.rglob("*#*")] == []


@pytest.mark.postgres
def test_a_database_that_does_not_fit_says_so(place: Path) -> None:
    """PostgreSQL's first start names folder and cause, and leaves nothing that the next start would take for whole."""
    with small_disk(place / "disk", 20) as disk:
        with pytest.raises(
            LakehouseError, match=rf"could not make its data in {disk}/postgres \(\d+ MB free there\): .*FATAL: "
        ):
            EmbeddedPostgres(disk / "postgres", fsync=False).start()
        assert not (disk / "postgres" / "PG_VERSION").exists()


@pytest.mark.spark
def test_what_spark_cannot_write_names_the_folder(place: Path, spark: SparkSession) -> None:
    """The JVM's words about a full disk become one line of ours."""
    with small_disk(place / "disk", 4) as disk:
        fill(disk, leave=200_000)
        rows = spark.range(2_000_000).selectExpr("uuid() AS text")
        with (
            pytest.raises(DiskFull, match=rf"^merge cannot write: no space left in {disk} \(\d+ kB free\); make room"),
            naming_full_disk("merge cannot write", disk),
        ):
            rows.write.parquet(str(disk / "rows"))


def test_a_start_needs_room(place: Path) -> None:
    """With less than 256 MB free `up` refuses, saying how much there is, before it makes anything."""
    with small_disk(place / "disk", 100) as disk:
        command = [*as_nobody(), *COMMAND, "up", "--data", str(disk / "data"), "--port", "0"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        expected = rf"Error: {disk}/data has (99\.\d|100) MB free, and a start needs 256 MB: make room there, or choose"
        assert re.match(expected, done.stderr), done.stderr
        assert not (disk / "data" / "postgres").exists()


def test_a_disk_that_fills_is_told_though_nothing_dies(place: Path) -> None:
    """The terminal says once that the disk is nearly full, once that it is full, and once that there is room again."""
    with small_disk(place / "disk", 800) as disk:
        (disk / "data").mkdir()
        lines: list[str] = []
        supervisor = Supervisor(disk / "data", lines.append, lambda _: None)
        supervisor.watch()
        try:
            ballast = fill(disk, leave=100 << 20)
            until(lambda: len(lines) == 1)
            rest = fill(disk / "data")
            until(lambda: len(lines) == 2)
            ballast.unlink()
            until(lambda: len(lines) == 3)
            rest.unlink()
        finally:
            supervisor.stop()
        expected = [
            r"only \d+ MB free: make room there",
            rf"only {FULL} free: make room there",
            "room again: 700 MB free",
        ]
        assert all(map(re.fullmatch, (f"{disk}/data has {said}" for said in expected), lines)), lines


@pytest.mark.postgres
@pytest.mark.spark
def test_a_disk_that_fills_while_jobs_run(place: Path, calm: Calm, market: SlowExchange) -> None:
    """
    An ordinary user's platform on a disk that fills: a line names the folder and what is free, no traceback is shown.

    After space is made, the next start and a retry of what failed end in the tables of a calm run.
    """
    with small_disk(place / "disk", 700) as disk:
        home = {"HOME": str(disk), "TMPDIR": str(disk), "LAKEHOUSE_CACHE_DIR": str(cache_dir())}
        platform = UpProcess(disk / "data", market.url, as_nobody(), home)
        platform.terminal = place / "terminal"
        market.is_holding = True
        platform.start()
        assert re.search(rf"^{disk}/data has \d+ MB free: a large load may fill it$", platform.said(), re.M)
        try:
            job_id = platform.ingest()
            until(lambda: market.held >= WORKERS)
            ballast = fill(disk)
            market.is_holding = False
            until(lambda: told(platform, job_id, disk), 900, 0.5)
            ballast.unlink()
        finally:
            market.is_holding = False
            platform.end()
        assert "Traceback" not in platform.said()
        platform.start()
        try:
            platform.finished(job_id)  # with what the full disk made fail, if anything had failed for good
            retry = [*COMMAND, "jobs", "--data", str(platform.data), "retry", "--failed"]
            subprocess.run(retry, check=False, capture_output=True, timeout=120)
            job = platform.finished(job_id)
            assert job.state == "done", job
            assert hashes(Lake(str(disk / "data"))) == calm.hashes
            assert shown(platform.dsn) == calm.rows
        finally:
            platform.end()


def told(platform: UpProcess, job_id: int, disk: Path) -> bool:
    """Return whether the full disk was told: on the terminal, or in the job."""
    if re.search(rf"{disk}/data has only {FULL} free: make room there", platform.said()):
        return True
    try:
        with connect(platform.dsn) as conn:
            rows = conn.execute("SELECT coalesce(error, '') FROM lake.job WHERE job_id = %s", (job_id,)).fetchall()
            rows += conn.execute("SELECT coalesce(error, '') FROM lake.job_window").fetchall()
    except (OSError, psycopg.Error):
        return False
    return any(re.search(rf"no space left in {disk}\S* \(\d+ [kM]B free\)", error) for (error,) in rows)
