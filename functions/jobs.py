"""Jobs: what is done, how far it is, what became of its rows; queueing, cancelling and retrying them."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from psycopg import Connection
from pydantic import Field

from functions import context
from functions.answers import NotFound
from functions.models import DIGITS, Answered, Parameters
from functions.operation import Call, operation
from functions.requests import shown_path
from lakehouse.access.roles import Role
from lakehouse.database import breaker
from lakehouse.jobs import queue, redriving, retrying
from lakehouse.jobs.conservation import account
from lakehouse.jobs.job import Job, JobWindow
from lakehouse.market.errors import BadInput

_NO_JOB = {404: "there is no such job"}
_JOB_ID = {"job_id": "The job's number"}


class JobsQuery(Parameters):
    limit: Annotated[int, Field(ge=1, le=500), DIGITS] = 50


class JobShown(Answered):
    job_id: int
    kind: str
    state: Annotated[str, Field(description="queued, running, cancelling, cancelled, done or failed")]
    requested_by: str
    params: Annotated[dict[str, Any], Field(description="What was asked")]
    report: dict[str, Any]
    error: str | None
    created_at: dt.datetime
    started_at: dt.datetime | None
    planned_at: dt.datetime | None
    finished_at: dt.datetime | None
    windows_total: int
    windows_done: int
    windows_failed: int
    windows_cancelled: int
    windows_merged: int
    windows_published: int
    pages: int
    rows: int
    seconds_left: float | None
    why_failed: Annotated[str | None, Field(description="What went wrong and what to do")]


class Jobs(Answered):
    jobs: list[JobShown]
    paused: Annotated[Any, Field(description="Why nothing is asked of the exchange at present; null if it is")]
    dead_letters: Annotated[int, Field(description="Messages that were given up")]


class JobWhole(JobShown):
    paused: Any
    conservation: list[dict[str, Any]]
    verdict: Annotated[str, Field(description="Whether all rows received are accounted for")]
    windows: list[JobWindow]
    steps: list[dict[str, Any]]


class JobQueued(Answered):
    job_id: int


class JobState(Answered):
    job_id: int
    state: str


@operation(
    Role.ADMIN, "queue an ingest", action="ingest", body=queue.IngestRequest, answers={202: JobQueued}, wakes=True
)
def ingest(call: Call) -> object:
    """Queue the reading of instruments from the exchange; the job tells how far it is."""
    request: queue.IngestRequest = call.body
    job_id = queue.submit_ingest(call.conn, request, call.user.name)
    detail = {**request.model_dump(mode="json", by_alias=True), "job_id": job_id}
    call.audit(" ".join(request.instruments)[:200] or "all held", detail, "queued")
    return {"job_id": job_id}


@operation(Role.ANALYST, "list jobs", parameters=JobsQuery, answers={200: Jobs})
def read_jobs(call: Call) -> object:
    """Return the newest jobs, and what holds them up."""
    return {
        "jobs": [_shown(job) for job in queue.jobs(call.conn, call.parameters.limit)],
        "paused": breaker.state(call.conn).paused,
        "dead_letters": redriving.count_dead(call.conn),
    }


@operation(Role.ANALYST, "read a job", path=_JOB_ID, answers={200: JobWhole}, refuses=_NO_JOB)
def read_job(call: Call) -> object:
    """Return a job with its windows, its steps and their rows, to the row."""
    found = job_named(call.conn, call.path["job_id"])
    steps = queue.steps_of(call.conn, found)
    return {
        **_shown(found),
        "paused": breaker.state(call.conn).paused,
        **account(steps),
        "windows": queue.windows(call.conn, found.job_id),
        "steps": steps,
    }


@operation(
    Role.ADMIN, "cancel a job", action="cancel", path=_JOB_ID, answers={200: JobState}, refuses=_NO_JOB, wakes=True
)
def cancel(call: Call) -> object:
    """Ask a job to stop: it says `cancelled` when nothing of it runs any more."""
    job_id = job_named(call.conn, call.path["job_id"]).job_id
    state = queue.cancel(call.conn, job_id)
    call.audit(f"job {job_id}", {}, state)
    return {"job_id": job_id, "state": state}


@operation(
    Role.ADMIN, "retry a job", action="retry", path=_JOB_ID, answers={202: JobState}, refuses=_NO_JOB, wakes=True
)
def retry(call: Call) -> object:
    """Do again what of a job failed."""
    job_id = job_named(call.conn, call.path["job_id"]).job_id
    if not retrying.retry_failed(call.conn, job_id):
        raise BadInput(f"nothing of job {job_id} failed: nothing to retry")
    call.audit(f"job {job_id}", {}, "queued")
    return {"job_id": job_id, "state": "running"}


@operation(Role.ADMIN, "put back dead letters", action="redrive", is_atomic=False, answers={202: redriving.Redriven})
def redrive(call: Call) -> object:
    """Put back all that was given up."""

    def note(done: redriving.Redriven) -> None:
        call.audit(str(done)[:200], {"jobs": done.jobs}, "queued")

    return redriving.redrive(call.conn, context.wakes(), note)


def job_named(conn: Connection[Any], job_id: str) -> Job:
    """Return the job that a part of a path names; raise NotFound if there is none."""
    found = queue.job(conn, int(job_id)) if job_id.isascii() and job_id.isdigit() and len(job_id) < 18 else None
    if found is None:
        raise NotFound(f"there is no job {shown_path(job_id)}")
    return found


def _shown(job: Job) -> dict[str, Any]:
    return {**vars(job), "seconds_left": job.seconds_left, "why_failed": job.why_failed}
