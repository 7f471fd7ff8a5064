"""One window from the exchange into Bronze, and many of them at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import psycopg
import structlog
from dask.base import compute
from dask.delayed import delayed
from psycopg import Connection

from lakehouse.bronze.anchor import Anchor
from lakehouse.bronze.borders import expects_rows
from lakehouse.bronze.calendars import known_calendar
from lakehouse.bronze.context import FetchContext as FetchContext
from lakehouse.bronze.coverage import COMPLETE, MISSING, NO_TRADES, Coverage, unbroken_from
from lakehouse.bronze.landing import keep_rejected, land
from lakehouse.bronze.ledger import coverage, record_failed
from lakehouse.bronze.objects import Trailer
from lakehouse.bronze.reading import Reading, Report, read_window
from lakehouse.bronze.window import Window, cell
from lakehouse.database.outage import NotNow, is_outage
from lakehouse.iss.errors import IssContractError, IssError
from lakehouse.market.errors import LakehouseError

log = structlog.get_logger()


class Cancelled(LakehouseError):
    """Raised by a report to stop a window at the next page."""


@dataclass(frozen=True)
class Landed:
    """
    A window that is in Bronze.

    Attributes:
        window: What was read; begins earlier than asked if an anchor had changed.
        state: complete, no trades, or missing (an empty answer where rows were expected).
        requests: Attempts sent to the exchange, those in vain included.
    """

    window: Window
    object_key: str
    pages: int
    rows: int
    state: str
    requests: int


@dataclass(frozen=True)
class Failed:
    """A window that could not be read; the ledger says so, and nothing of it landed."""

    window: Window
    error: str


@dataclass(frozen=True)
class Stopped:
    """A window that was cancelled before its end; nothing of it landed, the ledger is as before."""

    window: Window


@dataclass(frozen=True)
class PutOff:
    """A window that could not be read at present, for a *reason* that is not its own; the ledger is as before."""

    window: Window
    reason: str


Outcome = Landed | Failed | Stopped | PutOff


def fetch_windows(
    context: FetchContext, windows: Sequence[tuple[Window, Report]], scheduler: str = "threads"
) -> list[Outcome]:
    """
    Fetch windows side by side, each with the report of its progress; return their outcomes in the same order.

    Args:
        scheduler: ``threads``, or the address of a Dask cluster (``tcp://host:port``).
    """
    said = structlog.contextvars.get_contextvars()  # threads and machines that fetch say whose lines theirs are
    tasks = [
        delayed(partial(_fetch_saying, said, context, window, report), pure=False, traverse=False)()
        for window, report in windows
    ]
    if scheduler == "threads":
        return list(compute(*tasks, scheduler="threads", num_workers=context.in_flight))  # type: ignore[no-untyped-call]
    # Only here: the functions' package has no distributed.
    from distributed import Client

    with Client(scheduler) as cluster:  # type: ignore[no-untyped-call]
        return list(cluster.gather(cluster.compute(tasks)))


def _fetch_saying(said: dict[str, Any], context: FetchContext, window: Window, report: Report) -> Outcome:
    with structlog.contextvars.bound_contextvars(**said):
        return fetch_window(context, window, report)


def fetch_window(context: FetchContext, window: Window, report: Report = lambda pages, rows: None) -> Outcome:
    """
    Read a window to its proven end and land it.

    Args:
        report: Told the pages and rows read so far, before the first page (0, 0) and after every one; may raise
            Cancelled.

    Returns:
        What the exchange does wrong is not raised: it is `Failed`, and recorded. Pages of a failed window are dropped;
        an answer that nobody understands is kept under ``rejected/``. An exchange that answers nobody, or a database
        that went away, is no fault of the window: it is `PutOff`.
    """
    try:
        return _fetch(context, window, report)
    except Cancelled:
        return Stopped(window)
    except (NotNow, psycopg.Error) as error:
        if not isinstance(error, NotNow) and not is_outage(error):
            raise
        log.info("bronze.window_put_off", window=str(window), reason=str(error))
        return PutOff(window, str(error))


def _fetch(context: FetchContext, window: Window, report: Report) -> Landed | Failed:
    try:
        reading, window, requests = _read(context, window, report)
        # Reading takes minutes, in which the database may go and come back: another connection lands it
        with context.connect() as conn:
            trailer = _trailer(context, conn, window, reading)
            key = land(context, conn, reading.exchanges, trailer)
    except IssError as error:
        return _failed(context, window, error)
    return Landed(window, key, trailer.pages, trailer.rows, trailer.state, requests)


def _read(context: FetchContext, window: Window, report: Report) -> tuple[Reading, Window, int]:
    """Return what was read, the window that it is of (from further back if the anchor changed), and the requests."""
    with context.connect() as conn:
        known = coverage(conn, window.series)
        calendar = known_calendar(context, conn, window.series.engine)
    anchor = _anchor_of(known, window)
    begin = anchor["begin"] if anchor else ""
    reading, requests = read_window(context, calendar, window, begin, report)
    if reading.first == anchor:
        return reading, window, requests
    log.warning("bronze.anchor_changed", window=str(window), begin=begin)
    window = _with_all_before(known, window)
    reading, more = read_window(context, calendar, window, begin, report)
    return reading, window, requests + more


def _anchor_of(known: Sequence[Coverage], window: Window) -> Anchor | None:
    """Return the anchor with which a window begins, if the plan put one there."""
    for row in known:
        if row.is_final and row.anchor and dt.datetime.fromisoformat(row.anchor["begin"]) == window.from_at:
            return row.anchor
    return None


def _with_all_before(known: Sequence[Coverage], window: Window) -> Window:
    """Return the window from the start of what is final in its cell: what the changed anchor stood for."""
    date = window.from_at.date()
    first = unbroken_from(known, date + dt.timedelta(days=1), cell(window.series, date)[0])
    return replace(window, from_at=dt.datetime.combine(min(first, date), dt.time()))


def _trailer(context: FetchContext, conn: Connection, window: Window, reading: Reading) -> Trailer:
    fetched_at = reading.fetched_at
    trailer = Trailer(
        window,
        fetched_at,
        reading.rows,
        reading.pages,
        reading.end_proof,
        complete=True,
        finality=reading.finality,
    )
    if reading.rows:
        return replace(trailer, state=COMPLETE, last=reading.last, anchor=reading.last_final)
    # Candles are followed to the next one there is; nothing but the calendar proves that end-of-day rows are none
    if window.series.family == "history" and expects_rows(context, conn, window, fetched_at):
        return replace(trailer, state=MISSING, complete=False)
    return replace(trailer, state=NO_TRADES)


def _failed(context: FetchContext, window: Window, error: IssError) -> Failed:
    text = f"{window}: {error}"
    if isinstance(error, IssContractError) and error.answer is not None:
        text += f"; the answer is kept as {keep_rejected(context, window, error.answer)}"
    with context.connect() as conn:
        record_failed(conn, window, text)
    log.error("bronze.window_failed", window=str(window), error=text)
    return Failed(window, text)
