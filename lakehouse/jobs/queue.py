"""
What is to be done, as rows in PostgreSQL: names, submitting, progress, cancelling.

Light on purpose (psycopg and pydantic): functions and pages import this, workers the steps as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, LiteralString

from psycopg import Connection, errors
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from lakehouse.jobs.job import Job as Job
from lakehouse.jobs.job import JobWindow
from lakehouse.jobs.request import IngestRequest as IngestRequest
from lakehouse.market.errors import BadInput

# Queue of each step: `io` workers run the handlers, the `spark` worker runs one job at a time on a warm session.
QUEUE = {
    **dict.fromkeys(("ingest", "fetch", "landed", "increment", "forming", "reconcile"), "io"),
    **dict.fromkeys(("merge", "publish", "rebuild", "care"), "spark"),
}

# Windows of one message: what a cancelled or dead worker leaves behind, and what Dask fans out at once.
BATCH = 12
_LINE_CHARACTERS = 600
# The module and class in front of what a traceback ends with
_RAISED = re.compile(r"^[\w.]+\.(?=\w+(: |$))")


def enqueue(
    conn: Connection[Any], task: str, arguments: dict[str, Any], *, only_one: bool = False, after_s: float = 0
) -> bool:
    """
    Put *task* into its queue, in the caller's transaction, so that a row and its message appear together.

    With *only_one* nothing is added, and False returned, while the same task waits already: the one that waits will
    find the new work.
    """
    try:
        with conn.transaction():
            conn.execute(
                """
                SELECT procrastinate_defer_jobs_v1(ARRAY[ROW(
                    %s, %s, 0, NULL, %s, %s, CASE WHEN %s > 0 THEN now() + make_interval(secs => %s) END
                )]::procrastinate_job_to_defer_v1[])
                """,
                (QUEUE[task], task, task if only_one else None, Jsonb(arguments), after_s, after_s),
            )
    except errors.UniqueViolation:
        return False
    return True


def hasten(conn: Connection[Any], job_id: int | None = None) -> None:
    """Make the steps that ask the exchange due now that were put off, of one job or of all; a wake sent is too late."""
    conn.execute(
        """
        WITH hastened AS (
            UPDATE procrastinate_jobs SET scheduled_at = now()
            WHERE status = 'todo' AND scheduled_at > now() AND task_name IN ('ingest', 'fetch')
                AND (%(job_id)s::bigint IS NULL OR (args ->> 'job_id')::bigint = %(job_id)s)
            RETURNING id
        )
        DELETE FROM lake.wake w USING hastened h WHERE w.message_id = h.id
        """,
        {"job_id": job_id},
    )


def submit_ingest(conn: Connection[Any], request: IngestRequest, requested_by: str) -> int:
    """Queue an ingest; return its job id."""
    params = json.loads(request.model_dump_json(by_alias=True))
    with conn.transaction():
        row = conn.execute(
            """
            INSERT INTO lake.job (kind, state, requested_by, params) VALUES ('ingest', 'queued', %s, %s)
            RETURNING job_id
            """,
            (requested_by, Jsonb(params)),
        ).fetchone()
        if row is None:
            raise RuntimeError("INSERT ... RETURNING gave no row")
        job_id: int = row[0]
        enqueue(conn, "ingest", {"job_id": job_id})
    return job_id


_JOB: LiteralString = """
    SELECT j.job_id, j.kind, j.state, j.requested_by, j.params, coalesce(j.report, '{}') AS report, j.error,
        j.created_at, j.started_at, j.planned_at, j.finished_at,
        count(w.window_id)::int AS windows_total,
        count(*) FILTER (WHERE w.state = 'landed')::int AS windows_done,
        count(*) FILTER (WHERE w.state = 'failed')::int AS windows_failed,
        count(*) FILTER (WHERE w.state = 'cancelled')::int AS windows_cancelled,
        count(o.merged_at) FILTER (WHERE w.state = 'landed')::int AS windows_merged,
        count(o.published_at) FILTER (WHERE w.state = 'landed')::int AS windows_published,
        coalesce(sum(w.pages), 0)::int AS pages, coalesce(sum(w.rows), 0)::int AS rows
    FROM lake.job j LEFT JOIN lake.job_window w USING (job_id) LEFT JOIN lake.bronze_object o USING (object_key)
"""


def job(conn: Connection[Any], job_id: int) -> Job | None:
    """Return one job, or None."""
    with conn.cursor(row_factory=class_row(Job)) as cursor:
        return cursor.execute(_JOB + "WHERE j.job_id = %s GROUP BY j.job_id", (job_id,)).fetchone()


def jobs(conn: Connection[Any], limit: int = 50) -> list[Job]:
    """Return the newest jobs, newest first."""
    with conn.cursor(row_factory=class_row(Job)) as cursor:
        newest: LiteralString = "WHERE j.job_id IN (SELECT job_id FROM lake.job ORDER BY job_id DESC LIMIT %s) "
        return cursor.execute(_JOB + newest + "GROUP BY j.job_id ORDER BY j.job_id DESC", (limit,)).fetchall()


def windows(conn: Connection[Any], job_id: int, limit: int = 1000) -> list[JobWindow]:
    """Return the windows of a job: failed ones first, then in the order they were planned."""
    with conn.cursor(row_factory=class_row(JobWindow)) as cursor:
        return cursor.execute(
            """
            SELECT window_id, family, board, secid, timeframe, from_at, till_date, state, pages, rows, attempts, error
            FROM lake.job_window WHERE job_id = %s ORDER BY state = 'failed' DESC, window_id LIMIT %s
            """,
            (job_id, limit),
        ).fetchall()


def cancel(conn: Connection[Any], job_id: int) -> str:
    """
    Ask a job to stop; return its state.

    Windows that wait are cancelled at once, those being read stop at their next page. The job says `cancelled` only
    when nothing of it runs. Raises BadInput when there is no such job, or it is over.
    """
    with conn.transaction():
        row = conn.execute("SELECT state FROM lake.job WHERE job_id = %s FOR UPDATE", (job_id,)).fetchone()
        if row is None:
            raise BadInput(f"there is no job {job_id}")
        if row[0] in ("done", "failed", "cancelled"):
            raise BadInput(f"job {job_id} is over ({row[0]}): nothing to cancel")
        conn.execute(
            "UPDATE lake.job SET state = 'cancelling', cancel_requested = true WHERE job_id = %s",
            (job_id,),
        )
        conn.execute(
            "UPDATE lake.job_window SET state = 'cancelled', updated_at = now() WHERE job_id = %s AND state = 'queued'",
            (job_id,),
        )
        hasten(conn, job_id)  # its planning may have been put off, and must be told
        settle(conn, [job_id])
        state = conn.execute("SELECT state FROM lake.job WHERE job_id = %s", (job_id,)).fetchone()
    return str(state[0]) if state else "cancelled"


def settle(conn: Connection[Any], job_ids: Sequence[int] | None = None) -> list[int]:
    """
    Finish the jobs of which nothing is left to do; return their ids.

    A job is over when all its windows are, and all they landed is published. It failed if any window or instrument did.
    """
    rows = conn.execute(
        """
        WITH over AS (
            SELECT j.job_id, j.cancel_requested,
                EXISTS (SELECT FROM lake.job_window w WHERE w.job_id = j.job_id AND w.state = 'failed')
                    OR jsonb_array_length(coalesce(j.report -> 'errors', '[]')) > 0 AS has_failed
            FROM lake.job j
            WHERE (j.state = 'running' OR j.state = 'cancelling')
                AND (%(ids)s::bigint[] IS NULL OR j.job_id = ANY(%(ids)s))
                AND (j.planned_at IS NOT NULL OR j.cancel_requested AND j.started_at IS NULL)
                AND NOT EXISTS (
                    SELECT FROM lake.job_window w WHERE w.job_id = j.job_id AND w.state IN ('queued', 'running'))
                AND NOT EXISTS (
                    SELECT FROM lake.job_window w JOIN lake.bronze_object o USING (object_key)
                    WHERE w.job_id = j.job_id AND o.published_at IS NULL)
            FOR UPDATE OF j
        )
        UPDATE lake.job j SET finished_at = now(),
            state = CASE WHEN over.cancel_requested THEN 'cancelled' WHEN over.has_failed THEN 'failed' ELSE 'done' END
        FROM over WHERE j.job_id = over.job_id RETURNING j.job_id
        """,
        {"ids": list(job_ids) if job_ids is not None else None},
    ).fetchall()
    return [row[0] for row in rows]


def one_line(text: str) -> str:
    """
    Return what an error says in one line: of a text that holds a traceback, what was raised at its end.

    Spark's errors carry the traceback of the process that failed, and Java's behind it.
    """
    lines = text.splitlines()
    traces = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    if traces:
        raised = [line for line in lines[traces[-1] + 1 :] if line.strip() and not line[0].isspace()]
        failed = f"{lines[0].partition(': ')[0]}: " if traces[-1] else ""
        text = failed + _RAISED.sub("", raised[0]) if raised else lines[0]
    shown = " ".join(text.split())
    return shown if len(shown) <= _LINE_CHARACTERS else f"{shown[:_LINE_CHARACTERS]}..."


def fail_unfinished(conn: Connection[Any], reason: str, job_id: int | None = None) -> None:
    """Mark a job, or all jobs that wait for a step they share, as failed for *reason*, told in one line."""
    conn.execute(
        """
        UPDATE lake.job SET state = 'failed', finished_at = now(), error = concat_ws('; ', error, %s::text)
        WHERE state IN ('running', 'cancelling', 'queued') AND job_id = coalesce(%s, job_id)
        """,
        (one_line(reason), job_id),
    )


def steps_of(conn: Connection[Any], job_: Job) -> list[dict[str, Any]]:
    """Return what each station did while *job_* ran: step, run_id, started_at, finished_at, seconds, report."""
    if job_.started_at is None:
        return []
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT step, run_id, started_at, finished_at, seconds, report FROM lake.step_run
            WHERE coalesce(finished_at, now()) >= %s AND started_at <= coalesce(%s, now()) ORDER BY started_at
            """,
            (job_.started_at, job_.finished_at),
        ).fetchall()
