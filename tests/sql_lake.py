"""A lake of a few rows for tests of SQL over it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from lakehouse.market.candle import CANDLES
from lakehouse.market.table import Table
from lakehouse.silver.arrow import arrow_schema

DAY = dt.date(2024, 3, 5)
BEGIN = dt.datetime(2024, 3, 4, 21, tzinfo=dt.UTC)
FIRST, SECOND = dt.datetime(2024, 3, 6, tzinfo=dt.UTC), dt.datetime(2024, 3, 7, tzinfo=dt.UTC)


def candle(secid: str, close: float, known_from: dt.datetime, known_till: dt.datetime | None = None) -> dict[str, Any]:
    return {
        **dict.fromkeys(CANDLES.names),
        **{"engine": "stock", "market": "shares", "board": "TQBR", "secid": secid, "timeframe": "1d"},
        **{"begin_at": BEGIN, "trade_date": DAY, "close": close, "is_final": True, "source": "k#1.0", "bucket": "all"},
        **{"known_from": known_from, "known_till": known_till},
    }


def date(day: dt.date) -> dict[str, Any]:
    return {"trade_date": day, "is_traded": True, "year": 2024, "quarter": 1, "month": 3, "week_day": day.isoweekday()}


def write(lake: Path | str, table: Table, rows: list[dict[str, Any]], options: dict[str, str] | None = None) -> None:
    """Make *rows* the newest version of a table in the folder or bucket *lake*, which *options* of deltalake reach."""
    written = pa.Table.from_pylist(rows, schema=arrow_schema(table))
    url = f"{lake}/{table.name.replace('.', '/')}"
    partitions = list(table.partition_by) or None
    write_deltalake(url, written, mode="overwrite", partition_by=partitions, storage_options=options)
