"""The step of the chain that fetches windows into Bronze."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from psycopg import Connection
from psycopg.rows import dict_row

from lakehouse.bronze.fetch import Failed, FetchContext, Landed, Outcome, PutOff, Stopped, fetch_windows
from lakehouse.bronze.window import Series, Window
from lakehouse.database.outage import connect_patiently, shared
from lakehouse.jobs.pausing import is_paused, put_off, put_off_windows
from lakehouse.jobs.queue import settle
from lakehouse.jobs.reporting import WindowProgress, announcing

log = structlog.get_logger()


def fetch_batch(context: FetchContext, job_id: int, window_ids: Sequence[int], scheduler: str = "threads") -> None:
    """
    Fetch windows of a job side by side into Bronze; running it again fetches only those that have not landed.

    While the exchange does not answer the message is put off, and the windows that met that wait again. So do those
    that a function has no time for: a new message carries them, and they have lost no attempt.
    """
    context = announcing(context)
    with connect_patiently(context.dsn, "lakehouse_app") as conn:
        _drop_cancelled(conn, window_ids)
        if is_paused(conn):
            put_off(conn, "fetch", {"job_id": job_id, "window_ids": list(window_ids)})
            settle(conn, [job_id])
            return
        taken = _take(conn, window_ids)
        if not taken:
            settle(conn, [job_id])
            return
    outcomes = fetch_windows(
        context, [(window, WindowProgress(context.dsn, window_id)) for window_id, window in taken], scheduler
    )
    outcome_by_window = {window_id: outcome for (window_id, _), outcome in zip(taken, outcomes, strict=True)}
    # Not lost when the database goes away right now: what landed would be read again
    shared(context.dsn, "lakehouse_app").run(lambda conn: _record_all(conn, job_id, outcome_by_window))
    log.info("jobs.batch_fetched", job_id=job_id, windows=len(taken))


def _take(conn: Connection[Any], window_ids: Sequence[int]) -> list[tuple[int, Window]]:
    """Mark windows as being read; those of a worker that died count as waiting, as its message came again."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            UPDATE lake.job_window w SET state = 'running', attempts = attempts + 1, updated_at = now()
            FROM lake.job j
            WHERE w.window_id = ANY(%s) AND w.state IN ('queued', 'running')
                AND j.job_id = w.job_id AND NOT j.cancel_requested
            RETURNING w.*
            """,
            (list(window_ids),),
        ).fetchall()
    names = ("family", "engine", "market", "board", "secid", "timeframe")
    taken = [
        (row["window_id"], Window(Series(*(row[name] for name in names)), row["from_at"], row["till_date"]))
        for row in rows
    ]
    return sorted(taken)


def _drop_cancelled(conn: Connection[Any], window_ids: Sequence[int]) -> None:
    """Let go of windows of a cancelled job whose worker died while it read them: their message came again."""
    conn.execute(
        """
        UPDATE lake.job_window w SET state = 'cancelled', updated_at = now() FROM lake.job j
        WHERE w.window_id = ANY(%s) AND w.state IN ('queued', 'running') AND j.job_id = w.job_id AND j.cancel_requested
        """,
        (list(window_ids),),
    )


def _record_all(conn: Connection[Any], job_id: int, outcome_by_window: Mapping[int, Outcome]) -> None:
    for window_id, outcome in outcome_by_window.items():
        if not isinstance(outcome, PutOff):
            _record(conn, window_id, outcome)
    put_off_windows(
        conn, job_id, [window_id for window_id, outcome in outcome_by_window.items() if isinstance(outcome, PutOff)]
    )
    settle(conn, [job_id])


def _record(conn: Connection[Any], window_id: int, outcome: Outcome) -> None:
    state, pages, rows, key, error = _described(outcome)
    conn.execute(
        """
        UPDATE lake.job_window SET state = %s, pages = greatest(pages, %s), rows = greatest(rows, %s), object_key = %s,
            error = %s, updated_at = now()
        WHERE window_id = %s
        """,
        (state, pages, rows, key, error, window_id),
    )


def _described(outcome: Outcome) -> tuple[str, int, int, str | None, str | None]:
    if isinstance(outcome, Landed):
        if outcome.state == "missing":
            missing = f"{outcome.window}: the exchange gave no rows, though its borders and calendar say there are some"
            return "failed", outcome.pages, 0, outcome.object_key, missing
        return "landed", outcome.pages, outcome.rows, outcome.object_key, None
    if isinstance(outcome, Stopped):
        return "cancelled", 0, 0, None, None
    if isinstance(outcome, Failed):
        return "failed", 0, 0, None, outcome.error
    raise TypeError(f"unknown outcome {outcome!r}")
