"""Bronze objects made by hand."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lakehouse.bronze.ledger import LedgerObject, proved_span
from lakehouse.bronze.objects import Exchange, Trailer, encode_object
from lakehouse.bronze.window import Series, Window

CANDLE_COLUMNS = ("open", "close", "high", "low", "value", "volume", "begin", "end")
HISTORY_COLUMNS = ("BOARDID", "TRADEDATE", "SECID", "NUMTRADES", "VALUE", "OPEN", "LOW", "HIGH", "CLOSE", "VOLUME")
FETCHED_AT = dt.datetime(2024, 3, 20, 12, 0, tzinfo=dt.UTC)


def block(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    return {"columns": list(columns), "data": [list(row) for row in rows]}


def bronze_object(
    family: str,
    answers: Sequence[Mapping[str, Any] | tuple[int, str]],
    *,
    rows: int,
    engine: str = "stock",
    market: str = "shares",
    board: str = "",
    secid: str = "",
    timeframe: str = "",
    from_: dt.date = dt.date(2024, 3, 1),
    till: dt.date = dt.date(2024, 3, 15),
    fetched_at: dt.datetime = FETCHED_AT,
    complete: bool = True,
    rank: int = 0,
    last: str = "",
) -> tuple[LedgerObject, bytes]:
    """Return an object and the ledger's row of it; an answer is the blocks of a body, or a status and a text."""
    exchanges = []
    for answer in answers:
        status, body = answer if isinstance(answer, tuple) else (200, json.dumps(answer, ensure_ascii=False))
        exchanges.append(Exchange(f"http://exchange/{family}", status, {}, fetched_at, body.encode()))
    series = Series(family, engine, market, board, secid, timeframe)
    window = Window(series, dt.datetime.combine(from_, dt.time()), till)
    trailer = Trailer(window, fetched_at, rows, len(answers), "empty page", complete, last=last)
    key, encoded = encode_object(exchanges, trailer)
    span_from, span_till = proved_span(trailer)
    described = LedgerObject(
        object_key=key,
        **asdict(series),
        span_from=span_from,
        span_till=span_till,
        complete=complete,
        fetched_at=fetched_at,
        rank=rank,
        rows=rows,
    )
    return described, encoded


def candle(begin: str, close: float | None = 1.5, **changed: Any) -> list[Any]:
    """Return a row of candles as the exchange writes it."""
    row = {"open": 1, "close": close, "high": 2, "low": 1, "value": 10.5, "volume": 10, "begin": begin, "end": begin}
    return [{**row, **changed}[name] for name in CANDLE_COLUMNS]


def candles_object(
    rows: Sequence[Sequence[Any]],
    *,
    secid: str = "SBER",
    board: str = "TQBR",
    timeframe: str = "1m",
    page: int = 500,
    **more: Any,
) -> tuple[LedgerObject, bytes]:
    """Return an object of candles, *page* rows an answer and an empty answer as the end."""
    cuts = range(0, len(rows) + 1, page)
    answers = [{"candles": block(CANDLE_COLUMNS, rows[cut : cut + page])} for cut in cuts]
    return bronze_object("candles", answers, rows=len(rows), secid=secid, board=board, timeframe=timeframe, **more)
