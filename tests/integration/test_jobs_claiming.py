"""A message worked off by a call of a function: once, whoever dies, beside the platform's own workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg import Connection

from lakehouse.database.connection import connect
from lakehouse.jobs import queue
from lakehouse.jobs.attempts import ATTEMPTS
from lakehouse.jobs.claiming import claim, put_back_dead, waiting, work_off
from lakehouse.jobs.consumer import forget_dead_workers
from lakehouse.jobs.queue import IngestRequest
from tests.killing import until

pytestmark = pytest.mark.postgres
REQUEST = IngestRequest.parse({"instruments": ["SBER"]})
# Says that it has begun, and goes on when it is told to
STEP = """
import sys
def step(arguments):
    print("begun", arguments["job_id"], flush=True)
    sys.stdin.readline()
"""
FUNCTION = "from lakehouse.jobs.claiming import work_off\nwork_off(sys.argv[1], int(sys.argv[2]), {'ingest': step})"
WORKER = "from lakehouse.jobs.consumer import consume\nconsume(sys.argv[1], 'io', {'ingest': step})"


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn) as opened:
        yield opened


@pytest.fixture
def message_id(conn: Connection[Any]) -> int:
    """Return the message of a job that waits."""
    queue.submit_ingest(conn, REQUEST, "anna")
    return waiting(conn, ["ingest"])[0]


@contextmanager
def process(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run *program* with the step that waits; yield it once the step has begun."""
    command = [sys.executable, "-c", STEP + program, *arguments]
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    try:
        assert any(line.startswith("begun") for line in running.stdout)
        yield running
    finally:
        running.kill()
        running.communicate()


def kill(running: subprocess.Popen[str]) -> None:
    os.kill(running.pid, signal.SIGKILL)
    running.wait()


def minutes_pass(conn: Connection[Any]) -> None:
    """Age the hearts that beat no more."""
    conn.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '10 minutes'")


def rows(conn: Connection[Any]) -> list[tuple[Any, ...]]:
    return conn.execute("SELECT task_name, status, attempts FROM procrastinate_jobs ORDER BY id").fetchall()


def workers(conn: Connection[Any]) -> list[tuple[Any, ...]]:
    return conn.execute("SELECT id FROM procrastinate_workers").fetchall()


def test_a_message_is_worked_off_once(dsn: str, conn: Connection[Any], message_id: int) -> None:
    """A wake that comes twice finds nothing, and no worker is left behind."""
    seen: list[dict[str, Any]] = []
    assert work_off(dsn, message_id, {"ingest": seen.append})
    assert not work_off(dsn, message_id, {"ingest": seen.append})
    assert (len(seen), rows(conn), workers(conn)) == (1, [], [])


def test_of_many_who_are_woken_one_has_the_message(dsn: str, conn: Connection[Any], message_id: int) -> None:
    """Whoever comes second goes away empty, and makes no worker."""

    def claim_it(_: int) -> bool:
        with connect(dsn, "lakehouse_app") as own:
            return claim(own, message_id) is not None

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(claim_it, range(24)))
    assert (won.count(True), len(workers(conn))) == (1, 1)


def test_a_wake_before_its_time_finds_nothing(dsn: str, conn: Connection[Any], message_id: int) -> None:
    """What was put off is not due yet."""
    conn.execute("UPDATE procrastinate_jobs SET scheduled_at = now() + interval '1 minute'")
    assert not work_off(dsn, message_id, {})


def test_a_step_that_fails_waits_longer_each_time_and_is_given_up(
    dsn: str, conn: Connection[Any], message_id: int
) -> None:
    """After 2, 4 and 8 s; then it is a dead letter with its reason, and its job says so."""

    def fail(arguments: dict[str, Any]) -> None:
        raise ValueError("the exchange has burnt down")

    waits = []
    for _ in range(ATTEMPTS):
        with pytest.raises(ValueError, match="burnt down"):
            work_off(dsn, message_id, {"ingest": fail})
        row = conn.execute(
            "UPDATE procrastinate_jobs j SET scheduled_at = now() FROM procrastinate_jobs was WHERE was.id = j.id"
            " AND j.status = 'todo' RETURNING extract(epoch FROM was.scheduled_at - now())"
        ).fetchone()
        waits.append(round(row[0]) if row else None)
    assert waits == [2, 4, 8, None]
    assert rows(conn) == [("ingest", "failed", ATTEMPTS)]
    reason = f"ingest failed {ATTEMPTS} times: the exchange has burnt down"
    assert conn.execute("SELECT message_id, reason FROM lake.dead_letter").fetchall() == [(message_id, reason)]
    job = queue.jobs(conn)[0]
    assert (job.state, job.error) == ("failed", reason)
    assert workers(conn) == []


def test_the_message_of_a_function_that_was_killed_is_put_back(
    dsn: str, conn: Connection[Any], message_id: int
) -> None:
    """As long as its heart beats it is left alone; then another function works it off."""
    with process(FUNCTION, dsn, str(message_id)) as function:
        assert put_back_dead(conn, "io") == 0
        kill(function)
    minutes_pass(conn)
    assert put_back_dead(conn, "io") == 1
    seen: list[dict[str, Any]] = []
    assert work_off(dsn, message_id, {"ingest": seen.append})
    assert len(seen) == 1


def test_the_platform_takes_up_what_a_function_left(dsn: str, conn: Connection[Any], message_id: int) -> None:
    """Its own worker finds the message of a function that was killed."""
    with process(FUNCTION, dsn, str(message_id)) as function:
        kill(function)
    minutes_pass(conn)
    with process(WORKER, dsn):
        assert rows(conn) == [("ingest", "doing", 0)]


def test_a_function_takes_up_what_the_platform_left(dsn: str, conn: Connection[Any], message_id: int) -> None:
    """The tick puts back the message of a worker that was killed, and a function that is woken works it off."""
    with process(WORKER, dsn) as worker:
        assert not work_off(dsn, message_id, {})
        kill(worker)
    minutes_pass(conn)
    assert put_back_dead(conn, "io") == 1
    assert work_off(dsn, message_id, {"ingest": lambda arguments: None})
    assert rows(conn) == []


def test_a_platform_that_starts_leaves_functions_alone(dsn: str, conn: Connection[Any], message_id: int) -> None:
    """It forgets its own dead workers only."""
    with process(FUNCTION, dsn, str(message_id)) as function:
        conn.execute("INSERT INTO procrastinate_workers DEFAULT VALUES")
        forget_dead_workers(dsn)
        assert (put_back_dead(conn, "io"), len(workers(conn))) == (0, 1)
        function.communicate("go on\n")
    assert (rows(conn), workers(conn)) == ([], [])


def test_who_was_taken_for_dead_does_not_finish_anothers_message(
    dsn: str, conn: Connection[Any], message_id: int
) -> None:
    """The message that another works on now stays his."""
    with process(FUNCTION, dsn, str(message_id)) as slow:
        conn.execute("DELETE FROM procrastinate_workers")
        put_back_dead(conn, "io")
        assert claim(conn, message_id) is not None
        slow.communicate("go on\n")
    assert rows(conn) == [("ingest", "doing", 0)]


def die(conn: Connection[Any], message_id: int) -> None:
    """Take the message, and let the heart stop of who took it."""
    assert claim(conn, message_id) is not None
    minutes_pass(conn)


def test_what_brings_down_worker_after_worker_is_given_up(dsn: str, conn: Connection[Any], message_id: int) -> None:
    """A message that no worker survives does not go round for ever; put back by hand, it has its eight lives again."""
    for _ in range(2):
        for _ in range(2 * ATTEMPTS):
            assert rows(conn) == [("ingest", "todo", 0)]
            die(conn, message_id)
            put_back_dead(conn, "io")
        assert rows(conn) == [("ingest", "failed", 1)]
        assert queue.jobs(conn)[0].error == f"ingest ended its worker {2 * ATTEMPTS} times"
        conn.execute("UPDATE procrastinate_jobs SET status = 'todo', attempts = 0, worker_id = NULL")
        conn.execute("UPDATE lake.job SET state = 'running', error = NULL")


def test_a_platform_that_is_stopped_kills_no_message(dsn: str, conn: Connection[Any], message_id: int) -> None:
    """A long step is begun anew at each start, however often somebody stops it: only deaths between starts count."""
    for _ in range(2 * ATTEMPTS + 1):
        assert claim(conn, message_id) is not None
        conn.execute("DELETE FROM lake.function_worker")  # one of the platform's own had it
        forget_dead_workers(dsn)
        assert put_back_dead(conn, "io") == 1
    assert rows(conn) == [("ingest", "todo", 0)]


def test_the_platforms_own_workers_give_up_what_brings_them_down(
    dsn: str, conn: Connection[Any], message_id: int
) -> None:
    """The eighth death is the last, also where no function ever ticks: the next worker gives it up and goes on."""
    for _ in range(2 * ATTEMPTS - 1):
        die(conn, message_id)
        put_back_dead(conn, "io")
    die(conn, message_id)
    other = queue.submit_ingest(conn, REQUEST, "anna")
    with process(WORKER, dsn):
        until(lambda: rows(conn)[0][1] == "failed")
        assert rows(conn) == [("ingest", "failed", 1), ("ingest", "doing", 0)]
    errors = {job.job_id: job.error for job in queue.jobs(conn)}
    assert errors.pop(other) is None
    assert list(errors.values()) == [f"ingest ended its worker {2 * ATTEMPTS} times"]


def test_the_death_of_a_worker_is_no_failed_attempt(dsn: str, conn: Connection[Any], message_id: int) -> None:
    """However often the platform was restarted in its midst, a step that fails then has all its attempts."""

    def fail(arguments: dict[str, Any]) -> None:
        raise ValueError("no connection, this once")

    for _ in range(ATTEMPTS):
        die(conn, message_id)
        put_back_dead(conn, "io")
    with pytest.raises(ValueError, match="this once"):
        work_off(dsn, message_id, {"ingest": fail})
    assert rows(conn) == [("ingest", "todo", 1)]
    assert queue.jobs(conn)[0].state == "queued"
