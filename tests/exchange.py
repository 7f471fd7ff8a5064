"""An exchange in memory that answers like ISS, and can be told to answer wrongly."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from lakehouse.iss.answer import Answer
from lakehouse.iss.client import IssClient

CANDLE_COLUMNS = ["open", "close", "high", "low", "value", "volume", "begin", "end"]
HISTORY_COLUMNS = [
    *("BOARDID", "TRADEDATE", "SECID", "NUMTRADES", "VALUE", "OPEN", "LOW", "HIGH", "CLOSE", "VOLUME"),
    *("WAPRICE", "LEGALCLOSEPRICE"),
]
NOW = dt.datetime(2024, 3, 20, 12, 0, tzinfo=dt.UTC)

Document = dict[str, Any]
Fault = Callable[[int, Document], Document]


class NoBudget:
    """A budget that is never asked."""

    def slot(self, ready: Any = None) -> Any:
        raise AssertionError("an exchange in memory needs no budget")


class MadeExchange(IssClient):
    """
    Candles and history of one security, in pages.

    *fault* is given the number of the request, from 0, and the answer's document, and returns what is sent instead.
    *asked* are the last request's parameters, *wanted* the rows of all its pages.
    """

    def __init__(
        self,
        candles: Sequence[Sequence[Any]] = (),
        history: Sequence[Sequence[Any]] = (),
        page_rows: int = 500,
        fault: Fault = lambda request, document: document,
    ) -> None:
        super().__init__("http://exchange/iss", NoBudget())
        self.candles, self.history, self.page_rows, self.fault = candles, history, page_rows, fault
        self.asked: dict[str, Any] = {}
        self.wanted: Sequence[Sequence[Any]] = ()

    async def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Answer:
        self.asked = asked = dict(params or {})
        if path.startswith("/history/"):
            document = self._history(asked)
        else:
            document = {"candles": _block(CANDLE_COLUMNS, self._page(self.candles, asked, key=6))}
        body = orjson.dumps(self.fault(self.requests, document))
        self.requests += 1
        return Answer(f"{self.base_url}{path}?start={asked['start']}", 200, {}, NOW, body, orjson.loads(body))

    def _page(self, rows: Sequence[Sequence[Any]], asked: Mapping[str, Any], key: int) -> list[Sequence[Any]]:
        self.wanted = [row for row in rows if asked["from"] <= row[key] and row[key][:10] <= asked.get("till", "9999")]
        return self.wanted[asked["start"] : asked["start"] + self.page_rows]

    def _history(self, asked: Mapping[str, Any]) -> Document:
        total = sum(1 for row in self.history if asked["from"] <= row[1] <= asked["till"])
        cursor = _block(["INDEX", "TOTAL", "PAGESIZE"], [[asked["start"], total, self.page_rows]])
        return {"history": _block(HISTORY_COLUMNS, self._page(self.history, asked, key=1)), "history.cursor": cursor}


def candle(begin: dt.datetime, close: float = 1.5) -> list[Any]:
    return [1, close, 2, 1, 10.5, 10, f"{begin:%Y-%m-%d %H:%M:%S}", f"{begin:%Y-%m-%d %H:%M}:59"]


def minutes(first: dt.datetime, count: int) -> list[list[Any]]:
    """Return *count* candles of one minute each, the first beginning at *first*."""
    return [candle(first + dt.timedelta(minutes=minute)) for minute in range(count)]


def days(first: dt.date, count: int, boards: Sequence[str] = ("TQBR",)) -> list[list[Any]]:
    """Return end-of-day rows of *count* dates on each of *boards*."""
    dates = [(first + dt.timedelta(days=day)).isoformat() for day in range(count)]
    return [[board, date, "SBER", 10, 10.5, 1, 1, 2, 1.5, 10, 1.5, 1.5] for date in dates for board in boards]


def answer(document: Any) -> Answer:
    """Return an answer that holds *document*."""
    return Answer("http://exchange/iss/x.json", 200, {}, NOW, orjson.dumps(document), document)


def _block(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Document:
    return {"columns": list(columns), "data": [list(row) for row in rows]}
