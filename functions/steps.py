"""
The steps of the chain behind the queues.

On AWS a message only wakes: it names a row of PostgreSQL's queue, which is claimed here. The platform's own worker has
claimed the row already and hands over what the step needs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from chalice.app import SQSEvent

from functions import context
from lakehouse.bronze.fetch import FetchContext
from lakehouse.jobs import claiming, fetching, increments, planning, recovery, schedules

TimeLeft = Callable[[], float]


def serve(event: SQSEvent) -> None:
    """
    Run the step of each record.

    Raises:
        Exception: what a step raised, so that SQS hides the message and brings it again; its row waits already.
    """
    time_left_s = _time_left(event.context)
    steps = {name: partial(step, time_left_s) for name, step in STEPS.items()}
    try:
        for record in event:
            body = json.loads(record.body)
            if "step" in body:
                steps[body["step"]](body["arguments"])
            else:
                claiming.work_off(context.dsn(), body["message_id"], steps)
    finally:
        context.wake()


def _time_left(lambda_context: Any) -> TimeLeft:
    """Return what tells the seconds until Lambda ends the call; elsewhere a call has no end."""
    if lambda_context is None:
        return lambda: math.inf
    return lambda: float(lambda_context.get_remaining_time_in_millis()) / 1000


def _fetching(time_left_s: TimeLeft) -> FetchContext:
    found = context.fetching()
    return found if time_left_s() == math.inf else replace(found, time_left_s=time_left_s)


def _ingest(time_left_s: TimeLeft, arguments: dict[str, Any]) -> None:
    planning.plan_ingest(_fetching(time_left_s), arguments["job_id"])


def _fetch(time_left_s: TimeLeft, arguments: dict[str, Any]) -> None:
    scheduler = context.settings().dask_scheduler
    fetching.fetch_batch(_fetching(time_left_s), arguments["job_id"], arguments["window_ids"], scheduler)


def _increment(time_left_s: TimeLeft, arguments: dict[str, Any]) -> None:
    increments.run_increment(context.fetching(), arguments)


def _reconcile(time_left_s: TimeLeft, arguments: dict[str, Any]) -> None:
    with context.pool().connection() as conn:
        found = recovery.recover(conn, context.store())
        missed = len(found.recorded) + len(found.uploads)
        told = f"{missed} objects had not been heard of" if missed else "nothing was missed"
        schedules.finish(conn, arguments, f"{told}; {len(found.lost)} are lost" if found.lost else told)


STEPS: dict[str, Callable[[TimeLeft, dict[str, Any]], None]] = {
    "ingest": _ingest,
    "fetch": _fetch,
    "increment": _increment,
    "forming": _increment,
    "reconcile": _reconcile,
}
