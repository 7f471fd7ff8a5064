"""A small exchange on a socket, in a thread of its own: one share, two timeframes, a clock and faults to be set."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import format_datetime
from typing import Any

import orjson
from aiohttp import web

from lakehouse.market.moscow import to_moscow
from tests.exchange import CANDLE_COLUMNS, HISTORY_COLUMNS

Document = dict[str, Any]
DELAY = dt.timedelta(minutes=15)
_BOARDS = [
    *("secid", "boardid", "market", "engine", "is_traded", "is_primary", "decimals"),
    *("history_from", "history_till"),
]


class ServedExchange:
    """
    SBER on TQBR, formerly SBRF.

    Attributes:
        now: The exchange's time; candles later than a quarter of an hour before it are hidden.
        candles: Rows by ISS interval, as the exchange writes them.
        asked: Path and parameters of every request.
        fault: Given path, parameters and document; returns what is sent instead, or None to close the connection.
    """

    def __init__(self, now: dt.datetime) -> None:
        self.now = now
        self.candles: dict[int, list[list[Any]]] = {1: [], 24: []}
        self.history: list[list[Any]] = []
        self.off_days: list[list[Any]] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.fault: Callable[[str, Mapping[str, str], Document], Document | None] = lambda path, asked, document: (
            document
        )
        self.url = ""

    def requests(self, end: str) -> int:
        """Return how many requests were for a path that ends with *end*."""
        return sum(path.endswith(end) for path, _ in self.asked)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = dict(request.query)
        self.asked.append((request.path, asked))
        document = self.fault(request.path, asked, self._document(request.path, asked))
        if document is None and request.transport:
            request.transport.abort()
        headers = {"Date": format_datetime(self.now, usegmt=True)}
        return web.Response(body=orjson.dumps(document), content_type="application/json", headers=headers)

    def _document(self, path: str, asked: Mapping[str, str]) -> Document:
        match path.removesuffix(".json").split("/")[2:]:
            case [*_, "candles"]:
                return {"candles": block(CANDLE_COLUMNS, self._candle_page(asked))}
            case [*_, "candleborders"]:
                return {"borders": block(["begin", "end", "interval"], self._borders())}
            case [*_, "changeover"]:
                return {
                    "changeover": block(["action_date", "old_secid", "new_secid"], [["2011-01-11", "SBRF", "SBER"]])
                }
            case ["history", *_]:
                return self._history_page(asked)
            case ["securities", secid]:
                return self._card(secid)
            case ["engines", engine]:
                week = [[day, int(day < 6)] for day in range(1, 8)]
                return {
                    "engine": block(["NAME"], [[engine]]),
                    "timetable": block(["week_day", "is_work_day"], week),
                    "dailytable": block(["date", "is_work_day"], []),
                }
            case ["calendars", _]:
                return {"off_days": block(["tradedate", "is_traded", "reason"], self.off_days)}
        return {"splits": block(["tradedate", "secid", "before", "after"], [])}

    def _seen(self, interval: int) -> list[list[Any]]:
        seen = f"{to_moscow(self.now - DELAY):%Y-%m-%d %H:%M:%S}"
        return [row for row in self.candles[interval] if row[6] <= seen]

    def _candle_page(self, asked: Mapping[str, str]) -> list[list[Any]]:
        rows = [
            row
            for row in self._seen(int(asked["interval"]))
            if asked["from"] <= row[6] and row[6][:10] <= asked.get("till", "9999")
        ]
        return rows[int(asked["start"]) :][:500]

    def _borders(self) -> list[list[Any]]:
        return [[rows[0][6], rows[-1][6], interval] for interval in self.candles if (rows := self._seen(interval))]

    def _history_page(self, asked: Mapping[str, str]) -> Document:
        today = to_moscow(self.now).date().isoformat()
        rows = [row for row in self.history if asked["from"] <= row[1] <= asked["till"] and row[1] < today]
        start = int(asked["start"])
        return {
            "history": block(HISTORY_COLUMNS, rows[start:][:100]),
            "history.cursor": block(["INDEX", "TOTAL", "PAGESIZE"], [[start, len(rows), 100]]),
        }

    def _card(self, secid: str) -> Document:
        dates = [self.history[0][1], self.history[-1][1]] if self.history else [None, None]
        boards = [
            ["SBER", "SMAL", "shares", "stock", 1, 0, 2, *dates],
            ["SBER", "TQBR", "shares", "stock", 1, 1, 2, *dates],
        ]
        known = secid.upper() == "SBER"
        return {
            "description": block(["name", "value"], [["ISIN", "RU0009029540"]] if known else []),
            "boards": block(_BOARDS, boards if known else []),
        }


@contextmanager
def served(exchange: ServedExchange) -> Iterator[ServedExchange]:
    """Serve *exchange* on a free port until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    application = web.Application()
    application.router.add_get("/{path:.*}", exchange.answer)
    runner = web.AppRunner(application, shutdown_timeout=0)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()

    asyncio.run_coroutine_threadsafe(start(), loop).result()
    exchange.url = f"http://127.0.0.1:{runner.addresses[0][1]}/iss"
    try:
        yield exchange
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def block(columns: list[str], rows: list[list[Any]]) -> Document:
    return {"columns": columns, "data": rows}
