"""One run of a step, whoever runs it: its seconds and its outcome are counted, and its log lines say whose they are."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

from lakehouse.database.counters import tally, took
from lakehouse.database.outage import is_outage

log = structlog.get_logger()


@contextmanager
def running(dsn: str, step: str, message_id: int | None, arguments: Mapping[str, Any]) -> Iterator[None]:
    """
    Run the block as one run of *step*.

    Every line that is logged in it carries the step, an id of this run, the message it is for, and the job if there is
    one. How it ended is counted: done, failed, or interrupted by a database that went away.
    """
    run_id = f"{step}-{uuid.uuid4().hex[:12]}"
    whose = {"job_id": arguments["job_id"]} if "job_id" in arguments else {}
    began, outcome = time.monotonic(), "done"
    with structlog.contextvars.bound_contextvars(step=step, run_id=run_id, message_id=message_id, **whose):
        log.debug("jobs.step_begins")
        try:
            yield
        except Exception as error:
            outcome = "interrupted" if is_outage(error) else "failed"
            raise
        finally:
            seconds = time.monotonic() - began
            log.info("jobs.step_ends", outcome=outcome, seconds=round(seconds, 3))
            tally(dsn).count({("step_runs", step, outcome): 1, **took("step_seconds", seconds, step)})
