"""Jobs as rows: submitting, cancelling, retrying, settling."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection

from lakehouse.database.connection import connect
from lakehouse.jobs import queue
from lakehouse.jobs.queue import IngestRequest
from lakehouse.market.errors import BadInput
from lakehouse.market.timeframe import Timeframe

pytestmark = pytest.mark.postgres
REQUEST = IngestRequest.parse({"instruments": ["SBER", "GAZP"], "from": "2024-01-01"})


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn, "lakehouse_app") as opened:
        yield opened


def test_a_request_is_kept_as_it_was_asked(conn: Connection[Any]) -> None:
    """A submitted job waits, names who asked, and its step is in the queue with it."""
    job_id = queue.submit_ingest(conn, REQUEST, "anna")
    job = queue.job(conn, job_id)
    assert job is not None
    assert (job.kind, job.state, job.requested_by, job.is_over) == ("ingest", "queued", "anna", False)
    assert IngestRequest.parse(job.params) == REQUEST
    assert waiting(conn) == [("io", "ingest", {"job_id": job_id})]
    assert queue.job(conn, job_id + 1) is None


def test_a_job_that_was_rolled_back_was_never_queued(conn: Connection[Any]) -> None:
    """Row and message appear together or not at all."""
    with conn.transaction(force_rollback=True):
        queue.submit_ingest(conn, REQUEST, "anna")
    assert queue.jobs(conn) == []
    assert waiting(conn) == []


def test_jobs_are_listed_newest_first(conn: Connection[Any]) -> None:
    """The limit keeps the newest."""
    ids = [queue.submit_ingest(conn, REQUEST, "anna") for _ in range(3)]
    assert [job.job_id for job in queue.jobs(conn, limit=2)] == ids[:0:-1]


def test_of_a_step_for_all_one_waits(conn: Connection[Any]) -> None:
    """A second poke adds nothing while the first waits; once that runs, the next one waits."""
    assert queue.enqueue(conn, "merge", {}, only_one=True)
    assert not queue.enqueue(conn, "merge", {}, only_one=True)
    assert queue.enqueue(conn, "publish", {}, only_one=True)
    conn.execute("UPDATE procrastinate_jobs SET status = 'doing' WHERE task_name = 'merge'")
    assert queue.enqueue(conn, "merge", {}, only_one=True)


def test_a_refused_poke_leaves_the_transaction_whole(conn: Connection[Any]) -> None:
    """What was written beside it stays."""
    queue.enqueue(conn, "merge", {}, only_one=True)
    with conn.transaction():
        job_id = queue.submit_ingest(conn, REQUEST, "anna")
        assert not queue.enqueue(conn, "merge", {}, only_one=True)
    assert queue.job(conn, job_id) is not None


def test_a_step_may_be_put_off(conn: Connection[Any]) -> None:
    """It is not due before its time."""
    queue.enqueue(conn, "merge", {}, after_s=60)
    row = conn.execute("SELECT scheduled_at - now() FROM procrastinate_jobs").fetchone()
    assert row is not None
    assert dt.timedelta(seconds=50) < row[0] <= dt.timedelta(seconds=60)


def test_a_job_that_waits_is_cancelled_at_once(conn: Connection[Any]) -> None:
    """Nothing of it runs, so it is over."""
    job_id = queue.submit_ingest(conn, REQUEST, "anna")
    assert queue.cancel(conn, job_id) == "cancelled"
    job = queue.job(conn, job_id)
    assert job is not None
    assert job.is_over
    assert job.finished_at is not None


def test_a_job_that_runs_is_cancelled_when_it_has_stopped(conn: Connection[Any]) -> None:
    """Waiting windows go at once; the job says cancelled only when the one that was being read has stopped."""
    job_id = planned_job(conn, ["running", "queued", "queued", "landed"])
    assert queue.cancel(conn, job_id) == "cancelling"
    assert states(conn, job_id) == ["running", "cancelled", "cancelled", "landed"]
    assert queue.settle(conn) == []
    conn.execute("UPDATE lake.job_window SET state = 'cancelled' WHERE state = 'running'")
    assert queue.settle(conn) == [job_id]
    job = queue.job(conn, job_id)
    assert job is not None
    assert (job.state, job.windows_total, job.windows_done, job.windows_cancelled) == ("cancelled", 4, 1, 3)


def test_what_cannot_be_cancelled_is_refused(conn: Connection[Any]) -> None:
    """A job that is over, or never was."""
    with pytest.raises(BadInput, match="there is no job 77"):
        queue.cancel(conn, 77)
    job_id = planned_job(conn, ["landed"])
    queue.settle(conn)
    with pytest.raises(BadInput, match=rf"job {job_id} is over \(done\): nothing to cancel"):
        queue.cancel(conn, job_id)


@pytest.mark.parametrize(
    ("windows", "report", "state"),
    [
        (["landed", "landed"], "{}", "done"),
        ([], "{}", "done"),
        (["landed", "failed"], "{}", "failed"),
        (["landed"], '{"errors": ["XXXX: no such instrument"]}', "failed"),
        (["landed", "running"], "{}", "running"),
        (["failed", "queued"], "{}", "running"),
    ],
)
def test_a_job_is_over_when_its_windows_are(conn: Connection[Any], windows: list[str], report: str, state: str) -> None:
    """It failed if a window or an instrument did, and goes on while one is left."""
    job_id = planned_job(conn, windows)
    conn.execute("UPDATE lake.job SET report = %s::jsonb WHERE job_id = %s", (report, job_id))
    assert queue.settle(conn) == ([] if state == "running" else [job_id])
    job = queue.job(conn, job_id)
    assert job is not None
    assert job.state == state


def test_a_job_is_not_over_before_it_is_planned(conn: Connection[Any]) -> None:
    """That no window is left to do says nothing while they are still being written down."""
    job_id = planned_job(conn, ["landed"])
    conn.execute("UPDATE lake.job SET planned_at = NULL")
    assert queue.settle(conn, [job_id]) == []


def test_a_job_is_over_when_what_it_landed_is_published(conn: Connection[Any]) -> None:
    """A user who is told `done` finds the candles."""
    job_id = planned_job(conn, ["landed"])
    conn.execute(
        """
        INSERT INTO lake.bronze_object (object_key, family, engine, market, board, secid, timeframe, span, complete,
            fetched_at, rows, pages, end_proof)
        VALUES ('iss/0', 'candles', 'stock', 'shares', 'TQBR', 'SBER', '1d', '[2024-01-01,2024-02-01)', true,
            now(), 1, 1, 'empty page')
        """
    )
    assert queue.settle(conn) == []
    conn.execute("UPDATE lake.bronze_object SET merged_at = now()")
    assert queue.settle(conn) == []
    conn.execute("UPDATE lake.bronze_object SET published_at = now()")
    assert queue.settle(conn) == [job_id]


def test_a_retry_queues_exactly_what_failed(conn: Connection[Any]) -> None:
    """What landed is not read again, and the job goes on."""
    job_id = planned_job(conn, ["landed", "failed", "failed"])
    other = planned_job(conn, ["failed"])
    queue.settle(conn)
    failed = [window.window_id for window in queue.windows(conn, job_id) if window.state == "failed"]
    assert queue.retry_failed(conn, job_id) == [job_id]
    assert states(conn, job_id) == ["landed", "queued", "queued"]
    assert states(conn, other) == ["failed"]
    ((_, task, arguments),) = waiting(conn)
    assert task == "fetch"
    assert (arguments["job_id"], sorted(arguments["window_ids"])) == (job_id, failed)
    job = queue.job(conn, job_id)
    assert job is not None
    assert (job.state, job.finished_at) == ("running", None)
    assert queue.retry_failed(conn) == [other]
    assert queue.retry_failed(conn) == []


def test_a_retry_takes_a_cancel_back(conn: Connection[Any]) -> None:
    """What is read again by wish is not stopped by the former wish."""
    job_id = planned_job(conn, ["failed", "queued"])
    assert queue.cancel(conn, job_id) == "cancelled"
    queue.retry_failed(conn, job_id)
    conn.execute("UPDATE lake.job_window SET state = 'landed' WHERE state = 'queued'")
    queue.settle(conn)
    job = queue.job(conn, job_id)
    assert job is not None
    assert job.state == "done"


def test_time_left_is_by_the_pace_so_far(conn: Connection[Any]) -> None:
    """A quarter done in a minute leaves three; nothing is said before the first window is over, and after the last."""
    job_id = planned_job(conn, ["landed", "running", "queued", "queued"])
    conn.execute("UPDATE lake.job SET started_at = now() - interval '1 minute'")
    job = queue.job(conn, job_id)
    assert job is not None
    assert job.seconds_left == pytest.approx(180, abs=10)
    conn.execute("UPDATE lake.job_window SET state = 'queued'")
    job = queue.job(conn, job_id)
    assert job is not None
    assert job.seconds_left is None


def test_failed_windows_are_shown_first(conn: Connection[Any]) -> None:
    """What somebody must look at stands on top."""
    job_id = planned_job(conn, ["landed", "failed", "queued"])
    assert [window.state for window in queue.windows(conn, job_id)] == ["failed", "landed", "queued"]
    assert len(queue.windows(conn, job_id, limit=1)) == 1


def test_a_request_has_defaults() -> None:
    """Daily candles, everything there is, nothing read again."""
    request = IngestRequest.parse({"instruments": [" SBER "]})
    assert request == IngestRequest(instruments=["SBER"], timeframes=[Timeframe.DAY])
    assert (request.from_, request.till, request.reread) == (None, None, False)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "^request: "),
        ([], "^request: "),
        ({}, "^instruments: Field required$"),
        ({"instruments": []}, "^instruments: List should have at least 1 item"),
        ({"instruments": ["SBER"] * 1001}, "^instruments: List should have at most 1000 items"),
        ({"instruments": ["SBER", "a b"]}, "^instruments.1: 'a b' is not a ticker: use the exchange's SECID"),
        ({"instruments": ["SBER"], "timeframes": []}, "^timeframes: List should have at least 1 item"),
        ({"instruments": ["SBER"], "timeframes": ["2d"]}, "^timeframes.0: Input should be '1m'"),
        ({"instruments": ["SBER"], "from": "yesterday"}, "^from: Input should be a valid date"),
        ({"instruments": ["SBER"], "from": "1989-12-31"}, "^request: from 1989-12-31 lies before 1990-01-01"),
        (
            {"instruments": ["SBER"], "from": "2024-01-02", "till": "2024-01-01"},
            "^request: till 2024-01-01 lies before from 2024-01-02$",
        ),
        (
            {"instruments": ["SBER"], "reread": True},
            "^request: a re-read needs from: say the first date to read again$",
        ),
        ({"instruments": ["SBER"], "form": "2024-01-01"}, "^form: Extra inputs are not permitted$"),
        (
            {"instruments": [""], "till": "x"},
            "^instruments.0: '' is not a ticker.*; till: Input should be a valid date",
        ),
    ],
)
def test_a_request_that_cannot_be_is_refused(document: object, message: str) -> None:
    """Each fault is one clear sentence that begins with where it is."""
    with pytest.raises(BadInput, match=message):
        IngestRequest.parse(document)


def planned_job(conn: Connection[Any], window_states: list[str]) -> int:
    """Make a running job that was planned, with a window in each of *window_states*."""
    row = conn.execute(
        """
        INSERT INTO lake.job (kind, state, requested_by, params, started_at, planned_at)
        VALUES ('ingest', 'running', 'anna', '{}', now(), now()) RETURNING job_id
        """
    ).fetchone()
    assert row is not None
    for number, state in enumerate(window_states):
        conn.execute(
            """
            INSERT INTO lake.job_window
                (job_id, family, engine, market, board, secid, timeframe, from_at, till_date, state, object_key)
            VALUES (%s, 'candles', 'stock', 'shares', 'TQBR', 'SBER', '1d', %s, '2024-12-31', %s, %s)
            """,
            (row[0], dt.date(2024, 1, 1 + number), state, f"iss/{number}" if state == "landed" else None),
        )
    return int(row[0])


def states(conn: Connection[Any], job_id: int) -> list[str]:
    """Return the states of a job's windows in the order they were planned."""
    rows = conn.execute("SELECT state FROM lake.job_window WHERE job_id = %s ORDER BY window_id", (job_id,))
    return [state for (state,) in rows]


def waiting(conn: Connection[Any]) -> list[tuple[Any, ...]]:
    """Return what waits in the queue: its queue, task and arguments."""
    return conn.execute(
        "SELECT queue_name, task_name, args FROM procrastinate_jobs WHERE status = 'todo' ORDER BY id"
    ).fetchall()
