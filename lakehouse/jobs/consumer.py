"""Workers: processes that take messages from the queue and run a function for each (Procrastinate)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import structlog
from procrastinate import App, RetryStrategy
from procrastinate.exceptions import ConnectorException
from procrastinate.job_context import JobContext
from psycopg import Connection

from lakehouse.database.connection import connect
from lakehouse.database.outage import DatabaseAway, close_shared, connect_patiently, is_outage, shared
from lakehouse.jobs.attempts import ATTEMPTS, give_up, through_outages
from lakehouse.jobs.attempts import Step as Step
from lakehouse.jobs.claiming import give_up_unwritten, put_back_dead
from lakehouse.jobs.connector import PATIENCE_S, SteadyConnector
from lakehouse.jobs.queue import QUEUE
from lakehouse.jobs.running import running
from lakehouse.storage.space import is_full

log = structlog.get_logger()

_HEARTBEAT_S = 5
_DEAD_AFTER_S = 20
_HEARD: LiteralString = """
    INSERT INTO lake.worker_heard (queue) VALUES (%(queue)s) ON CONFLICT (queue) DO UPDATE SET heard_at = now()
"""


def consume(
    dsn: str,
    queue: str,
    steps: Mapping[str, Step],
    concurrency: int = 1,
    patience_s: float = PATIENCE_S,
    alive: Path | None = None,
) -> None:
    """
    Run the steps of *queue* until SIGTERM or SIGINT.

    A step that fails is tried again after 2, 4 and 8 s; when it has failed for good, the jobs that wait for it say why.
    Messages of workers that died are taken up at the start and every few seconds.

    A database that goes away is waited for, and steps that met that are run again: no attempt of theirs.

    Args:
        alive: File touched every few seconds while the worker lives and reaches its database (lakehouse/probe.py).

    Raises:
        DatabaseAway: when it has not come back after *patience_s*.
    """
    connect_patiently(dsn, patience_s=patience_s).close()
    connector = SteadyConnector(dsn, concurrency + 3, patience_s)
    app = App(connector=connector)
    for name, step in steps.items():
        if QUEUE[name] != queue:
            raise ValueError(f"step {name} belongs to queue {QUEUE[name]}, not {queue}")
        retry = RetryStrategy(max_attempts=ATTEMPTS - 1, exponential_wait=2)
        app.task(name=name, queue=queue, retry=retry, pass_context=True)(_guarded(dsn, step, patience_s))
    try:
        asyncio.run(_work(dsn, app, connector, queue, concurrency, alive))
    finally:
        close_shared()
    if connector.given_up:  # found by a side task, which only stops the worker
        raise connector.given_up


async def _work(
    dsn: str, app: App, connector: SteadyConnector, queue: str, concurrency: int, alive: Path | None
) -> None:
    async with app.open_async():
        rescuer = asyncio.create_task(_rescue(dsn, connector, queue, alive))
        try:
            await app.run_worker_async(
                queues=[queue],
                concurrency=concurrency,
                delete_jobs="successful",
                fetch_job_polling_interval=2,
                update_heartbeat_interval=_HEARTBEAT_S,
                stalled_worker_timeout=_DEAD_AFTER_S,
            )
        finally:
            rescuer.cancel()


async def _rescue(dsn: str, connector: SteadyConnector, queue: str, alive: Path | None) -> None:
    """Put the messages of dead workers back into the queue, which Procrastinate leaves to us, and tell that we live."""

    def mend(conn: Connection[Any]) -> None:
        put_back_dead(conn, queue, _DEAD_AFTER_S)
        give_up_unwritten(conn, queue)

    while True:
        try:
            await connector.execute_query_async(_HEARD, queue=queue)
            _tell_that_we_live(alive)
            # While the database was away nobody could say that he lives: so one that is away now is not waited for
            if time.monotonic() - connector.back_at >= _DEAD_AFTER_S:
                with contextlib.suppress(DatabaseAway):
                    await asyncio.to_thread(shared(dsn, "lakehouse_app").run, mend, 0)
        except (ConnectorException, psycopg.Error) as error:
            if not is_full(error):  # else it is tried again until there is room
                raise
        await asyncio.sleep(_HEARTBEAT_S)


def _tell_that_we_live(alive: Path | None) -> None:
    # On a full disk the file grows old, and the health check says so
    if alive is not None:
        with contextlib.suppress(OSError):
            alive.touch()


def _guarded(dsn: str, step: Step, patience_s: float) -> Callable[..., None]:
    def run(context: JobContext, **arguments: Any) -> None:
        with running(dsn, context.job.task_name, context.job.id, arguments):
            try:
                through_outages(dsn, step, arguments, patience_s)
            except Exception as error:
                if is_outage(error):
                    raise
                name, attempt = context.job.task_name, context.job.attempts + 1
                log.exception("jobs.step_failed", task=name, attempt=attempt, of=ATTEMPTS, **arguments)
                if attempt >= ATTEMPTS:
                    with connect(dsn, "lakehouse_app") as conn:
                        give_up(conn, context.job.id, name, f"{name} failed {attempt} times: {error}", arguments)
                raise

    return run


def forget_dead_workers(dsn: str, queue: str | None = None) -> None:
    """
    Forget all workers, at a start when none can be alive, so that their messages are taken up at once.

    With *queue*, only those that had taken messages of it. Call it only where one supervisor owns all workers of the
    database but functions: those are found when their heart has stopped.
    """
    with connect(dsn) as conn:
        if queue is None:  # all were stopped, and a stop is not what `put_back_dead` counts: it counts from here on
            conn.execute(
                """
                INSERT INTO procrastinate_events (job_id, type) SELECT id, 'retried' FROM procrastinate_jobs j
                WHERE status = 'doing' AND NOT EXISTS (
                    SELECT FROM lake.function_worker f WHERE f.worker_id = j.worker_id)
                """
            )
        conn.execute(
            """
            DELETE FROM procrastinate_workers w WHERE NOT EXISTS (
                SELECT FROM lake.function_worker f WHERE f.worker_id = w.id)
            AND (%(queue)s::text IS NULL OR id IN (
                SELECT worker_id FROM procrastinate_jobs WHERE status = 'doing' AND queue_name = %(queue)s))
            """,
            {"queue": queue},
        )
