"""Dead letters in PostgreSQL's queue: what was given up is shown, and goes on when it is put back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection
from psycopg.types.json import Jsonb

from lakehouse.database.connection import connect
from lakehouse.database.outage import close_shared
from lakehouse.jobs import consumer, queue, redriving, retrying, schedules
from lakehouse.jobs.attempts import ATTEMPTS
from lakehouse.jobs.claiming import give_up_unwritten, waiting, work_off
from lakehouse.jobs.connector import SteadyConnector
from lakehouse.jobs.queue import IngestRequest

pytestmark = pytest.mark.postgres
REQUEST = IngestRequest.parse({"instruments": ["SBER"]})


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn, "lakehouse_app") as opened:
        yield opened


def give_up(dsn: str, conn: Connection[Any], task: str) -> int:
    """Let the step of a waiting message fail until it is given up; return the message."""

    def fail(arguments: dict[str, Any]) -> None:
        raise ValueError("the disk is on fire")

    (message_id,) = waiting(conn, [task])
    for _ in range(ATTEMPTS):
        conn.execute("UPDATE procrastinate_jobs SET scheduled_at = NULL")
        with pytest.raises(ValueError, match="on fire"):
            work_off(dsn, message_id, {task: fail})
    return message_id


def messages(conn: Connection[Any]) -> list[tuple[Any, ...]]:
    return conn.execute("SELECT task_name, status::text, attempts FROM procrastinate_jobs ORDER BY id").fetchall()


def test_a_job_that_was_given_up_goes_on(dsn: str, conn: Connection[Any]) -> None:
    """The letter says whose it is and why; afterwards its planning waits, untried, and nothing is dead."""
    job_id = queue.submit_ingest(conn, REQUEST, "anna")
    give_up(dsn, conn, "ingest")
    (letter,) = redriving.dead_letters(conn)
    assert str(letter) == f"ingest of job {job_id}: ingest failed {ATTEMPTS} times: the disk is on fire"
    assert redriving.count_dead(conn) == 1
    done = redriving.redrive(conn)
    assert str(done) == f"1 dead letters put back; jobs that go on: {job_id}"
    assert messages(conn) == [("ingest", "todo", 0)]
    job = queue.job(conn, job_id)
    assert job is not None
    assert (job.state, job.error) == ("running", None)
    assert redriving.redrive(conn) == redriving.Redriven()


def test_a_retry_of_the_job_leaves_no_dead_letter(dsn: str, conn: Connection[Any]) -> None:
    """What is queued anew stands for it: it is not done twice by a later redrive."""
    job_id = queue.submit_ingest(conn, REQUEST, "anna")
    give_up(dsn, conn, "ingest")
    assert retrying.retry_failed(conn, job_id) == [job_id]
    assert (redriving.count_dead(conn), messages(conn)) == (0, [("ingest", "todo", 0)])


def test_a_merge_that_was_given_up_takes_its_jobs_along(dsn: str, conn: Connection[Any]) -> None:
    """All jobs that failed with it go on, and one merge waits."""
    ids = [queue.submit_ingest(conn, REQUEST, "anna") for _ in range(2)]
    conn.execute("DELETE FROM procrastinate_jobs")
    conn.execute("UPDATE lake.job SET state = 'running', started_at = now(), planned_at = now()")
    landed(conn, ids)
    queue.enqueue(conn, "merge", {}, only_one=True)
    give_up(dsn, conn, "merge")
    assert {job.state for job in queue.jobs(conn)} == {"failed"}
    done = redriving.redrive(conn)
    assert (done.jobs, messages(conn)) == (ids, [("merge", "todo", 0)])
    assert {job.state for job in queue.jobs(conn)} == {"running"}


@pytest.mark.parametrize(
    ("task", "arguments"), [("rebuild", {"station": "serving"}), ("landed", {"object_key": "iss/x"})]
)
def test_a_step_that_no_job_waits_for_fails_none(
    dsn: str, conn: Connection[Any], task: str, arguments: dict[str, Any]
) -> None:
    """The job beside it goes on; put back, the step waits again, and takes no job along."""
    job_id = queue.submit_ingest(conn, REQUEST, "anna")
    queue.enqueue(conn, task, arguments)
    give_up(dsn, conn, task)
    assert [(job.job_id, job.state, job.error) for job in queue.jobs(conn)] == [(job_id, "queued", None)]
    (letter,) = redriving.dead_letters(conn)
    assert letter.reason == f"{task} failed {ATTEMPTS} times: the disk is on fire"
    assert redriving.redrive(conn).jobs == []
    assert messages(conn) == [("ingest", "todo", 0), (task, "todo", 0)]


def landed(conn: Connection[Any], job_ids: list[int]) -> None:
    """Let each job have a window that landed and was not published."""
    for job_id in job_ids:
        conn.execute(
            """
            INSERT INTO lake.bronze_object (object_key, family, engine, market, board, secid, timeframe, span, complete,
                fetched_at, rows, pages, end_proof)
            VALUES (%s, 'candles', '', '', '', '', '', 'empty', true, now(), 1, 1, '')
            """,
            (f"key {job_id}",),
        )
        conn.execute(
            """
            INSERT INTO lake.job_window (job_id, family, engine, market, board, secid, timeframe, from_at, till_date,
                state, object_key)
            VALUES (%s, 'candles', '', '', '', '', '', now(), now(), 'landed', %s)
            """,
            (job_id, f"key {job_id}"),
        )


def test_the_letter_of_a_job_that_was_cancelled_is_dropped(dsn: str, conn: Connection[Any]) -> None:
    """Nobody wants it any more."""
    job_id = queue.submit_ingest(conn, REQUEST, "anna")
    give_up(dsn, conn, "ingest")
    conn.execute("UPDATE lake.job SET state = 'cancelled', error = NULL WHERE job_id = %s", (job_id,))
    assert redriving.redrive(conn).jobs == []
    assert messages(conn) == []


def test_a_scheduled_step_that_was_given_up_says_so_and_runs_again(dsn: str, conn: Connection[Any]) -> None:
    """No job fails for it; put back, its run is open again."""
    job_id = queue.submit_ingest(conn, REQUEST, "anna")
    conn.execute("INSERT INTO lake.schedule_run (name, due_at) VALUES ('reconcile', '2026-06-13T01:15Z')")
    arguments = {"schedule": "reconcile", "due_at": "2026-06-13T01:15:00+00:00"}
    queue.enqueue(conn, "reconcile", arguments, only_one=True)
    give_up(dsn, conn, "reconcile")
    run = schedules.last_runs(conn)["reconcile"]
    assert (run.outcome, run.has_failed) == (f"reconcile failed {ATTEMPTS} times: the disk is on fire", True)
    assert [(job.job_id, job.state) for job in queue.jobs(conn)] == [(job_id, "queued")]
    redriving.redrive(conn)
    assert schedules.is_open(conn, arguments)
    assert messages(conn) == [("ingest", "todo", 0), ("reconcile", "todo", 0)]


def test_what_nobody_could_write_down_when_it_was_given_up_goes_on(dsn: str, conn: Connection[Any]) -> None:
    """On a full disk a message may fail for good and leave its job running: any worker fails the job later, once."""
    job_id = queue.submit_ingest(conn, REQUEST, "anna")
    conn.execute("UPDATE lake.job SET state = 'running', started_at = now()")
    conn.execute("UPDATE procrastinate_jobs SET status = 'failed', attempts = 4")
    assert (give_up_unwritten(conn, "spark"), give_up_unwritten(conn, "io"), give_up_unwritten(conn, "io")) == (0, 1, 0)
    job = queue.job(conn, job_id)
    assert job is not None
    assert (job.state, job.error) == (
        "failed",
        "ingest failed 4 times, and why could not be written down: see the log",
    )
    assert redriving.redrive(conn).jobs == [job_id]
    assert messages(conn) == [("ingest", "todo", 0)]


async def test_a_worker_outlives_a_full_disk_and_then_writes_down_what_it_could_not(
    dsn: str, conn: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL refuses to write for want of room, heartbeat after heartbeat; with room the job fails, and goes on."""
    monkeypatch.setattr(consumer, "_HEARTBEAT_S", 0.05)
    job_id = queue.submit_ingest(conn, REQUEST, "anna")
    conn.execute("UPDATE procrastinate_jobs SET status = 'failed', attempts = 4")
    connector = SteadyConnector(dsn, 2)
    await connector.open_async()
    with connect(dsn) as owner:
        owner.execute(_NO_ROOM)
        rescuer = asyncio.create_task(consumer._rescue(dsn, connector, "io", None))
        while owner.execute("SELECT last_value FROM refused").fetchall()[0][0] < 3:
            assert not rescuer.done()
            await asyncio.sleep(0.05)
        owner.execute("DROP TRIGGER refuse ON lake.dead_letter")
        while (job := queue.job(conn, job_id)) is None or job.state != "failed":
            assert not rescuer.done()
            await asyncio.sleep(0.05)
    rescuer.cancel()
    await asyncio.wait([rescuer])
    await connector.close_async()
    close_shared()


_NO_ROOM = """
    CREATE SEQUENCE refused;
    GRANT ALL ON SEQUENCE refused TO PUBLIC;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM nextval('refused');
        RAISE EXCEPTION 'could not extend file "base/5/1249": No space left on device' USING ERRCODE = 'disk_full';
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON lake.dead_letter FOR EACH ROW EXECUTE FUNCTION refuse()
"""


def test_a_letter_from_before_has_no_reason(conn: Connection[Any]) -> None:
    """It is shown and put back all the same."""
    conn.execute(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args, status)"
        " VALUES ('spark', 'rebuild', %s, 'failed')",
        (Jsonb({"station": "gold"}),),
    )
    assert [str(letter) for letter in redriving.dead_letters(conn)] == ["rebuild gold: no reason was written down"]
    redriving.redrive(conn)
    assert messages(conn) == [("rebuild", "todo", 0)]
