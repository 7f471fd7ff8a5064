"""``GET /v1/jobs`` and ``GET /v1/jobs/{id}``: what is done, how far it is, and what became of its rows."""

from __future__ import annotations

from typing import Any

from chalice.app import Request, Response
from psycopg import Connection

from functions.answers import NotFound, answer
from functions.requests import integer_of, no_others, shown_path
from lakehouse.database import breaker
from lakehouse.jobs import queue, redriving
from lakehouse.jobs.conservation import account
from lakehouse.jobs.job import Job


def read_jobs(conn: Connection[Any], request: Request) -> Response:
    """Return the newest jobs, and what holds them up."""
    no_others(request, "limit")
    limit = integer_of(request, "limit", 50, 1, 500)
    paused = breaker.state(conn).paused
    found = [_shown(job) for job in queue.jobs(conn, limit)]
    return answer({"jobs": found, "paused": paused, "dead_letters": redriving.count_dead(conn)})


def read_job(conn: Connection[Any], job_id: str) -> Response:
    """Return a job with its windows, its steps and their rows, to the row; raise NotFound if there is none."""
    found = job_named(conn, job_id)
    steps = queue.steps_of(conn, found)
    return answer(
        {
            **_shown(found),
            "paused": breaker.state(conn).paused,
            **account(steps),
            "windows": queue.windows(conn, found.job_id),
            "steps": steps,
        }
    )


def job_named(conn: Connection[Any], job_id: str) -> Job:
    """Return the job that a part of a path names; raise NotFound if there is none."""
    found = queue.job(conn, int(job_id)) if job_id.isascii() and job_id.isdigit() and len(job_id) < 18 else None
    if found is None:
        raise NotFound(f"there is no job {shown_path(job_id)}")
    return found


def _shown(job: Job) -> dict[str, Any]:
    return {**vars(job), "seconds_left": job.seconds_left, "why_failed": job.why_failed}
