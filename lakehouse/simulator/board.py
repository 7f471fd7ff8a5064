"""The block of a whole board: its securities and their market data now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from lakehouse.simulator.answer import Block, columns
from lakehouse.simulator.book import CandleBook, Span
from lakehouse.simulator.clock import from_seconds
from lakehouse.simulator.periods import DAY, SECONDS_A_DAY, period_start_of
from lakehouse.simulator.protocol import Exchange
from lakehouse.simulator.security import Security

_SECURITIES = columns(
    "SECID:string:36 BOARDID:string:12 SHORTNAME:string:30 PREVPRICE LOTSIZE:int32 FACEVALUE STATUS:string:3 "
    "BOARDNAME:string:381 DECIMALS:int32 SECNAME:string:90 REMARKS:string:24 MARKETCODE:string:12 INSTRID:string:12 "
    "SECTORID:string:12 MINSTEP PREVWAPRICE FACEUNIT:string:12 PREVDATE:date ISSUESIZE:int64 ISIN:string:36 "
    "LATNAME:string:90 REGNUMBER:string:90 PREVLEGALCLOSEPRICE CURRENCYID:string:12 SECTYPE:string:3 LISTLEVEL:int32 "
    "SETTLEDATE:date"
)
_MARKET_DATA = columns(
    "SECID:string:36 BOARDID:string:12 OPEN LOW HIGH LAST VALUE VOLTODAY:int64 VALTODAY:int64 TRADINGSTATUS:string:3 "
    "UPDATETIME:time TIME:time SYSTIME:datetime SEQNUM:int64"
)
_DATA_VERSION = columns("data_version:int32 seqnum:int64")


def board_blocks(exchange: Exchange, book: CandleBook, known: Sequence[Security], board: str, seen: int) -> list[Block]:
    """Return what of the *known* is traded on *board* now, as far as it is *seen*, in one answer."""
    cards = [
        card for card in known if any(listing.board.board == board and listing.is_traded for listing in card.listings)
    ]
    sequence = seen - period_start_of(seen, DAY)
    return [
        Block.of("securities", _SECURITIES, [_security_row(exchange, card, board, seen) for card in cards]),
        Block.of("marketdata", _MARKET_DATA, [_market_data_row(exchange, book, card, board, seen) for card in cards]),
        Block.of("dataversion", _DATA_VERSION, [[1, sequence]]),
    ]


def _security_row(exchange: Exchange, card: Security, board: str, seen: int) -> list[Any]:
    listing = next(listing for listing in card.listings if listing.board.board == board)
    before = _last_row(exchange, card.secid, board, seen)
    values: dict[str, Any] = {
        "SECID": card.secid,
        "BOARDID": board,
        "SHORTNAME": card.shortname,
        "PREVPRICE": before.get("CLOSE"),
        "LOTSIZE": card.lot,
        "FACEVALUE": card.face,
        "STATUS": "A",
        "BOARDNAME": listing.board.title,
        "DECIMALS": card.decimals,
        "SECNAME": card.name,
        "MINSTEP": card.step,
        "PREVWAPRICE": before.get("WAPRICE"),
        "PREVDATE": before.get("TRADEDATE"),
        "ISIN": card.isin,
        "LATNAME": card.latname,
        "PREVLEGALCLOSEPRICE": before.get("LEGALCLOSEPRICE"),
        "CURRENCYID": "SUR",
        "FACEUNIT": "SUR",
    }
    return [values.get(column.name) for column in _SECURITIES]


def _last_row(exchange: Exchange, secid: str, board: str, seen: int) -> dict[str, Any]:
    """Return the newest end-of-day row before today that has a price."""
    history = exchange.history(secid)
    names = [column.name for column in history.columns]
    for row in range(int(np.searchsorted(history.dates, period_start_of(seen, DAY))) - 1, -1, -1):
        values = dict(zip(names, history.rows[row], strict=True))
        if history.boards[row] == board and values["CLOSE"] is not None:
            return values
    return {}


def _market_data_row(exchange: Exchange, book: CandleBook, card: Security, board: str, seen: int) -> list[Any]:
    today = period_start_of(seen, DAY)
    open_ = close = high = low = value = volume = end = None
    if board == card.primary.board.board and DAY in exchange.intervals(card.secid):
        page = book.page(Span(card.secid, DAY, today, today + SECONDS_A_DAY - 1, seen), 0, newest_first=True)
        for row in orjson.loads(b"[" + page + b"]"):
            open_, close, high, low, value, volume, _, end = row
    updated = str(from_seconds(seen))
    time = (end or updated)[11:]
    turnover = None if value is None else int(value)
    status = "N" if end is None else "T"
    prices = [open_, low, high, close, value, volume, turnover]
    return [card.secid, board, *prices, status, time, time, updated, seen - today]
