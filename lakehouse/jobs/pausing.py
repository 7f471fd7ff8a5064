"""
Putting off what cannot be done now, which fails nothing.

While the exchange does not answer the queue is paused; what a function has no time for, the next call of it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from psycopg import Connection

from lakehouse.bronze.context import TimeIsUp
from lakehouse.database import breaker
from lakehouse.database.breaker import BreakerOpen
from lakehouse.jobs.queue import enqueue, hasten

log = structlog.get_logger()

_SOON_S = 1.0


def is_paused(conn: Connection[Any]) -> bool:
    """Return whether nobody may ask the exchange at present, not even whether it is back."""
    found = breaker.state(conn)
    return found.is_open and not found.is_due


@contextmanager
def put_off_when_paused(conn: Connection[Any], task: str, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Run the block; if it meets the open breaker, or its time is up, queue *task* again for when it may go on."""
    try:
        yield
    except (BreakerOpen, TimeIsUp):
        put_off(conn, task, arguments)


def put_off(conn: Connection[Any], task: str, arguments: Mapping[str, Any]) -> None:
    """Queue *task* again for when the exchange may be asked, soon if that is now."""
    wait_s = max(breaker.state(conn).wait_s, _SOON_S)
    enqueue(conn, task, dict(arguments), after_s=wait_s)
    log.info("jobs.put_off", task=task, wait_s=round(wait_s, 1), **arguments)


def put_off_windows(conn: Connection[Any], job_id: int, window_ids: Sequence[int]) -> None:
    """Let windows wait again that could not be read at present: that was no attempt. Those of a cancelled job go."""
    with conn.transaction():
        waiting = conn.execute(
            """
            UPDATE lake.job_window w SET updated_at = now(), attempts = greatest(attempts - 1, 0),
                state = CASE WHEN j.cancel_requested THEN 'cancelled' ELSE 'queued' END
            FROM lake.job j WHERE w.window_id = ANY(%s) AND w.state = 'running' AND j.job_id = w.job_id
            RETURNING w.window_id, w.state
            """,
            (list(window_ids),),
        ).fetchall()
        if ids := sorted(window_id for window_id, state in waiting if state == "queued"):
            put_off(conn, "fetch", {"job_id": job_id, "window_ids": ids})


def resume(conn: Connection[Any]) -> bool:
    """Ask the exchange again at once, by hand; return whether anything was paused."""
    with conn.transaction():
        was_open = breaker.close(conn)
        hasten(conn)
    return was_open
