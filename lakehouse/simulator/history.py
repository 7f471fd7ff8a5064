"""End-of-day rows: their columns, and pages of them with a cursor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from lakehouse.simulator.answer import Block, Columns, columns
from lakehouse.simulator.periods import SECONDS_A_DAY, Ints
from lakehouse.simulator.query import Query

_CURSOR = columns("INDEX:int64 TOTAL:int64 PAGESIZE:int64")

SHARES = columns(
    "BOARDID:string:12 TRADEDATE:date SHORTNAME:string:189 SECID:string:36 NUMTRADES VALUE OPEN LOW HIGH "
    "LEGALCLOSEPRICE WAPRICE CLOSE VOLUME MARKETPRICE2 MARKETPRICE3 ADMITTEDQUOTE MP2VALTRD MARKETPRICE3TRADESVALUE "
    "ADMITTEDVALUE WAVAL TRADINGSESSION:int32 CURRENCYID:string:9 TRENDCLSPR"
)
BONDS = columns(
    "BOARDID:string:12 TRADEDATE:date SHORTNAME:string:189 SECID:string:36 NUMTRADES VALUE LOW HIGH CLOSE "
    "LEGALCLOSEPRICE ACCINT WAPRICE YIELDCLOSE OPEN VOLUME MARKETPRICE2 MARKETPRICE3 COUPONPERCENT "
    "FACEVALUE CURRENCYID:string:9 TRADINGSESSION:int32"
)
INDEX = columns(
    "BOARDID:string:12 SECID:string:36 TRADEDATE:date SHORTNAME:string:189 NAME:string:765 CLOSE OPEN HIGH LOW VALUE "
    "NUMTRADES VOLUME DECIMALS:int32 CAPITALIZATION CURRENCYID:string:9 DIVISOR TRADINGSESSION:int32"
)
# The exchange's newest column (docs/iss.md section 4)
TRADE_SESSION_DATE = columns("TRADE_SESSION_DATE:date")


@dataclass(frozen=True)
class HistoryRows:
    """End-of-day rows of a security in the order of ISS: by date, then by board. *dates* are midnights."""

    columns: Columns
    dates: Ints
    boards: Sequence[str]
    rows: Sequence[Sequence[Any]]

    @classmethod
    def sorted(
        cls, columns_: Columns, rows: Sequence[tuple[int, str, Sequence[Any]]], order: Sequence[str]
    ) -> HistoryRows:
        """Return *rows* (midnight, board, values) in order; boards of one date in the order of *order*."""
        place = {board: at for at, board in enumerate(order)}
        ordered = sorted(rows, key=lambda row: (row[0], place[row[1]]))
        dates = np.array([date for date, _, _ in ordered], np.int64)
        return cls(columns_, dates, [board for _, board, _ in ordered], [values for _, _, values in ordered])


class HistoryText:
    """The rows of a security as JSON text, ready to be cut into pages."""

    def __init__(self, history: HistoryRows) -> None:
        self._columns = history.columns
        self._dates = history.dates
        self._boards = np.array(history.boards, np.str_)
        # As in candles: whole numbers of double columns have no fraction
        self._rows = [orjson.dumps([_whole(value) for value in row]) for row in history.rows]

    def page(self, query: Query, board: str | None, seen: int) -> list[Block]:
        """Return a page of rows and its cursor; *board* None means all boards of the market."""
        today = seen - seen % SECONDS_A_DAY
        rows = np.flatnonzero(
            (self._dates >= query.begins_from)
            & (self._dates <= query.begins_till)
            & (self._dates < today)
            & (True if board is None else self._boards == board)
        )
        if query.is_reversed:
            rows = rows[::-1]
        limit = query.history_limit
        page = rows[query.start : query.start + limit]
        text = b",".join([self._rows[row] for row in page.tolist()])
        cursor = [[query.start, len(rows), limit]]
        return [Block("history", self._columns, text), Block.of("history.cursor", _CURSOR, cursor)]


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
