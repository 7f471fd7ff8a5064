"""Queueing again exactly what failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.types.json import Jsonb

from lakehouse.jobs.queue import BATCH, enqueue, settle
from lakehouse.market.errors import BadInput


def retry_failed(conn: Connection[Any], job_id: int | None = None) -> list[int]:
    """
    Queue again exactly what failed, of one job or of all; return the jobs that go on.

    That is: windows that failed, or that a job which failed as a whole left undone; instruments whose planning failed,
    be it for the exchange or for their name; and planning, merging or publishing that was given up. What was cancelled
    stays so. Raises BadInput when there is no such job.
    """
    with conn.transaction():
        if job_id is not None and conn.execute("SELECT FROM lake.job WHERE job_id = %s", (job_id,)).fetchone() is None:
            raise BadInput(f"there is no job {job_id}: `lakehouse jobs` lists them")
        found = conn.execute(_FAILED, {"job_id": job_id}).fetchall()
        for owner, window_ids, secids, is_unplanned, is_unpublished, _ in found:
            _resume(conn, owner, window_ids, secids)
            conn.execute(_BURY_JOBS, (owner,))
            if secids or is_unplanned:
                enqueue(conn, "ingest", {"job_id": owner})
            if is_unpublished:
                enqueue(conn, "merge", {}, only_one=True)
                conn.execute(_BURY_SHARED)
            for first in range(0, len(window_ids), BATCH):
                enqueue(conn, "fetch", {"job_id": owner, "window_ids": window_ids[first : first + BATCH]})
        settle(conn, [row[0] for row in found])  # nothing may be left to do: what was given up was done after all
    return [row[0] for row in found]


# Dead letters that what is queued anew stands for
_BURY_JOBS: LiteralString = (
    "DELETE FROM procrastinate_jobs WHERE status = 'failed' AND (args ->> 'job_id')::bigint = %s"
)
_BURY_SHARED: LiteralString = (
    "DELETE FROM procrastinate_jobs WHERE status = 'failed' AND task_name IN ('merge', 'publish')"
)
_FAILED: LiteralString = """
    SELECT * FROM (
        SELECT j.job_id,
            ARRAY(SELECT w.window_id FROM lake.job_window w WHERE w.job_id = j.job_id AND (w.state = 'failed'
                OR j.state = 'failed' AND w.state IN ('queued', 'running')) ORDER BY w.window_id) AS window_ids,
            ARRAY(SELECT e ->> 'secid' FROM jsonb_array_elements(coalesce(j.report -> 'errors', '[]')) e
                WHERE j.planned_at IS NOT NULL) AS secids,
            j.state = 'failed' AND j.planned_at IS NULL AS is_unplanned,
            j.state = 'failed' AND EXISTS (SELECT FROM lake.job_window w JOIN lake.bronze_object o USING (object_key)
                WHERE w.job_id = j.job_id AND o.published_at IS NULL) AS is_unpublished,
            j.state = 'failed' AND j.error IS NOT NULL AS was_given_up
        FROM lake.job j WHERE j.job_id = coalesce(%(job_id)s, j.job_id) ORDER BY j.job_id FOR UPDATE) f
    WHERE cardinality(window_ids) + cardinality(secids) > 0 OR is_unplanned OR is_unpublished OR was_given_up
"""


def _resume(conn: Connection[Any], job_id: int, window_ids: Sequence[int], secids: Sequence[str]) -> None:
    conn.execute(
        "UPDATE lake.job_window SET state = 'queued', error = NULL, updated_at = now() WHERE window_id = ANY(%s)",
        (list(window_ids),),
    )
    conn.execute(
        """
        UPDATE lake.job SET state = 'running', cancel_requested = false, finished_at = NULL, error = NULL,
            started_at = coalesce(started_at, now()), planned_at = CASE WHEN %(secids)s = '[]' THEN planned_at END,
            report = CASE WHEN %(secids)s = '[]' THEN report
                ELSE report - 'errors' || jsonb_build_object('again', %(secids)s) END
        WHERE job_id = %(job_id)s
        """,
        {"job_id": job_id, "secids": Jsonb(list(secids))},
    )
