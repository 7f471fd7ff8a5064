"""kill -9 of every process of a running platform, and Ctrl-C: it goes on where it was, and nothing stays."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from psycopg import Connection

from lakehouse.database.connection import connect
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.sandbox.host import Sandbox
from lakehouse.silver.lake import Lake
from tests.components import require
from tests.killing import WORKERS, Calm, SlowExchange, hashes, shown, until
from tests.sandboxes import printed, why_off_at_last
from tests.up_process import COMMAND, UpProcess, gone

pytestmark = [pytest.mark.postgres, pytest.mark.spark]

PAUSE_S = 0.25


@pytest.fixture(scope="module")
def up(market: SlowExchange) -> Iterator[UpProcess]:
    """A platform; its terminal, not its working, is what tests may leave changed."""
    with tempfile.TemporaryDirectory(prefix="lakehouse-kill-") as folder:
        Path(folder).chmod(0o755)
        platform = UpProcess(Path(folder) / "data", market.url)
        platform.start()
        try:
            yield platform
        finally:
            family = platform.family() if platform.process and platform.process.poll() is None else []
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):  # it ended with the one before
                    process.kill()
            psutil.wait_procs(family, 10)


@pytest.fixture
def job(up: UpProcess, market: SlowExchange) -> Iterator[int]:
    """A job that reads the whole market anew, a page every now and then."""
    market.now += dt.timedelta(minutes=1)
    market.asked.clear()
    market.pause_s = PAUSE_S
    yield up.ingest(reread=True)
    market.pause_s = 0.0


def one(conn: Connection[Any], query: str) -> Any:
    row = conn.execute(query).fetchone()
    return row[0] if row else None


def is_reading(conn: Connection[Any], job_id: int) -> bool:
    query = f"SELECT count(*) > 0 FROM lake.job_window WHERE job_id = {job_id} AND state = 'running' AND pages > 0"  # noqa: S608
    return bool(one(conn, query))


def await_reading(up: UpProcess, job_id: int) -> None:
    """Return when a window of the job is being read: its pages come, its object has not."""
    with connect(up.dsn) as conn:
        until(lambda: is_reading(conn, job_id), 120)


def check_calm(up: UpProcess, calm: Calm, market: SlowExchange, job_id: int) -> None:
    """The job ends done, in the tables of a calm run, and no more was asked again than workers were reading."""
    finished = up.finished(job_id)
    assert finished.state == "done", (finished, up.said())
    assert hashes(Lake(str(up.data))) == calm.hashes
    assert shown(up.dsn) == calm.rows
    with connect(up.dsn) as conn:
        readings = market.readings(conn, job_id)
    assert readings
    assert all(readings.values())
    assert sum(readings.values()) - len(readings) <= WORKERS


def test_a_killed_worker_is_started_again(up: UpProcess, calm: Calm, market: SlowExchange, job: int) -> None:
    """What it was reading is read again, at once and by its successor, and the terminal says in one line what died."""
    await_reading(up, job)
    worker = up.service("worker")
    up.kill(worker)
    check_calm(up, calm, market, job)
    assert re.search(r"^worker ended with SIGKILL: .*worker\.log\); it is started again in 1 s$", up.said(), re.M)


def test_a_killed_jvm_ends_its_worker(up: UpProcess, calm: Calm, market: SlowExchange, job: int) -> None:
    """In the middle of a merge: the worker says so and is started again, and the merge is done anew."""
    market.pause_s = 0.0
    jvm = up.grandchild("spark", "java")
    with connect(up.dsn) as conn:
        until(lambda: one(conn, "SELECT count(*) FROM lake.step_run WHERE step = 'silver' AND finished_at IS NULL"))
        up.kill(jvm)
        assert one(conn, "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'merge' AND status = 'doing'") == 1
    check_calm(up, calm, market, job)
    assert re.search(
        r"^spark ended with code 1: Spark's JVM ended with SIGKILL .*; it is started again", up.said(), re.M
    )


def test_a_killed_web_process_answers_again(up: UpProcess) -> None:
    """At the same address."""
    before = until(up.health, 30)
    up.kill(up.service("web"))
    assert until(up.health, 60, 0.2)["data_version"] == before["data_version"]
    assert re.search(r"^web ended with SIGKILL: ", up.said(), re.M)


def test_a_killed_sandbox_comes_back(up: UpProcess) -> None:
    """The platform goes on without it, and it holds no setting of ours but its socket."""
    sandbox = Sandbox(up.data / "sandbox.sock")
    if reason := why_off_at_last(sandbox):
        require("the sandbox", reason)
    service = up.service("sandbox")
    assert service is not None
    assert {name for name in service.environ() if name.startswith("LAKEHOUSE")} == set()
    up.kill(service)
    assert until(up.health, 5)
    assert why_off_at_last(sandbox) is None
    assert printed(sandbox.run("print(1)", b"", user="anna")) == "1\n"
    assert re.search(r"^sandbox ended with SIGKILL: ", up.said(), re.M)


def test_a_killed_database_comes_back(up: UpProcess, calm: Calm, market: SlowExchange, job: int) -> None:
    """On the same port; the workers that were at work go on, none of them dies of it."""
    await_reading(up, job)
    dsn, worker, spark = up.dsn, up.service("worker"), up.service("spark")
    up.kill(up.grandchild("postgres", "postgres"))
    check_calm(up, calm, market, job)
    assert (up.dsn, up.service("worker"), up.service("spark")) == (dsn, worker, spark)
    assert re.search(r"^postgres ended with code 1: PostgreSQL ended with SIGKILL .*; it is started", up.said(), re.M)


def test_a_second_platform_on_the_folder_is_refused(up: UpProcess) -> None:
    """It says which process has it, and what to do; the first one is not disturbed."""
    command = [*COMMAND, "up", "--data", str(up.data), "--port", "0"]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    expected = (
        rf"Error: a platform runs on .*/data already \(process {up.pid}\): use that one, stop it with kill {up.pid}"
    )
    assert re.match(expected, second.stderr)
    assert len(second.stderr.splitlines()) == 1
    assert until(up.health, 30)


def test_nothing_outlives_a_killed_supervisor(up: UpProcess, calm: Calm, market: SlowExchange, job: int) -> None:
    """Its services, Spark's JVM and the database's processes end by themselves; the next start goes on with the job."""
    await_reading(up, job)
    family = up.family()
    assert {"java", "postgres"} <= {process.name() for process in family}
    up.kill(psutil.Process(up.pid))
    up.start()  # at once: it waits for what is still ending
    assert gone(family, 10) == []
    check_calm(up, calm, market, job)


def test_ctrl_c_stops_in_five_seconds_with_jobs_running(
    up: UpProcess, calm: Calm, market: SlowExchange, job: int
) -> None:
    """No process, lock, staging table or working file stays, and the next start goes on with the job."""
    await_reading(up, job)
    family = up.family()
    assert up.interrupt() < 5
    assert up.process is not None
    assert up.process.returncode == 0
    assert "Traceback" not in up.said()
    assert gone(family, 0.5) == []
    assert not (up.data / "run.json").exists()
    assert not (up.data / "spark").exists()
    assert not list((up.data / "bronze").rglob("*#*"))
    with EmbeddedPostgres(up.data / "postgres") as server, connect(server.dsn) as conn:
        assert one(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
        assert one(conn, "SELECT count(*) FROM store.generation") <= 2  # shown now, and shown before
        assert one(
            conn,
            "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'fact_candle_%'",
        ) == one(conn, "SELECT count(*) FROM store.generation")
    up.start()
    check_calm(up, calm, market, job)
