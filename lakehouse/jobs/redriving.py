"""Dead letters: what was given up in the queue, and putting it back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection, errors
from psycopg.rows import class_row

from lakehouse.jobs.attempts import SHARED
from lakehouse.jobs.retrying import retry_failed
from lakehouse.jobs.waking import QUEUES, Wakes


@dataclass(frozen=True)
class DeadLetter:
    """A message of the queue that was given up; *failed_at* is None where it was before this was written down."""

    message_id: int
    task: str
    arguments: dict[str, Any]
    attempts: int
    reason: str
    failed_at: dt.datetime | None

    def __str__(self) -> str:
        whose = self.arguments.get("job_id") or self.arguments.get("station") or self.arguments.get("due_at")
        named = f"{self.task} of job {whose}" if "job_id" in self.arguments else f"{self.task} {whose or ''}".rstrip()
        return f"{named}: {self.reason}"


@dataclass
class Redriven:
    """
    What was put back.

    Attributes:
        letters: What had been given up; of a job, its windows and planning wait again instead of the message.
        jobs: Jobs that go on.
        taken_from_sqs: Wakes that functions had not been able to take, from the dead-letter queues of SQS.
        woken_again: Those of them whose message still waits; the others' was done, or is being done.
    """

    letters: list[DeadLetter] = field(default_factory=list)
    jobs: list[int] = field(default_factory=list)
    taken_from_sqs: int = 0
    woken_again: int = 0

    def __str__(self) -> str:
        said = [f"{len(self.letters)} dead letters put back" if self.letters else "nothing had been given up"]
        if self.jobs:
            said.append(f"jobs that go on: {', '.join(map(str, self.jobs))}")
        if self.taken_from_sqs:
            said.append(
                f"{self.taken_from_sqs} taken from SQS's dead-letter queues, {self.woken_again} of them woken again"
            )
        return "; ".join(said)


def dead_letters(conn: Connection[Any]) -> list[DeadLetter]:
    """Return what was given up, oldest first."""
    with conn.cursor(row_factory=class_row(DeadLetter)) as cursor:
        return cursor.execute(
            """
            SELECT j.id AS message_id, j.task_name AS task, j.args AS arguments, j.attempts,
                coalesce(d.reason, 'no reason was written down') AS reason, d.failed_at
            FROM procrastinate_jobs j LEFT JOIN lake.dead_letter d ON d.message_id = j.id
            WHERE j.status = 'failed' ORDER BY j.id
            """
        ).fetchall()


def count_dead(conn: Connection[Any]) -> int:
    """Return how many dead letters there are in PostgreSQL."""
    row = conn.execute("SELECT count(*) FROM procrastinate_jobs WHERE status = 'failed'").fetchone()
    return int(row[0]) if row else 0


def redrive(
    conn: Connection[Any], wakes: Wakes | None = None, note: Callable[[Redriven], None] = lambda done: None
) -> Redriven:
    """
    Put back all that was given up, and empty SQS's dead-letter queues, if there are any.

    Jobs that were given up go on as by a retry. To be called outside a transaction: wakes follow the commit. *note*
    writes down in the same transaction what is put back.
    """
    done = Redriven()
    with conn.transaction():
        done.letters = dead_letters(conn)
        for job_id in _jobs_of(conn, done.letters):
            done.jobs += retry_failed(conn, job_id)
        for letter in done.letters:
            _put_back(conn, letter)
        note(done)
    if wakes is not None:
        _empty(conn, wakes, done)
        wakes.send(conn)
    return done


def _jobs_of(conn: Connection[Any], letters: Sequence[DeadLetter]) -> list[int]:
    named = {int(letter.arguments["job_id"]) for letter in letters if "job_id" in letter.arguments}
    if any(letter.task in SHARED for letter in letters):
        rows = conn.execute("SELECT job_id FROM lake.job WHERE state = 'failed' AND error IS NOT NULL").fetchall()
        named |= {row[0] for row in rows}
    return sorted(named)


def _put_back(conn: Connection[Any], letter: DeadLetter) -> None:
    """Let a message wait again as if it had never been tried; one of a job is gone: the job's new ones stand for it."""
    if "job_id" in letter.arguments:
        conn.execute("DELETE FROM procrastinate_jobs WHERE id = %s AND status = 'failed'", (letter.message_id,))
        return
    conn.execute("DELETE FROM lake.dead_letter WHERE message_id = %s", (letter.message_id,))
    conn.execute(
        """
        UPDATE lake.schedule_run SET finished_at = NULL, outcome = NULL, has_failed = false
        WHERE name = %(schedule)s AND due_at = %(due_at)s::timestamptz
        """,
        {"schedule": letter.arguments.get("schedule"), "due_at": letter.arguments.get("due_at")},
    )
    try:
        with conn.transaction():
            conn.execute(
                """
                UPDATE procrastinate_jobs SET status = 'todo', attempts = 0, scheduled_at = NULL, worker_id = NULL
                WHERE id = %s AND status = 'failed'
                """,
                (letter.message_id,),
            )
    except errors.UniqueViolation:  # the same step waits already
        conn.execute("DELETE FROM procrastinate_jobs WHERE id = %s", (letter.message_id,))


def _empty(conn: Connection[Any], wakes: Wakes, done: Redriven) -> None:
    for name in QUEUES:
        for message_id, receipt in wakes.dead(name):
            done.taken_from_sqs += 1
            waits = conn.execute(
                "SELECT FROM procrastinate_jobs WHERE id = %s AND status = 'todo'", (message_id,)
            ).fetchone()
            if waits is not None:
                conn.execute("DELETE FROM lake.wake WHERE message_id = %s", (message_id,))
                done.woken_again += 1
            wakes.delete_dead(name, receipt)
