"""How often a step is tried, what happens between, and what is written down when it is given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psycopg import Connection

from lakehouse.database.outage import connect_patiently, is_outage
from lakehouse.jobs.queue import fail_unfinished, one_line
from lakehouse.market.errors import LakehouseError

Step = Callable[[dict[str, Any]], None]

ATTEMPTS = 4
# Steps that every job waits for (`queue.settle`): their failing fails all, that of another step only the job it names
SHARED = ("merge", "publish")
# A step that the database goes away from so often may be what brings it down
_OUTAGES = 5


def wait_s(attempt: int) -> int:
    """Return how long a step that failed for the *attempt*-th time waits: 2, 4, 8 s, as Procrastinate does it."""
    return int(2**attempt)


def through_outages(dsn: str, step: Step, arguments: dict[str, Any], patience_s: float) -> None:
    """
    Run *step*; when the database went away meanwhile, wait for it and run it again: that is no attempt.

    Raises:
        DatabaseAway: when it has not come back after *patience_s*.
        LakehouseError: when it went away five times.
    """
    for _ in range(_OUTAGES):
        try:
            step(arguments)
        except Exception as error:
            if not is_outage(error):
                raise
            last = str(error)
            connect_patiently(dsn, patience_s=patience_s).close()
        else:
            return
    raise LakehouseError(f"the database went away {_OUTAGES} times while this ran, lastly: {last}; see its log")


def give_up(conn: Connection[Any], message_id: int | None, task: str, reason: str, arguments: dict[str, Any]) -> None:
    """Write down that a message is a dead letter, and why: beside it, in the jobs that wait for it, in its schedule."""
    with conn.transaction():
        if message_id is not None:
            conn.execute(
                """
                INSERT INTO lake.dead_letter (message_id, reason) SELECT id, %s FROM procrastinate_jobs WHERE id = %s
                ON CONFLICT (message_id) DO UPDATE SET reason = excluded.reason, failed_at = now()
                """,
                (one_line(reason), message_id),
            )
        if "schedule" in arguments:
            conn.execute(
                """
                UPDATE lake.schedule_run SET finished_at = now(), outcome = %s, has_failed = true
                WHERE name = %s AND due_at = %s
                """,
                (one_line(reason), arguments["schedule"], arguments["due_at"]),
            )
        elif "job_id" in arguments or task in SHARED:
            fail_unfinished(conn, reason, arguments.get("job_id"))
