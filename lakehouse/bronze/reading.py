"""A window's pages, from the first to the proven end."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from itertools import repeat
from typing import Any

import structlog

from lakehouse.bronze.anchor import Anchor, last_row, later, rows_at
from lakehouse.bronze.borders import read_border
from lakehouse.bronze.context import HANG_UP_S, FetchContext, TimeIsUp
from lakehouse.bronze.finality import Finality, finality
from lakehouse.bronze.landing import exchange_of
from lakehouse.bronze.objects import Exchange
from lakehouse.bronze.window import Series, Window
from lakehouse.iss.candles import SERIES_END, candle_pages, reaches
from lakehouse.iss.client import IssClient
from lakehouse.iss.errors import PagingBroken
from lakehouse.iss.history import history_pages
from lakehouse.iss.pages import Page
from lakehouse.market.sessions import Calendar
from lakehouse.market.timeframe import Timeframe

log = structlog.get_logger()

# A window whose pages do not add up is read this often in all.
READINGS = 3

Report = Callable[[int, int], object]


class Reading:
    """
    What is kept of a window's pages: the answers as bytes (parsed they are ten times that), and what they prove.

    Attributes:
        exchanges: What Bronze keeps; a proof is among them, but neither among *pages* nor *rows*.
        last: Key of the last row; empty without rows.
        end_proof: Why nothing follows.
        last_final: The last row that was final when the first page was answered.
        first: The rows at *known_begin*, the key of the anchor that the window begins with, if it does.
        doubled: Rows whose key (and board) is that of a row before.
        finality: What of the series was final when the first page was answered.
    """

    finality: Finality

    def __init__(self, series: Series, known_begin: str, calendar: Calendar) -> None:
        self.exchanges: list[Exchange] = []
        self.pages = 0
        self.rows = 0
        self.last = ""
        self.end_proof = ""
        self.last_final: Anchor | None = None
        self.first: Anchor | None = None
        self.doubled: list[Sequence[Any]] = []
        self._seen: set[tuple[str, str]] = set()
        self._series, self._known_begin, self._calendar = series, known_begin, calendar

    @property
    def fetched_at(self) -> dt.datetime:
        """The exchange's time at the first answer."""
        return self.exchanges[0].fetched_at

    def add(self, page: Page) -> None:
        """Take the next page."""
        if not self.exchanges:
            self.finality = finality(self._calendar, self._series, page.answer.fetched_at)
        self.exchanges.append(exchange_of(page.answer, page.is_proof, page.overlap))
        self.end_proof = page.end_proof
        if page.is_proof:
            return
        self.pages += 1
        self.rows += len(page.keys)
        self.doubled += self._known(page)
        self.last = max(self.last, max(page.keys, default=""))
        self.last_final = later(self.last_final, last_row(page, self.finality.final_till.isoformat()))
        self.first = later(self.first, rows_at(page, self._known_begin))

    def _known(self, page: Page) -> list[Sequence[Any]]:
        """Return the rows of *page* of whose key there was one before; from now on its own are known, too."""
        boards = page.block.column("boardid") if "boardid" in page.block.columns else repeat("")
        known = []
        for key, board, row in zip(page.keys, boards, page.block.rows, strict=False):
            if (key, board) in self._seen:
                known.append(row)
            self._seen.add((key, board))
        return known


def read_window(
    context: FetchContext, calendar: Calendar, window: Window, known_begin: str, report: Report
) -> tuple[Reading, int]:
    """
    Read a window to its proven end; return what was read and the requests that it took.

    Two rows of one begin are believed when two readings gave the same: the exchange has some that last (docs/iss.md
    section 7), and a page may have one more by mistake.

    Raises:
        IssError: if the exchange does not answer as it should, or pages do not add up in three readings.
    """
    requests = 0
    doubled: list[Sequence[Any]] = []
    for number in range(1, READINGS + 1):
        client = context.client()
        try:
            reading = asyncio.run(
                _read_in_time(context, client, Reading(window.series, known_begin, calendar), window, report)
            )
            _check_end(context, window, reading)
            if reading.doubled != doubled:
                doubled = reading.doubled
                raise PagingBroken(f"{window}: rows of one begin, not said twice so far: {doubled}")
            return reading, requests + client.requests
        except PagingBroken as error:
            log.warning("bronze.paging_broken", window=str(window), reading=number, error=str(error))
            if number == READINGS:
                raise
        requests += client.requests
    raise PagingBroken(f"{window}: never read")


async def _read_in_time(
    context: FetchContext, client: IssClient, reading: Reading, window: Window, report: Report
) -> Reading:
    """Read a window, unless the worker's time ends before: then raise TimeIsUp, at the next page or while one waits."""
    context.check_time()
    left_s = context.time_left_s() - HANG_UP_S
    try:
        async with asyncio.timeout(None if left_s == math.inf else left_s):
            await _read(context, client, reading, window, report)
    except TimeoutError as error:
        raise TimeIsUp(f"the exchange had not answered {HANG_UP_S:.0f} s before this worker's end") from error
    return reading


async def _read(context: FetchContext, client: IssClient, reading: Reading, window: Window, report: Report) -> None:
    report(0, 0)
    async with client, aclosing(_pages(client, window)) as pages:
        async for page in pages:
            reading.add(page)
            report(reading.pages, reading.rows)
            if not reading.end_proof:
                context.check_time()


def _pages(client: IssClient, window: Window) -> AsyncGenerator[Page, None]:
    series = window.series
    if series.family == "history":
        return history_pages(client, series.engine, series.market, series.secid, window.from_at.date(), window.till)
    return candle_pages(client, series.instrument, Timeframe(series.timeframe), window.from_at, window.till)


def _check_end(context: FetchContext, window: Window, reading: Reading) -> None:
    """Raise PagingBroken if the series is said to end with the window, and its border lies further on."""
    if reading.end_proof != SERIES_END:
        return
    border = read_border(context, window.series, reading.fetched_at)
    if border is None:
        return
    last = dt.datetime.fromisoformat(reading.last) if reading.last else None
    if last is None and border.end >= window.from_at:
        raise PagingBroken(f"{window}: there are no rows by its pages, by its border they go on to {border.end}")
    if last and not reaches(Timeframe(window.series.timeframe), last, border.end):
        raise PagingBroken(f"{window}: the series ends at {last} by its pages, at {border.end} by its border")
