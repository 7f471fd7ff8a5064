"""Pages of the exchange as people save them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.bronze_objects import CANDLE_COLUMNS, HISTORY_COLUMNS, block

DAYS = "uploads/candles/stock/shares/TQBR/SBER/1d/page.json"
HISTORY = "uploads/history/stock/shares/page.json"


def candles_json(rows: Sequence[Sequence[Any]], **more: Any) -> bytes:
    """Return a page of candles as JSON."""
    return json.dumps({"candles": block(CANDLE_COLUMNS, rows), **more}).encode()


def history_json(rows: Sequence[Sequence[Any]], **more: Any) -> bytes:
    """Return a page of end-of-day rows as JSON."""
    return json.dumps({"history": block(HISTORY_COLUMNS, rows), **more}).encode()


def as_csv(name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """Return a block as the exchange writes CSV."""
    cells = [["" if value is None else str(value) for value in row] for row in rows]
    lines = [name, "", ";".join(columns), *(";".join(row) for row in cells), "", ""]
    return "\n".join(lines).encode("cp1251")


def end_of_day(date: str, close: float | None = 1.5, board: str = "TQBR", secid: str = "SBER") -> list[Any]:
    """Return an end-of-day row."""
    return [board, date, secid, 5, 10.5, 1, 1, 2, close, 10]
