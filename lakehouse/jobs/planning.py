"""The step of the chain that plans an ingest: which windows are due, and their messages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from psycopg import Connection
from psycopg.types.json import Jsonb

from lakehouse.bronze.borders import read_candle_borders
from lakehouse.bronze.context import FetchContext
from lakehouse.bronze.following import Successor, codes_of, kept_up, later_codes, successors
from lakehouse.bronze.prepare import instrument_windows, read_market_tables
from lakehouse.bronze.reference import exchange_now, read_renames, resolve_instrument
from lakehouse.bronze.window import Window
from lakehouse.database.outage import NotNow, connect_patiently
from lakehouse.iss.candles import Border
from lakehouse.jobs.increments import requests_for_held
from lakehouse.jobs.pausing import put_off_when_paused
from lakehouse.jobs.queue import BATCH, IngestRequest, enqueue, settle
from lakehouse.jobs.reporting import announcing
from lakehouse.market.errors import LakehouseError
from lakehouse.market.instrument import Instrument, parse_listing
from lakehouse.market.renames import Chain
from lakehouse.market.timeframe import Timeframe

log = structlog.get_logger()


def plan_ingest(context: FetchContext, job_id: int) -> None:
    """
    Plan the windows of an ingest and queue them, instrument by instrument.

    An instrument that the exchange does not know, or does not answer for, is written into the job's report; the others
    go on. Running it again plans only what was not planned before; of a retried job, only what had failed. A function
    whose time is up leaves the rest to the next one.
    """
    context = announcing(context)
    with (
        connect_patiently(context.dsn, "lakehouse_app") as conn,
        put_off_when_paused(conn, "ingest", {"job_id": job_id}),
    ):
        begun = _begin(conn, job_id)
        if begun is None:
            _end_if_cancelled(conn, job_id)
            return
        request, listings = begun
        now = exchange_now(context)
        request_by_listing = dict.fromkeys(listings, request)
        if request.held:
            due = requests_for_held(context, conn, now)
            request_by_listing = {each: due[each] for each in due if each in listings or not listings}
        chains: dict[tuple[str, str], list[Chain]] = {}
        for listing, asked in request_by_listing.items():
            if _is_cancelled(conn, job_id):
                break
            if _is_planned(conn, job_id, listing):
                continue
            context.check_time()
            try:
                planned, note = _plan_instrument(context, listing, asked, now, chains)
            except NotNow:  # nothing is wrong with this instrument: it is planned when the message comes again
                raise
            except LakehouseError as error:
                _note_error(conn, job_id, listing, str(error))
            else:
                _queue_windows(conn, job_id, listing, planned, note)
        conn.execute("UPDATE lake.job SET planned_at = now(), report = report - 'again' WHERE job_id = %s", (job_id,))
        enqueue(conn, "merge", {}, only_one=True)  # reference tables may have changed though no window was due
        settle(conn, [job_id])


def _begin(conn: Connection[Any], job_id: int) -> tuple[IngestRequest, Sequence[str]] | None:
    """Return what was asked, and the instruments to plan: all, or those that a retry is for."""
    row = conn.execute(
        """
        UPDATE lake.job SET state = 'running', started_at = coalesce(started_at, now())
        WHERE job_id = %s AND state IN ('queued', 'running') AND planned_at IS NULL RETURNING params, report -> 'again'
        """,
        (job_id,),
    ).fetchone()
    if row is None:
        return None
    request = IngestRequest.parse(row[0])
    return request, row[1] or request.instruments


def _end_if_cancelled(conn: Connection[Any], job_id: int) -> None:
    """Settle a job that was cancelled before a planner, or the successor of one that died, came to it."""
    conn.execute(
        "UPDATE lake.job SET planned_at = now() WHERE job_id = %s AND state = 'cancelling' AND planned_at IS NULL",
        (job_id,),
    )
    settle(conn, [job_id])


def _plan_instrument(
    context: FetchContext,
    listing: str,
    request: IngestRequest,
    now: dt.datetime,
    chains: dict[tuple[str, str], list[Chain]],
) -> tuple[list[Window], str]:
    """Return the windows that are due, and what is to be said about them and the span asked."""
    secid, board = parse_listing(listing)
    instrument = resolve_instrument(context, secid, now, board=board)
    market = (instrument.engine, instrument.market)
    if market not in chains:
        read_market_tables(context, *market, now)
        chains[market] = read_renames(context, *market, now)
    instruments: list[Instrument] = [instrument]
    said: list[str] = []
    if not board:
        instruments, said = _under_all_codes(context, instrument, chains[market], now)
    windows = [window for each in instruments for window in _windows_of(context, each, request, now)]
    if request.held:
        followed, said = _followed(context, instrument, request, chains[market], now)
        windows += followed
    borders = [read_candle_borders(context, each, now) for each in instruments]
    return windows, "; ".join(filter(None, [*said, _beyond_borders(request, borders)]))


def _under_all_codes(
    context: FetchContext, instrument: Instrument, chains: Sequence[Chain], now: dt.datetime
) -> tuple[list[Instrument], list[str]]:
    """
    Return an instrument under all its codes, and what is to be said of those since the one that was asked.

    A series is comparable across renames only with the candles of its other codes, on their main boards.
    """
    before, after = codes_of(context, instrument, chains, now)
    former = [resolve_instrument(context, code, now, like=instrument) for code in before]
    later = list(later_codes(context, instrument, after, now))
    said = [each if isinstance(each, str) else f"{each} is read as well" for each in later]
    return [*former, instrument, *(each.instrument for each in later if isinstance(each, Successor))], said


def _followed(
    context: FetchContext, held: Instrument, request: IngestRequest, chains: Sequence[Chain], now: dt.datetime
) -> tuple[list[Window], list[str]]:
    """Return the windows in which what is kept up of an instrument goes on elsewhere, until that is held itself."""
    ways = list(successors(context, held, chains, now))
    found = [way for way in ways if isinstance(way, Successor)]
    held_on = set().union(*(kept_up(context, each.instrument, request.timeframes) for each in found))
    going_on = kept_up(context, held, request.timeframes) - held_on if ways else set()
    if not going_on:
        return [], []
    timeframes = [timeframe for timeframe in request.timeframes if timeframe in going_on]
    windows: list[Window] = []
    said = [way for way in ways if isinstance(way, str)]
    for each in found:
        asked = request.model_copy(update={"timeframes": timeframes, "from_": each.from_, "held": False})
        if planned := _windows_of(context, each.instrument, asked, now):
            windows += planned
            said.append(f"{each} follows with {', '.join(timeframes)}")
    return windows, said


def _beyond_borders(request: IngestRequest, borders: Sequence[Mapping[Timeframe, Border]]) -> str:
    """Say which part of the span asked lies where the exchange has no candles; empty if none does."""
    said = []
    for timeframe in request.timeframes:
        known = [border[timeframe] for border in borders if timeframe in border]
        if not known:
            said.append(f"the exchange has no {timeframe} candles")
            continue
        first, last = min(border.begin.date() for border in known), max(border.end.date() for border in known)
        if part := _cut_off(request.from_, request.till, timeframe.period_start(first), last):
            said.append(f"{timeframe} asked {part}")
    return "; ".join(said)


def _cut_off(from_: dt.date | None, till: dt.date | None, first: dt.date, last: dt.date) -> str:
    if from_ and from_ > last:
        return f"from {from_}, the exchange has none after {last}"
    if till and till < first:
        return f"till {till}, the exchange has none before {first}"
    if (from_ and from_ < first) or (till and till > last):
        return f"{from_ or 'start'}..{till or 'now'}, the exchange has {first}..{last}: cut to that"
    return ""


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
        held=request.held,
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
    text = message if message.startswith(secid) else f"{secid}: {message}"
    conn.execute(
        """
        UPDATE lake.job SET report = jsonb_set(coalesce(report, '{}'), '{errors}', (
            SELECT coalesce(jsonb_agg(e), '[]') FROM jsonb_array_elements(coalesce(report -> 'errors', '[]')) e
            WHERE e ->> 'secid' <> %s) || %s::jsonb)
        WHERE job_id = %s
        """,
        (secid, Jsonb([{"secid": secid, "message": text}]), job_id),
    )


def _queue_windows(conn: Connection[Any], job_id: int, secid: str, planned: Sequence[Window], note: str) -> None:
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
            UPDATE lake.job SET report = coalesce(report, '{}') || jsonb_build_object(
                'planned', coalesce(report -> 'planned', '{}') || jsonb_build_object(%s::text, %s::int),
                'notes', coalesce(report -> 'notes', '{}') || jsonb_strip_nulls(jsonb_build_object(%s::text, %s::text)))
            WHERE job_id = %s
            """,
            (secid, len(ids), secid, note or None, job_id),
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
