"""One window from the exchange into Bronze, and many of them at once."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

import structlog
from dask.base import compute
from dask.delayed import delayed
from psycopg import Connection

from lakehouse.bronze.anchor import Anchor, last_final_row, rows_at
from lakehouse.bronze.borders import expects_rows, known_border_end
from lakehouse.bronze.context import FetchContext as FetchContext
from lakehouse.bronze.coverage import COMPLETE, MISSING, NO_TRADES, Coverage, unbroken_from
from lakehouse.bronze.landing import keep_rejected, land_answers
from lakehouse.bronze.ledger import coverage, record_failed
from lakehouse.bronze.objects import Trailer
from lakehouse.bronze.window import Window, cell
from lakehouse.iss.candles import candle_pages
from lakehouse.iss.client import Answer, IssClient
from lakehouse.iss.errors import IssContractError, IssError, PagingBroken
from lakehouse.iss.history import history_pages
from lakehouse.iss.pages import Page
from lakehouse.market.errors import LakehouseError
from lakehouse.market.timeframe import Timeframe

log = structlog.get_logger()

# A window whose pages do not add up is read this often in all.
READINGS = 3

Report = Callable[[int, int], object]


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


Outcome = Landed | Failed | Stopped


@dataclass(frozen=True)
class _Reading:
    pages: Sequence[Page]
    requests: int

    @property
    def rows(self) -> int:
        return sum(len(page.keys) for page in self.pages)

    @property
    def fetched_at(self) -> dt.datetime:
        return self.pages[0].answer.fetched_at


def fetch_windows(
    context: FetchContext, windows: Sequence[tuple[Window, Report]], scheduler: str = "threads"
) -> list[Outcome]:
    """
    Fetch windows side by side, each with the report of its progress; return their outcomes in the same order.

    Args:
        scheduler: ``threads``, or the address of a Dask cluster (``tcp://host:port``).
    """
    tasks = [
        delayed(partial(fetch_window, context, window, report), pure=False, traverse=False)()
        for window, report in windows
    ]
    if scheduler == "threads":
        return list(compute(*tasks, scheduler="threads", num_workers=context.in_flight))  # type: ignore[no-untyped-call]
    # Only here: the functions' package has no distributed.
    from distributed import Client

    with Client(scheduler) as cluster:  # type: ignore[no-untyped-call]
        return list(cluster.gather(cluster.compute(tasks)))


def fetch_window(context: FetchContext, window: Window, report: Report = lambda pages, rows: None) -> Outcome:
    """
    Read a window to its proven end and land it.

    Args:
        report: Told the pages and rows read so far, before the first page (0, 0) and after every one; may raise
            Cancelled.

    Returns:
        What the exchange does wrong is not raised: it is `Failed`, and recorded. Pages of a failed window are dropped;
        an answer that nobody understands is kept under ``rejected/``.
    """
    with context.connect() as conn:
        try:
            return _fetch(context, conn, window, report)
        except Cancelled:
            return Stopped(window)
        except IssError as error:
            return _failed(context, conn, window, error)


def _fetch(context: FetchContext, conn: Connection, window: Window, report: Report) -> Landed:
    known = coverage(conn, window.series)
    reading = _read(context, conn, window, report)
    requests = reading.requests
    anchor = _anchor_of(known, window)
    if anchor and rows_at(reading.pages, anchor["begin"]) != anchor:
        log.warning("bronze.anchor_changed", window=str(window), begin=anchor["begin"])
        window = _with_all_before(known, window)
        reading = _read(context, conn, window, report)
        requests += reading.requests
    trailer = _trailer(context, window, reading)
    key = land_answers(context, conn, [page.answer for page in reading.pages], trailer)
    return Landed(window, key, trailer.pages, trailer.rows, trailer.state, requests)


def _read(context: FetchContext, conn: Connection, window: Window, report: Report) -> _Reading:
    def border_end(answer: Answer) -> dt.datetime | None:
        return known_border_end(context, conn, window.series, answer.fetched_at)

    return asyncio.run(_read_until_it_adds_up(context, window, report, border_end))


async def _read_until_it_adds_up(
    context: FetchContext, window: Window, report: Report, border_end: Callable[[Answer], dt.datetime | None]
) -> _Reading:
    async with context.client() as client:
        for reading in range(1, READINGS + 1):
            try:
                return _Reading(await _collect(_pages(client, window, border_end), report), client.requests)
            except PagingBroken as error:
                log.warning("bronze.paging_broken", window=str(window), reading=reading, error=str(error))
                if reading == READINGS:
                    raise
    raise PagingBroken(f"{window}: not read")


async def _collect(pages: AsyncIterator[Page], report: Report) -> list[Page]:
    report(0, 0)
    collected: list[Page] = []
    rows = 0
    async with aclosing(pages) as proven:  # type: ignore[type-var]
        async for page in proven:
            collected.append(page)
            rows += len(page.keys)
            report(len(collected), rows)
    return collected


def _pages(
    client: IssClient, window: Window, border_end: Callable[[Answer], dt.datetime | None]
) -> AsyncIterator[Page]:
    series = window.series
    if series.family == "history":
        return history_pages(client, series.engine, series.market, series.secid, window.from_at.date(), window.till)
    return candle_pages(client, series.instrument, Timeframe(series.timeframe), window.from_at, window.till, border_end)


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


def _trailer(context: FetchContext, window: Window, reading: _Reading) -> Trailer:
    pages, fetched_at = reading.pages, reading.fetched_at
    trailer = Trailer(window, fetched_at, reading.rows, len(pages), pages[-1].end_proof, complete=True)
    if reading.rows:
        last = max(max(page.keys) for page in pages if page.keys)
        return replace(trailer, state=COMPLETE, last=last, anchor=last_final_row(window.series, pages, fetched_at))
    if expects_rows(context, window, fetched_at):
        return replace(trailer, state=MISSING, complete=False)
    return replace(trailer, state=NO_TRADES)


def _failed(context: FetchContext, conn: Connection, window: Window, error: IssError) -> Failed:
    text = f"{window}: {error}"
    if isinstance(error, IssContractError) and error.answer is not None:
        text += f"; the answer is kept as {keep_rejected(context, window, error.answer)}"
    record_failed(conn, window, text)
    log.error("bronze.window_failed", window=str(window), error=text)
    return Failed(window, text)
