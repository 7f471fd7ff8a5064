"""A function gives back what it has no time for, before Lambda ends it; the next one goes on there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from functions import context
from functions.app import fetch, ingest_step
from functions.embedded import queue_event
from lakehouse.bronze.context import HAND_BACK_S
from lakehouse.database.connection import connect
from lakehouse.jobs import fetching, queue
from lakehouse.jobs.claiming import waiting

pytestmark = pytest.mark.postgres
SHARES = ["SBER", "GAZP", "LKOH"]


class Lambda:
    """What Lambda tells a call of its time: enough for so many looks, then the last minute."""

    def __init__(self, looks: float) -> None:
        self.looks = looks

    def get_remaining_time_in_millis(self) -> int:
        self.looks -= 1
        return 600_000 if self.looks > 0 else int(HAND_BACK_S * 1000) - 1


class Deployed:
    """The handlers with a database and an exchange, each message handed to them as SQS does."""

    def __init__(self, conn: Connection[Any]) -> None:
        self.conn = conn

    def wake(self, handler: Any, task: str, looks: float = math.inf) -> int:
        """Wake *handler* for the messages of *task* that wait now; return how many."""
        found = waiting(self.conn, [task])
        self.conn.execute("UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE status = 'todo'")
        for message_id in found:
            handler(queue_event({"message_id": message_id}), Lambda(looks))
        return len(found)

    def windows(self, job_id: int) -> list[tuple[str, int]]:
        return [(window.state, window.attempts) for window in queue.windows(self.conn, job_id)]

    def progress(self, job_id: int) -> tuple[int, int, int]:
        job = queue.job(self.conn, job_id)
        assert job is not None
        return job.windows_done, job.pages, job.rows


@pytest.fixture
def deployed(dsn: str, simulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    """Return the handlers as a process of Lambda has them."""
    for name, value in {
        "DATABASE_URL": dsn,
        "DATA_DIR": str(tmp_path),
        "ISS_URL": simulator,
        "SOURCE": "simulator",
        "REQUESTS_PER_S": "0",
        "REQUESTS_IN_FLIGHT": "2",
    }.items():
        monkeypatch.setenv(f"LAKEHOUSE_{name}", value)
    forget()
    with connect(dsn) as conn:
        yield Deployed(conn)
    context.pool().close()
    forget()


def forget() -> None:
    for cached in (context.settings, context.pool, context.wakes):
        cached.cache_clear()


def submitted(deployed: Deployed, **asked: Any) -> int:
    request = queue.IngestRequest.parse({"instruments": ["SBER"], **asked})
    return queue.submit_ingest(deployed.conn, request, "anna")


@pytest.mark.parametrize("looks", [1, 6, 30])
def test_what_there_is_no_time_for_waits_again(deployed: Deployed, looks: int) -> None:
    """
    However early the time ends: no window fails or loses an attempt, and progress never goes backwards.

    One new message carries the rest, and the next call ends it: each window lies in Bronze once.
    """
    job_id = submitted(deployed, timeframes=["1m"], **{"from": "2026-05-01", "till": "2026-06-15"})
    deployed.wake(ingest_step, "ingest")
    shown = [deployed.progress(job_id)]
    while deployed.wake(fetch, "fetch", looks) and looks < 1000:
        shown.append(deployed.progress(job_id))
        states = deployed.windows(job_id)
        assert {state for state, _ in states} <= {"queued", "landed"}
        assert {attempts for state, attempts in states if state == "queued"} <= {0}
        (message,) = deployed.conn.execute(
            "SELECT args -> 'window_ids' FROM procrastinate_jobs WHERE task_name = 'fetch'"
        ).fetchall() or [([],)]
        assert len(message[0]) == sum(state == "queued" for state, _ in states)
        looks *= 6
    assert shown == sorted(shown)
    assert set(deployed.windows(job_id)) == {("landed", 1)}
    keys = deployed.conn.execute("SELECT object_key FROM lake.bronze_object WHERE family = 'candles'").fetchall()
    assert len(keys) == len(deployed.windows(job_id)) > 2


def test_planning_goes_on_where_time_ended(deployed: Deployed) -> None:
    """Instruments that were planned stay so; the job is planned when all are."""
    request = queue.IngestRequest.parse({"instruments": SHARES, "from": "2026-06-01"})
    job_id = queue.submit_ingest(deployed.conn, request, "anna")
    deployed.wake(ingest_step, "ingest", looks=4)
    job = queue.job(deployed.conn, job_id)
    assert job is not None
    planned = job.report["planned"]
    assert (0 < len(planned) < 3, job.planned_at, job.state) == (True, None, "running")
    assert deployed.wake(ingest_step, "ingest") == 1
    job = queue.job(deployed.conn, job_id)
    assert job is not None
    assert set(job.report["planned"]) == set(SHARES)
    assert job.planned_at is not None


def test_an_exchange_that_keeps_a_function_waiting_does_not_hold_it(deployed: Deployed) -> None:
    """A page that does not come is left in time: the window waits again."""
    job_id = submitted(deployed, **{"from": "2026-06-01"})
    deployed.wake(ingest_step, "ingest")
    deployed.conn.execute("DELETE FROM procrastinate_jobs")
    ids = [window.window_id for window in queue.windows(deployed.conn, job_id)]
    # So little that no page can come before it is over, though it is asked for
    hurried = replace(context.fetching(), time_left_s=Hurry())
    fetching.fetch_batch(hurried, job_id, ids)
    assert {state for state, _ in deployed.windows(job_id)} == {"queued"}
    assert len(waiting(deployed.conn, ["fetch"])) == 1


class Hurry:
    """Time enough to begin, and by the next look only what is kept for landing."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return 2 * HAND_BACK_S if self.looks % 2 else HAND_BACK_S / 2
