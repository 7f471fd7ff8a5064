"""Jobs as rows: submitting, cancelling, retrying, settling."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection
from psycopg.types.json import Jsonb

from lakehouse.database.connection import connect
from lakehouse.jobs import queue, retrying
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
    landed_object(conn)
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
    assert retrying.retry_failed(conn, job_id) == [job_id]
    assert states(conn, job_id) == ["landed", "queued", "queued"]
    assert states(conn, other) == ["failed"]
    ((_, task, arguments),) = waiting(conn)
    assert task == "fetch"
    assert (arguments["job_id"], sorted(arguments["window_ids"])) == (job_id, failed)
    job = queue.job(conn, job_id)
    assert job is not None
    assert (job.state, job.finished_at) == ("running", None)
    assert retrying.retry_failed(conn) == [other]
    assert retrying.retry_failed(conn) == []


def test_a_retry_takes_a_cancel_back(conn: Connection[Any]) -> None:
    """What is read again by wish is not stopped by the former wish."""
    job_id = planned_job(conn, ["failed", "queued"])
    assert queue.cancel(conn, job_id) == "cancelled"
    retrying.retry_failed(conn, job_id)
    conn.execute("UPDATE lake.job_window SET state = 'landed' WHERE state = 'queued'")
    queue.settle(conn)
    job = queue.job(conn, job_id)
    assert job is not None
    assert job.state == "done"


def test_a_retry_of_no_job_is_refused(conn: Connection[Any]) -> None:
    """The message says where the jobs are."""
    with pytest.raises(BadInput, match=r"^there is no job 77: `lakehouse jobs` lists them$"):
        retrying.retry_failed(conn, 77)


def test_a_retry_takes_instruments_whose_planning_failed(conn: Connection[Any]) -> None:
    """They are planned again and no others, not even those that a cancel left unplanned."""
    job_id = planned_job(conn, ["landed"])
    errors = '{"errors": [{"secid": "XXXX", "message": "no such"}], "planned": {"SBER": 1}}'
    conn.execute("UPDATE lake.job SET report = %s::jsonb", (errors,))
    queue.settle(conn)
    assert retrying.retry_failed(conn) == [job_id]
    assert waiting(conn) == [("io", "ingest", {"job_id": job_id})]
    job = queue.job(conn, job_id)
    assert job is not None
    assert (job.state, job.error, job.planned_at) == ("running", None, None)
    assert job.report == {"again": ["XXXX"], "planned": {"SBER": 1}}


@pytest.mark.parametrize(
    ("windows", "planned", "messages"),
    [
        (["landed", "queued", "running"], True, ["fetch"]),
        (["landed"], False, ["ingest"]),
        ([], False, ["ingest"]),
    ],
)
def test_a_retry_takes_what_a_job_that_was_given_up_left(
    conn: Connection[Any], windows: list[str], planned: bool, messages: list[str]
) -> None:
    """A step that failed for good left windows unread, or instruments unplanned: they are what failed."""
    job_id = planned_job(conn, windows)
    if not planned:
        conn.execute("UPDATE lake.job SET planned_at = NULL")
    queue.fail_unfinished(conn, "fetch failed 4 times: no connection", job_id)
    assert retrying.retry_failed(conn, job_id) == [job_id]
    assert [task for _, task, _ in waiting(conn)] == messages
    assert set(states(conn, job_id)) <= {"landed", "queued"}


def test_a_retry_merges_what_landed_when_the_merge_was_given_up(conn: Connection[Any]) -> None:
    """Nothing is read again: what landed waits for Silver."""
    job_id = planned_job(conn, ["landed"])
    landed_object(conn)
    queue.fail_unfinished(conn, "merge failed 4 times: no space left")
    assert retrying.retry_failed(conn) == [job_id]
    assert [task for _, task, _ in waiting(conn)] == ["merge"]


def test_a_retry_of_what_was_done_after_all_settles_the_job(conn: Connection[Any]) -> None:
    """A step was given up, and another run of it did the work: the job is done."""
    job_id = planned_job(conn, ["landed"])
    queue.fail_unfinished(conn, "publish failed 4 times: busy")
    assert retrying.retry_failed(conn, job_id) == [job_id]
    job = queue.job(conn, job_id)
    assert job is not None
    assert (job.state, job.error) == ("done", None)
    assert waiting(conn) == []


SPARKS_ERROR = """merge failed 4 times: An exception was thrown from the Python worker. Please see the trace below.
Traceback (most recent call last):
  File "/x/derive.py", line 109, in parse
    yield from parse_batches(batches, store.get)
lakehouse.silver.parse.BronzeUnreadable: iss/x#1: the answer has no block 'candles'; remove it

\tat org.apache.spark.api.python.BasePythonRunner.handlePythonException(PythonRunner.scala:581)"""


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("merge failed 4 times: no space left", "merge failed 4 times: no space left"),
        (SPARKS_ERROR, "merge failed 4 times: BronzeUnreadable: iss/x#1: the answer has no block 'candles'; remove it"),
        ("a\n  b", "a b"),
        ("x" * 5000, "x" * 600 + "..."),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
    ],
)
def test_nobody_is_shown_a_traceback(conn: Connection[Any], reason: str, told: str) -> None:
    """A job's error is one line of bounded length, whatever the step raised."""
    job_id = planned_job(conn, ["running"])
    queue.fail_unfinished(conn, reason, job_id)
    job = queue.job(conn, job_id)
    assert job is not None
    assert job.error == told


def test_a_retry_leaves_alone_what_did_not_fail(conn: Connection[Any]) -> None:
    """Jobs that are done, cancelled or running without a failure are not touched."""
    done, running = planned_job(conn, ["landed"]), planned_job(conn, ["running"])
    queue.settle(conn)
    cancelled = planned_job(conn, ["queued"])
    queue.cancel(conn, cancelled)
    assert retrying.retry_failed(conn) == []
    found = [queue.job(conn, job_id) for job_id in (done, running, cancelled)]
    assert [job.state for job in found if job] == ["done", "running", "cancelled"]
    assert waiting(conn) == []


def test_progress_never_goes_backwards(conn: Connection[Any]) -> None:
    """A window that failed after pages, is queued again and read with fewer pages, takes nothing back."""
    job_id = planned_job(conn, ["landed", "failed"])
    conn.execute("UPDATE lake.job_window SET pages = 3, rows = 1200")
    shown = [progress(conn, job_id)]
    retrying.retry_failed(conn, job_id)
    shown.append(progress(conn, job_id))
    conn.execute("UPDATE lake.job_window SET state = 'running', attempts = attempts + 1 WHERE state = 'queued'")
    shown.append(progress(conn, job_id))
    conn.execute("UPDATE lake.job_window SET state = 'landed' WHERE state = 'running'")
    shown.append(progress(conn, job_id))
    assert shown == [(1, 6, 2400), (1, 6, 2400), (1, 6, 2400), (2, 6, 2400)]


def test_a_job_says_what_failed_and_what_to_do(conn: Connection[Any]) -> None:
    """Instruments and windows that failed, in one line, with the command that shows and the one that repeats."""
    job_id = planned_job(conn, ["landed", "failed"])
    errors = '{"errors": [{"secid": "XXXX", "message": "XXXX: no such"}]}'
    conn.execute(
        "UPDATE lake.job SET error = 'merge failed 4 times: x', report = %s::jsonb, params = %s",
        (errors, Jsonb({"instruments": ["XXXX", "SBER"]})),
    )
    queue.settle(conn)
    job = queue.job(conn, job_id)
    assert job is not None
    assert job.why_failed == (
        "1 of 2 instruments failed: XXXX: no such; 1 of 2 windows failed; "
        "merge failed 4 times: x. "
        f"See `lakehouse jobs show {job_id}`, then: lakehouse jobs retry {job_id}"
    )
    done = queue.job(conn, planned_job(conn, ["landed"]))
    assert done is not None
    assert done.why_failed is None


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


def test_what_is_named_twice_is_read_once() -> None:
    """Tickers and timeframes count once, in the order named; a board is kept with its ticker."""
    request = IngestRequest.parse(
        {"instruments": ["SBER", "GAZP@smal", "SBER", "GAZP@SMAL"], "timeframes": ["1h", "1d", "1h"]}
    )
    assert request.instruments == ["SBER", "GAZP@SMAL"]
    assert request.timeframes == [Timeframe.HOUR, Timeframe.DAY]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "^request: must be an object with .* instruments, timeframes, from, till, reread, held, was None$"),
        ([], r"^request: must be an object with the fields .*, was \[\]$"),
        ({}, "^instruments: is missing$"),
        ({"instruments": []}, "^instruments: is empty: name at least one$"),
        ({"instruments": "SBER"}, "^instruments: must be a list, was 'SBER'$"),
        ({"instruments": {"SBER": 1}}, "^instruments: must be a list, was {'SBER': 1}$"),
        ({"instruments": [7]}, "^instruments.0: must be a text, was 7$"),
        ({"instruments": [None, ["SBER"]]}, r"^instruments.0: must be a text, was None; instruments.1: must be a text"),
        ({"instruments": ["SBER"] * 10_000}, "^instruments: 10,000 were given, at most 1,000 are taken at once: split"),
        ({"instruments": ["a b"] * 900}, "^instruments.0: 'a b' is not .*; instruments.4: .*; and 895 more in 'instr"),
        ({"instruments": ["SBER", "a b"]}, "^instruments.1: 'a b' is not a ticker: use the exchange's SECID"),
        ({"instruments": ["x" * 9999]}, r"^instruments.0: 'x{40}\.\.\.' is not a ticker: use"),
        ({"instruments": ["SBER@"]}, "^instruments.0: 'SBER@' names no board: write SECID@BOARD, such as SBER@TQBR"),
        ({"instruments": ["SBER@A@B"]}, "^instruments.0: 'SBER@A@B' names no board"),
        ({"instruments": ["@TQBR"]}, "^instruments.0: '' is not a ticker"),
        ({"instruments": ["SBER"], "timeframes": []}, "^timeframes: is empty: name at least one$"),
        (
            {"instruments": ["SBER"], "timeframes": ["5m"]},
            "^timeframes.0: timeframe '5m' is not one of 1m, 10m, 1h, 1d,",
        ),
        ({"instruments": ["SBER"], "timeframes": [24]}, "^timeframes.0: a timeframe is a text, one of 1m, 10m"),
        ({"instruments": ["SBER"], "from": "yesterday"}, "^from: 'yesterday' is not a date: write YYYY-MM-DD$"),
        ({"instruments": ["SBER"], "from": "2024-02-30"}, "^from: there is no day 2024-02-30$"),
        ({"instruments": ["SBER"], "from": "0000-01-01"}, "^from: there is no day 0000-01-01$"),
        ({"instruments": ["SBER"], "from": 20240101}, "^from: 20240101 is not a date: write YYYY-MM-DD$"),
        ({"instruments": ["SBER"], "from": "1704067200"}, "^from: '1704067200' is not a date: write YYYY-MM-DD$"),
        ({"instruments": ["SBER"], "till": True}, "^till: True is not a date: write YYYY-MM-DD$"),
        ({"instruments": ["SBER"], "from": "1989-12-31"}, "^request: from 1989-12-31 lies before 1990-01-01: the exch"),
        ({"instruments": ["SBER"], "till": "1989-12-31"}, "^request: till 1989-12-31 lies before 1990-01-01: the exch"),
        (
            {"instruments": ["SBER"], "till": "9999-12-31"},
            "^request: till 9999-12-31 lies after 2999-12-31: leave till",
        ),
        (
            {"instruments": ["SBER"], "from": "2024-01-02", "till": "2024-01-01"},
            "^request: till 2024-01-01 lies before from 2024-01-02: swap them$",
        ),
        (
            {"instruments": ["SBER"], "reread": True},
            "^request: a re-read needs from: say the first date to read again$",
        ),
        ({"instruments": ["SBER"], "reread": "yes"}, "^reread: must be true or false, was 'yes'$"),
        (
            {"instruments": ["SBER"], "form": "2024-01-01"},
            "^form: there is no such field; the fields are instruments, timeframes, from, till, reread, held$",
        ),
        ({"instruments": ["SBER"], "a\0b": 1}, r"^'a\\x00b': there is no such field"),
        ({"instruments": [""], "till": "x"}, "^instruments.0: '' is not a ticker.*; till: 'x' is not a date"),
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


def landed_object(conn: Connection[Any]) -> None:
    """Put the object of the first window into the ledger, unmerged."""
    conn.execute(
        """
        INSERT INTO lake.bronze_object (object_key, family, engine, market, board, secid, timeframe, span, complete,
            fetched_at, rows, pages, end_proof)
        VALUES ('iss/0', 'candles', 'stock', 'shares', 'TQBR', 'SBER', '1d', '[2024-01-01,2024-02-01)', true,
            now(), 1, 1, 'empty page')
        """
    )


def progress(conn: Connection[Any], job_id: int) -> tuple[int, int, int]:
    """Return what a job shows: windows done, pages and rows."""
    job = queue.job(conn, job_id)
    assert job is not None
    return job.windows_done, job.pages, job.rows


def states(conn: Connection[Any], job_id: int) -> list[str]:
    """Return the states of a job's windows in the order they were planned."""
    rows = conn.execute("SELECT state FROM lake.job_window WHERE job_id = %s ORDER BY window_id", (job_id,))
    return [state for (state,) in rows]


def waiting(conn: Connection[Any]) -> list[tuple[Any, ...]]:
    """Return what waits in the queue: its queue, task and arguments."""
    return conn.execute(
        "SELECT queue_name, task_name, args FROM procrastinate_jobs WHERE status = 'todo' ORDER BY id"
    ).fetchall()
