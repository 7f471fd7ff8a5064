"""A window's pages, from the first to the proven end."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

import structlog
from psycopg import Connection

from lakehouse.bronze.anchor import Anchor, last_row, later, rows_at
from lakehouse.bronze.borders import known_border_end
from lakehouse.bronze.context import FetchContext
from lakehouse.bronze.window import Series, Window, last_final_date
from lakehouse.iss.candles import candle_pages
from lakehouse.iss.client import Answer, IssClient
from lakehouse.iss.errors import PagingBroken
from lakehouse.iss.history import history_pages
from lakehouse.iss.pages import Page
from lakehouse.market.timeframe import Timeframe

log = structlog.get_logger()

# A window whose pages do not add up is read this often in all.
READINGS = 3

Report = Callable[[int, int], object]
_BorderEnd = Callable[[Answer], dt.datetime | None]


class Reading:
    """
    What is kept of a window's pages: the answers as bytes (parsed they are ten times that), and what they prove.

    Attributes:
        last: Key of the last row; empty without rows.
        end_proof: Why nothing follows.
        last_final: The last row that was final when the first page was answered.
        first: The rows at *known_begin*, the key of the anchor that the window begins with, if it does.
    """

    def __init__(self, series: Series, known_begin: str) -> None:
        self.answers: list[Answer] = []
        self.rows = 0
        self.last = ""
        self.end_proof = ""
        self.last_final: Anchor | None = None
        self.first: Anchor | None = None
        self._series, self._known_begin = series, known_begin

    @property
    def fetched_at(self) -> dt.datetime:
        """The exchange's time at the first answer."""
        return self.answers[0].fetched_at

    def add(self, page: Page) -> None:
        """Take the next page."""
        self.answers.append(replace(page.answer, document=None))
        self.rows += len(page.keys)
        self.last = max(self.last, max(page.keys, default=""))
        self.end_proof = page.end_proof
        final = last_final_date(self._series, self.fetched_at).isoformat()
        self.last_final = later(self.last_final, last_row(page, final))
        self.first = later(self.first, rows_at(page, self._known_begin))


def read_window(
    context: FetchContext, conn: Connection, window: Window, known_begin: str, report: Report
) -> tuple[Reading, int]:
    """
    Read a window to its proven end; return what was read and the requests that it took.

    Raises:
        IssError: if the exchange does not answer as it should, or pages do not add up in three readings.
    """

    def border_end(answer: Answer) -> dt.datetime | None:
        return known_border_end(context, conn, window.series, answer.fetched_at)

    async def read() -> tuple[Reading, int]:
        async with context.client() as client:
            for number in range(1, READINGS):
                try:
                    return await _read(client, window, known_begin, border_end, report), client.requests
                except PagingBroken as error:
                    log.warning("bronze.paging_broken", window=str(window), reading=number, error=str(error))
            return await _read(client, window, known_begin, border_end, report), client.requests

    return asyncio.run(read())


async def _read(client: IssClient, window: Window, known_begin: str, border_end: _BorderEnd, report: Report) -> Reading:
    report(0, 0)
    reading = Reading(window.series, known_begin)
    async with aclosing(_pages(client, window, border_end)) as pages:
        async for page in pages:
            reading.add(page)
            report(len(reading.answers), reading.rows)
    return reading


def _pages(client: IssClient, window: Window, border_end: _BorderEnd) -> AsyncGenerator[Page, None]:
    series = window.series
    if series.family == "history":
        return history_pages(client, series.engine, series.market, series.secid, window.from_at.date(), window.till)
    return candle_pages(client, series.instrument, Timeframe(series.timeframe), window.from_at, window.till, border_end)
