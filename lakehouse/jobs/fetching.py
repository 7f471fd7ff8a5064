"""The steps of the chain that ask the exchange: planning an ingest, fetching windows, hearing that one landed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from lakehouse.bronze.fetch import Failed, FetchContext, Landed, Outcome, Stopped, fetch_windows
from lakehouse.bronze.prepare import instrument_windows, read_market_tables
from lakehouse.bronze.reference import exchange_now, predecessors, resolve_instrument
from lakehouse.bronze.window import Series, Window
from lakehouse.database.connection import connect
from lakehouse.jobs.queue import IngestRequest, enqueue, settle
from lakehouse.jobs.reporting import AnnounceLanded, WindowProgress
from lakehouse.market.errors import LakehouseError
from lakehouse.market.instrument import Instrument

log = structlog.get_logger()

# Windows of one message: what a cancelled or dead worker leaves behind, and what Dask fans out at once.
BATCH = 12


def plan_ingest(context: FetchContext, job_id: int) -> None:
    """
    Plan the windows of an ingest and queue them, instrument by instrument.

    An instrument that the exchange does not know, or does not answer for, is written into the job's report; the others
    go on. Running it again plans only what was not planned before.
    """
    context = _announcing(context)
    with connect(context.dsn, "lakehouse_app") as conn:
        request = _begin(conn, job_id)
        if request is None:
            return
        now = exchange_now(context)
        markets: set[tuple[str, str]] = set()
        for secid in request.instruments:
            if _is_cancelled(conn, job_id):
                break
            if _is_planned(conn, job_id, secid):
                continue
            try:
                planned = _plan_instrument(context, secid, request, now, markets)
            except LakehouseError as error:
                _note_error(conn, job_id, secid, str(error))
            else:
                _queue_windows(conn, job_id, secid, planned)
        conn.execute("UPDATE lake.job SET planned_at = now() WHERE job_id = %s", (job_id,))
        enqueue(conn, "merge", {}, only_one=True)  # reference tables may have changed though no window was due
        settle(conn, [job_id])


def fetch_batch(context: FetchContext, job_id: int, window_ids: Sequence[int], scheduler: str = "threads") -> None:
    """Fetch windows of a job side by side into Bronze; running it again fetches only those that have not landed."""
    context = _announcing(context)
    with connect(context.dsn, "lakehouse_app") as conn:
        taken = _take(conn, window_ids)
        if not taken:
            return
    outcomes = fetch_windows(
        context, [(window, WindowProgress(context.dsn, window_id)) for window_id, window in taken], scheduler
    )
    with connect(context.dsn, "lakehouse_app") as conn:
        for (window_id, _), outcome in zip(taken, outcomes, strict=True):
            _record(conn, window_id, outcome)
        settle(conn, [job_id])
    log.info("jobs.batch_fetched", job_id=job_id, windows=len(taken))


def object_landed(conn: Connection[Any], object_key: str) -> None:
    """Poke the merge: it takes everything that is unmerged, so one waiting message stands for any number of objects."""
    enqueue(conn, "merge", {}, only_one=True)
    log.debug("jobs.object_landed", key=object_key)


def _announcing(context: FetchContext) -> FetchContext:
    return replace(context, on_landed=AnnounceLanded(context.dsn))


def _begin(conn: Connection[Any], job_id: int) -> IngestRequest | None:
    row = conn.execute(
        """
        UPDATE lake.job SET state = 'running', started_at = coalesce(started_at, now())
        WHERE job_id = %s AND state IN ('queued', 'running') AND planned_at IS NULL RETURNING params
        """,
        (job_id,),
    ).fetchone()
    return IngestRequest.parse(row[0]) if row else None


def _plan_instrument(
    context: FetchContext, secid: str, request: IngestRequest, now: dt.datetime, markets: set[tuple[str, str]]
) -> list[Window]:
    instrument = resolve_instrument(context, secid, now)
    if (instrument.engine, instrument.market) not in markets:
        read_market_tables(context, instrument.engine, instrument.market, now)
        markets.add((instrument.engine, instrument.market))
    # A series is comparable across renames only with the candles of its former codes.
    former = [resolve_instrument(context, code, now) for code in predecessors(context, instrument, now)]
    return [window for each in (*former, instrument) for window in _windows_of(context, each, request, now)]


def _windows_of(
    context: FetchContext, instrument: Instrument, request: IngestRequest, now: dt.datetime
) -> list[Window]:
    return instrument_windows(
        context,
        instrument,
        request.timeframes,
        from_=request.from_,
        till=request.till,
        now=now,
        reread=request.reread,
    )


def _is_cancelled(conn: Connection[Any], job_id: int) -> bool:
    row = conn.execute("SELECT cancel_requested FROM lake.job WHERE job_id = %s", (job_id,)).fetchone()
    return row is None or bool(row[0])


def _is_planned(conn: Connection[Any], job_id: int, secid: str) -> bool:
    row = conn.execute(
        "SELECT coalesce(report -> 'planned', '{}') ? %s FROM lake.job WHERE job_id = %s", (secid, job_id)
    ).fetchone()
    return bool(row and row[0])


def _note_error(conn: Connection[Any], job_id: int, secid: str, message: str) -> None:
    log.warning("jobs.instrument_not_planned", job_id=job_id, secid=secid, error=message)
    conn.execute(
        """
        UPDATE lake.job SET error = coalesce(error || '; ', '') || %s, report = jsonb_set(
            coalesce(report, '{}'), '{errors}', coalesce(report -> 'errors', '[]') || %s::jsonb)
        WHERE job_id = %s
        """,
        (message, Jsonb([{"secid": secid, "message": message}]), job_id),
    )


def _queue_windows(conn: Connection[Any], job_id: int, secid: str, planned: Sequence[Window]) -> None:
    with conn.transaction():
        # Cancelling takes the same lock: a job gets no windows after the ones that waited were cancelled.
        row = conn.execute("SELECT cancel_requested FROM lake.job WHERE job_id = %s FOR UPDATE", (job_id,)).fetchone()
        if row is None or row[0]:
            return
        ids = [_insert_window(conn, job_id, window) for window in planned]
        for first in range(0, len(ids), BATCH):
            enqueue(conn, "fetch", {"job_id": job_id, "window_ids": ids[first : first + BATCH]})
        conn.execute(
            """
            UPDATE lake.job SET report = jsonb_set(coalesce(report, '{}'), '{planned}',
                coalesce(report -> 'planned', '{}') || jsonb_build_object(%s::text, %s::int))
            WHERE job_id = %s
            """,
            (secid, len(ids), job_id),
        )


def _insert_window(conn: Connection[Any], job_id: int, window: Window) -> int:
    series = window.series
    # A former code may be asked for by name as well: one job reads a window once.
    row = conn.execute(
        """
        INSERT INTO lake.job_window
            (job_id, family, engine, market, board, secid, timeframe, from_at, till_date)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (job_id, family, engine, market, board, secid, timeframe, from_at)
            DO UPDATE SET job_id = excluded.job_id
        RETURNING window_id
        """,
        (
            job_id,
            series.family,
            series.engine,
            series.market,
            series.board,
            series.secid,
            series.timeframe,
            window.from_at,
            window.till,
        ),
    ).fetchone()
    if row is None:
        raise RuntimeError("INSERT ... RETURNING gave no row")
    return int(row[0])


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
