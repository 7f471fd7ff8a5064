"""A platform at work is stopped, killed, refused a second time and backed up: nothing is lost, and nothing stays."""

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

from lakehouse.backup.repository import Repository
from lakehouse.database.connection import connect
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.sandbox.host import Sandbox
from lakehouse.silver.lake import Lake
from lakehouse.storage.store import open_store
from tests.backed_up import command, shown_hash
from tests.components import require
from tests.killing import WORKERS, Calm, SlowExchange, hashes, shown, until
from tests.sandboxes import printed, why_off_at_last
from tests.up_process import COMMAND, UpProcess, gone

pytestmark = [pytest.mark.postgres, pytest.mark.spark]

_UNMERGED = "SELECT count(*) FROM lake.bronze_object WHERE merged_at IS NULL"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that everybody can enter."""
    with tempfile.TemporaryDirectory(prefix="lakehouse-work-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def only_platform(place: Path, market: SlowExchange) -> Iterator[UpProcess]:
    """One platform for all tests: each start of one costs a JVM that knows nothing yet."""
    platform = UpProcess(place / "data", market.url)
    yield platform
    platform.destroy()


@pytest.fixture
def up(only_platform: UpProcess) -> UpProcess:
    """The platform, which runs; what it holds is what tests before left there."""
    if not only_platform.is_running:
        only_platform.start()
        until(only_platform.is_idle)
    return only_platform


@pytest.fixture
def job(up: UpProcess, market: SlowExchange) -> Iterator[int]:
    """A job that reads the whole market anew, up to the windows' second pages: those are to be let go."""
    with reading(up, market) as job_id:
        yield job_id


@pytest.fixture
def revisable(market: SlowExchange) -> Iterator[SlowExchange]:
    """The market; what it says of minutes after the test is what it said before, and the next job finds that."""
    said = [row[:] for row in market.candles[1]]
    yield market
    market.candles[1] = said


@pytest.fixture
def elsewhere(place: Path, market: SlowExchange) -> Iterator[UpProcess]:
    """A platform in another folder, not started."""
    platform = UpProcess(place / "elsewhere", market.url)
    yield platform
    platform.destroy()


@contextlib.contextmanager
def reading(up: UpProcess, market: SlowExchange) -> Iterator[int]:
    """Give a job that reads the whole market anew, up to the windows' second pages: those are to be let go."""
    market.now += dt.timedelta(minutes=1)
    market.asked.clear()
    market.held = 0
    market.is_holding = True
    try:
        yield up.ingest(reread=True)
    finally:
        market.is_holding = False


def one(conn: Connection[Any], query: str) -> Any:
    row = conn.execute(query).fetchone()
    return row[0] if row else None


def await_reading(market: SlowExchange, begun: int = 0) -> None:
    """Return when as many windows are being read as can be at a time, beyond those that were begun before."""
    until(lambda: market.held >= begun + WORKERS)


@contextlib.contextmanager
def merging(up: UpProcess) -> Iterator[None]:
    """Return when a merge has begun since the block did: one that was killed is never finished."""
    with connect(up.dsn) as conn:
        now = one(conn, "SELECT now()::text")
        yield
        query = (
            f"SELECT count(*) FROM lake.step_run WHERE step = 'silver' AND finished_at IS NULL AND started_at > '{now}'"  # noqa: S608
        )
        until(lambda: one(conn, query))


def read_again(up: UpProcess, market: SlowExchange, job_id: int) -> int:
    """Return how many windows of a job were begun more often than once, each as often as that."""
    with connect(up.dsn) as conn:
        readings = market.readings(conn, job_id)
    assert readings
    return sum(max(0, times - 1) for times in readings.values())


def check_calm(up: UpProcess, calm: Calm, market: SlowExchange, job_id: int, kills: int = 1) -> None:
    """The job ends done, in the tables of a calm run, and no more was asked again than workers were reading."""
    finished = up.finished(job_id)
    assert finished.state == "done", (finished, up.said())
    assert hashes(Lake(str(up.data))) == calm.hashes
    assert shown(up.dsn) == calm.rows
    with connect(up.dsn) as conn:
        assert all(market.readings(conn, job_id).values())
    assert read_again(up, market, job_id) <= kills * WORKERS


def stop_by_ctrl_c(up: UpProcess) -> None:
    """It does not wait for pages that nobody answers, and no process, lock, staging table or working file stays."""
    family = up.family()
    assert up.interrupt() < 30  # a page is waited for as long as twice that
    assert up.process is not None
    assert up.process.returncode == 0
    assert "Traceback" not in up.said()
    assert gone(family, 120) == []
    assert not (up.data / "run.json").exists()
    assert not (up.data / "spark").exists()
    assert not list((up.data / "bronze").rglob("*#*"))
    with EmbeddedPostgres(up.data / "postgres") as server, connect(server.dsn) as conn:
        assert one(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
        generations = one(conn, "SELECT count(*) FROM store.generation")
        assert generations <= 2  # shown now, and shown before
        stored = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'fact_candle_%'"
        assert one(conn, stored) == generations


def kill_supervisor(up: UpProcess) -> None:
    """Its services, Spark's JVM and the database's processes end by themselves."""
    up.grandchild("spark", "java")
    family = up.family()
    assert {"java", "postgres"} <= {process.name() for process in family}
    up.kill(psutil.Process(up.pid))
    up.start()  # at once: it waits for what is still ending
    assert gone(family, 120) == []


def kill_jvm_in_a_merge(up: UpProcess, market: SlowExchange) -> None:
    """The worker says so and is started again; the merge is still to be done."""
    jvm = up.grandchild("spark", "java")
    with merging(up):
        market.is_holding = False
    up.kill(jvm)
    with connect(up.dsn) as conn:
        query = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'merge' AND status IN ('todo', 'doing')"
        assert one(conn, query) > 0
    said = r"^spark ended with code 1: Spark's JVM ended with SIGKILL .*; it is started again"
    until(lambda: re.search(said, up.said(), re.M))


def test_a_job_outlives_ctrl_c_a_killed_supervisor_and_a_killed_jvm(
    up: UpProcess, calm: Calm, market: SlowExchange, job: int
) -> None:
    """The next start goes on with it each time, and the merge is done anew: one job, as each of these costs a JVM."""
    await_reading(market)
    stop_by_ctrl_c(up)
    up.start()
    await_reading(market, WORKERS)
    assert read_again(up, market, job) <= WORKERS
    kill_supervisor(up)
    await_reading(market, 2 * WORKERS)
    kill_jvm_in_a_merge(up, market)
    check_calm(up, calm, market, job, kills=2)


def test_a_killed_worker_is_started_again(up: UpProcess, calm: Calm, market: SlowExchange, job: int) -> None:
    """What it was reading is read again, at once and by its successor, and the terminal says in one line what died."""
    await_reading(market)
    up.kill(up.service("worker"))
    market.is_holding = False
    check_calm(up, calm, market, job)
    assert re.search(r"^worker ended with SIGKILL: .*worker\.log\); it is started again in 1 s$", up.said(), re.M)


def test_a_killed_database_comes_back(up: UpProcess, calm: Calm, market: SlowExchange, job: int) -> None:
    """On the same port; the workers that were at work go on, none of them dies of it."""
    await_reading(market)
    dsn, worker, spark = up.dsn, up.service("worker"), up.service("spark")
    up.kill(up.grandchild("postgres", "postgres"))
    market.is_holding = False
    check_calm(up, calm, market, job)
    assert (up.dsn, up.service("worker"), up.service("spark")) == (dsn, worker, spark)
    assert re.search(r"^postgres ended with code 1: PostgreSQL ended with SIGKILL .*; it is started", up.said(), re.M)


def test_a_killed_web_process_answers_again(up: UpProcess) -> None:
    """At the same address."""
    before = until(up.health)
    up.kill(up.service("web"))
    assert until(up.health, every_s=0.2)["data_version"] == before["data_version"]
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
    assert until(up.health)
    assert why_off_at_last(sandbox) is None
    assert printed(sandbox.run("print(1)", b"", user="anna")) == "1\n"
    assert re.search(r"^sandbox ended with SIGKILL: ", up.said(), re.M)


def test_a_second_platform_on_the_folder_is_refused(up: UpProcess) -> None:
    """It says which process has it, and what to do; the first one is not disturbed."""
    second = subprocess.run(
        [*COMMAND, "up", "--data", str(up.data), "--port", "0"], capture_output=True, text=True, timeout=300
    )
    assert second.returncode == 1
    expected = (
        rf"Error: a platform runs on .*/data already \(process {up.pid}\): use that one, stop it with kill {up.pid}"
    )
    assert re.match(expected, second.stderr)
    assert len(second.stderr.splitlines()) == 1
    assert until(up.health)


def content(up: UpProcess) -> tuple[str, ...]:
    """Return the hashes of Silver, of Gold and of what readers see."""
    return (*hashes(Lake(str(up.data))), shown_hash(up.dsn))


def test_a_platform_that_is_backed_up_at_work_goes_on_elsewhere(
    up: UpProcess, elsewhere: UpProcess, place: Path, revisable: SlowExchange
) -> None:
    """
    Backed up quiet, then in the middle of a merge: either comes back in one piece, elsewhere.

    The quiet one in the hashes of then; that of the merge ends, once its platform runs, in those in which the first
    one ended. An increment there brings what the exchange says since.
    """
    target = place / "target"
    assert up.finished(up.ingest()).state == "done"
    quiet = content(up)
    assert command("backup", target, "--data", up.data).returncode == 0
    with merging(up):
        job_id = revise(revisable, up)
    done = command("backup", target, "--data", up.data)
    assert (done.returncode, done.stderr) == (0, "")
    assert up.finished(job_id).state == "done"
    revised = content(up)
    assert revised != quiet
    first, second = Repository(open_store(str(target))).ids()
    manifests = [Repository(open_store(str(target))).manifest(each) for each in (first, second)]
    assert manifests[1].objects > manifests[0].objects
    assert manifests[1].new_files < manifests[1].files - len(manifests[1].tables)
    done = command("restore", target, "--data", place / "quiet", "--id", first)
    assert done.returncode == 0, done.stderr
    assert hashes(Lake(str(place / "quiet"))) == quiet[:2]
    done = command("restore", target, "--data", elsewhere.data)
    assert done.returncode == 0, done.stderr
    elsewhere.start()
    check_goes_on(elsewhere, revisable, job_id, revised)


def revise(market: SlowExchange, up: UpProcess) -> int:
    """Let the exchange revise a minute of every third day, and ask for all of it again; return the job."""
    for row in market.candles[1][::240]:
        row[5] += 1
    market.now += dt.timedelta(hours=1)
    return up.ingest(reread=True)


def check_goes_on(there: UpProcess, market: SlowExchange, job_id: int, revised: tuple[str, ...]) -> None:
    """The job that was going on in the backup ends as it did at home, and the next one brings what is new since."""
    found = there.finished(job_id)
    assert found.state == "done", found
    with connect(there.dsn) as conn:
        until(lambda: conn.execute(_UNMERGED).fetchone() == (0,))
        assert [name for (name,) in conn.execute("SELECT name FROM lake.app_user")] == ["admin"]
    assert content(there) == revised
    last = market.candles[1][-1]
    last[5] += 7
    market.now += dt.timedelta(hours=1)
    assert there.finished(there.ingest(reread=True, **{"from": last[6][:10]})).state == "done"
    assert content(there) != revised
    with connect(there.dsn, "lakehouse_read") as conn:
        row = conn.execute(
            "SELECT volume FROM gold.fact_candle WHERE timeframe = '1m' ORDER BY begin_at DESC LIMIT 1"
        ).fetchone()
    assert row == (last[5],)


def test_ctrl_c_leaves_nothing_of_a_platform_that_shows_candles(up: UpProcess, market: SlowExchange) -> None:
    """Of the tables that readers see, and of those that are built for them, only what is shown stays."""
    assert up.finished(up.ingest()).state == "done"
    assert shown(up.dsn) > 0
    with reading(up, market):
        await_reading(market)
        stop_by_ctrl_c(up)
