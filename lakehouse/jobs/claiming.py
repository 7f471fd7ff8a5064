"""
One message of the queue, worked off by one call of a function.

The call is a worker of Procrastinate's kind for as long as it lasts: registered, with a heart that beats. So
`put_back_dead` finds the messages of whoever died, whoever asks: the platform's own workers, or the tick of functions.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import structlog
from psycopg import Connection, errors
from psycopg.rows import class_row

from lakehouse.database.outage import SharedConnection, is_outage, shared
from lakehouse.jobs.attempts import ATTEMPTS, Step, give_up, through_outages, wait_s
from lakehouse.jobs.running import running

log = structlog.get_logger()

_DEAD_AFTER_S = 60.0
# What brought down so many workers would bring down the next
_DEATHS = 2 * ATTEMPTS
_HEARTBEAT_S = 5.0
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Claimed:
    """A message that is ours alone."""

    message_id: int
    worker_id: int
    task: str
    arguments: dict[str, Any]
    attempt: int


def work_off(dsn: str, message_id: int, steps: Mapping[str, Step]) -> bool:
    """
    Run the step of a message that waits and is due; return False if there is none: another has it, or it is done.

    A step that fails is put back for 2, 4 and 8 s later, as the platform's own workers do, and given up after the last
    attempt; then what it raised is raised.
    """
    queue = shared(dsn, "lakehouse_app")
    claimed = queue.run(lambda conn: claim(conn, message_id), _PATIENCE_S)
    if claimed is None:
        return False
    with _beating(dsn, claimed.worker_id):
        with running(dsn, claimed.task, claimed.message_id, claimed.arguments):
            try:
                through_outages(dsn, steps[claimed.task], claimed.arguments, _PATIENCE_S)
            except Exception as error:
                _put_back(queue, claimed, error)
                raise
        queue.run(lambda conn: _finish(conn, claimed))
    return True


def claim(conn: Connection[Any], message_id: int) -> Claimed | None:
    """Take a message that waits and is due as a new worker; None if somebody else was faster, or it is not there."""
    with conn.transaction(), conn.cursor(row_factory=class_row(Claimed)) as cursor:
        # Locked first: no worker is made for a message that is not there to be had
        found = conn.execute(
            """
            SELECT FROM procrastinate_jobs WHERE id = %s AND status = 'todo'
                AND coalesce(scheduled_at, now()) <= now() + interval '1 second' FOR UPDATE SKIP LOCKED
            """,
            (message_id,),
        ).fetchone()
        if found is None:
            return None
        return cursor.execute(
            """
            WITH worker AS (
                INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id
            ), marked AS (
                INSERT INTO lake.function_worker SELECT id FROM worker
            ), woken AS (
                DELETE FROM lake.wake WHERE message_id = %(id)s
            )
            UPDATE procrastinate_jobs j SET status = 'doing', worker_id = worker.id FROM worker WHERE j.id = %(id)s
            RETURNING j.id AS message_id, worker.id AS worker_id, task_name AS task, args AS arguments,
                attempts + 1 AS attempt
            """,
            {"id": message_id},
        ).fetchone()


def put_back_dead(conn: Connection[Any], queue: str, dead_after_s: float = _DEAD_AFTER_S) -> int:
    """
    Let messages of *queue* wait again whose worker's heart has stopped; return how many there were.

    That is no failed attempt of theirs, but one that brought down eight workers is given up.
    """
    stalled = conn.execute(_STALLED, {"queue": queue, "dead_after_s": dead_after_s}).fetchall()
    for message_id, task, arguments, attempts, begun in stalled:
        with conn.transaction():
            if conn.execute(_STILL_DEAD, {"id": message_id, "dead_after_s": dead_after_s}).fetchone() is None:
                continue
            log.warning("jobs.message_of_dead_worker", task=task, id=message_id)
            # What was begun either failed, which is counted, or ended with its worker
            if (deaths := begun - attempts) >= _DEATHS:
                _fail(conn, message_id)
                give_up(conn, message_id, task, f"{task} ended its worker {deaths} times", arguments)
            else:
                _wait_again(conn, message_id, attempts, 0)
    return len(stalled)


def give_up_unwritten(conn: Connection[Any], queue: str) -> int:
    """
    Write down, of messages of *queue*, that they were given up where nobody could, as on a full disk; return how many.

    Else the jobs that wait for them would wait for ever, and no retry would find them.
    """
    with conn.transaction():
        unwritten = conn.execute(_UNWRITTEN, (queue,)).fetchall()
        for message_id, task, arguments, attempts in unwritten:
            log.warning("jobs.given_up_unwritten", task=task, id=message_id)
            reason = f"{task} failed {attempts} times, and why could not be written down: see the log"
            give_up(conn, message_id, task, reason, arguments)
    return len(unwritten)


_UNWRITTEN: LiteralString = """
    SELECT id, task_name, args, attempts FROM procrastinate_jobs j
    WHERE queue_name = %s AND status = 'failed' AND NOT EXISTS (
        SELECT FROM lake.dead_letter d WHERE d.message_id = j.id)
    ORDER BY id FOR UPDATE SKIP LOCKED"""
_DEAD: LiteralString = """
    status = 'doing' AND NOT EXISTS (SELECT FROM procrastinate_workers w
        WHERE w.id = j.worker_id AND w.last_heartbeat >= now() - make_interval(secs => %(dead_after_s)s))"""
# How often it was begun since it was put back by hand, if it was
_MESSAGES: LiteralString = """
    SELECT id, task_name, args, attempts, (
        SELECT count(*) FROM procrastinate_events e WHERE e.job_id = j.id AND e.type = 'started' AND NOT EXISTS (
            SELECT FROM procrastinate_events r WHERE r.job_id = j.id AND r.type = 'retried' AND r.id > e.id))::int
    FROM procrastinate_jobs j WHERE """
_STALLED = _MESSAGES + "queue_name = %(queue)s AND" + _DEAD
_STILL_DEAD = _MESSAGES + "id = %(id)s AND" + _DEAD + " FOR UPDATE SKIP LOCKED"


@contextmanager
def _beating(dsn: str, worker_id: int) -> Iterator[None]:
    """Keep the worker's heart beating in a thread while the block runs, on a connection of its own; then forget it."""
    connection, is_over = SharedConnection(dsn, "lakehouse_app"), threading.Event()

    def beat() -> None:
        while not is_over.wait(_HEARTBEAT_S):
            try:
                connection.run(lambda conn: conn.execute("SELECT procrastinate_update_heartbeat_v1(%s)", (worker_id,)))
            except Exception as error:
                if not is_outage(error):
                    raise

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        connection.close()
        shared(dsn, "lakehouse_app").run(
            lambda conn: conn.execute("DELETE FROM procrastinate_workers WHERE id = %s", (worker_id,))
        )


def _finish(conn: Connection[Any], claimed: Claimed) -> None:
    """Delete the message, as Procrastinate does what succeeded; unless it was taken for a dead worker's meanwhile."""
    conn.execute(
        "DELETE FROM procrastinate_jobs WHERE id = %s AND status = 'doing' AND worker_id = %s",
        (claimed.message_id, claimed.worker_id),
    )


def _put_back(queue: SharedConnection, claimed: Claimed, error: Exception) -> None:
    """Let a message wait whose step failed, or make it a dead letter; a database that is away leaves it to its end."""
    if is_outage(error):
        return
    log.exception("jobs.step_failed", task=claimed.task, attempt=claimed.attempt, of=ATTEMPTS, **claimed.arguments)

    def put_back(conn: Connection[Any]) -> None:
        with conn.transaction():
            if conn.execute(_OURS, (claimed.message_id, claimed.worker_id)).fetchone() is None:
                return
            if claimed.attempt >= ATTEMPTS:
                _fail(conn, claimed.message_id)
                reason = f"{claimed.task} failed {claimed.attempt} times: {error}"
                give_up(conn, claimed.message_id, claimed.task, reason, claimed.arguments)
            else:
                _wait_again(conn, claimed.message_id, claimed.attempt, wait_s(claimed.attempt))

    queue.run(put_back)


_OURS = "SELECT FROM procrastinate_jobs WHERE id = %s AND status = 'doing' AND worker_id = %s FOR UPDATE"


def _fail(conn: Connection[Any], message_id: int) -> None:
    conn.execute("SELECT procrastinate_finish_job_v1(%s, 'failed', false)", (message_id,))


def _wait_again(conn: Connection[Any], message_id: int, attempts: int, after_s: float) -> None:
    """Put a message back that failed *attempts* times; one of a kind of which another waits already is dropped."""
    try:
        with conn.transaction():
            conn.execute(
                """
                UPDATE procrastinate_jobs SET status = 'todo', attempts = %s, worker_id = NULL,
                    scheduled_at = now() + make_interval(secs => %s)
                WHERE id = %s
                """,
                (attempts, after_s, message_id),
            )
    except errors.UniqueViolation:
        conn.execute("DELETE FROM procrastinate_jobs WHERE id = %s", (message_id,))


def waiting(conn: Connection[Any], tasks: Sequence[str]) -> list[int]:
    """Return the messages of *tasks* that wait, oldest first."""
    rows = conn.execute(
        "SELECT id FROM procrastinate_jobs WHERE status = 'todo' AND task_name = ANY(%s) ORDER BY id", (list(tasks),)
    ).fetchall()
    return [row[0] for row in rows]
