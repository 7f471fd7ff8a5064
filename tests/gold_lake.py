"""A Gold made by deltalake, for tests of serving that need no Spark."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from lakehouse.market.candle import DIM_DATE, DIM_INSTRUMENT, FACT_CANDLE
from lakehouse.market.moscow import day_start
from lakehouse.market.table import Table
from lakehouse.silver.arrow import arrow_schema
from lakehouse.silver.lake import Lake

Row = dict[str, Any]
FIRST_DATE = dt.date(2020, 1, 1)
SBER, GMKN, TCSG = 1, 2, 3


def instrument(instrument_id: int, secid: str, **rest: Any) -> Row:
    named = {"engine": "stock", "market": "shares", "board": "TQBR", "secids": secid, "shortname": secid, "name": secid}
    card = {"isin": None, "type": "common_share", "currency": "RUB", "decimals": 2, "is_traded": True}
    return {"instrument_id": instrument_id, "secid": secid, **named, **card, "price_unit": "currency", **rest}


def fact(instrument_id: int, day: int, close: float = 100.0, **rest: Any) -> Row:
    date = FIRST_DATE + dt.timedelta(day)
    named = {"instrument_id": instrument_id, "timeframe": "1d", "begin_at": day_start(date), "trade_date": date}
    prices = {"open": close, "high": close + 1, "low": close - 1, "close": close, "value": 5.0, "volume": 10.0}
    computed = {"split_factor": 1.0, "sma_20": close, "rsi_14": 50.0, "bucket": "all"}
    return named | {"secid": f"S{instrument_id}"} | prices | {"is_final": True} | computed | rest


def minutes(instrument_id: int, count: int, close: float = 100.0) -> list[Row]:
    """Return *count* minutes from the first date on; a month is about 43,000."""
    start = day_start(FIRST_DATE)
    found = []
    for at in range(count):
        begin = start + dt.timedelta(minutes=at)
        date = (begin + dt.timedelta(hours=3)).date()
        named = {"timeframe": "1m", "begin_at": begin, "trade_date": date, "bucket": f"{date:%Y-%m}"}
        found.append(fact(instrument_id, 0, close) | named)
    return found


def date_row(day: int) -> Row:
    date = FIRST_DATE + dt.timedelta(day)
    parts = {"year": date.year, "quarter": (date.month + 2) // 3, "month": date.month, "week_day": date.isoweekday()}
    return {"trade_date": date, "is_traded": True, "reason": None, **parts}


def rows_of(table: Table, rows: Iterable[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), arrow_schema(table))


class GoldLake:
    """The tables of Gold in a folder, written by deltalake as Spark would: with a change feed, one commit a change."""

    def __init__(self, folder: Path) -> None:
        self.lake = Lake(str(folder))

    def create(self, facts: Iterable[Row], instruments: Iterable[Row], dates: Iterable[Row] | None = None) -> None:
        """Write the three tables."""
        self.write(DIM_INSTRUMENT, instruments)
        self.write(DIM_DATE, dates if dates is not None else [date_row(0)])
        self.write(FACT_CANDLE, facts)

    def write(self, table: Table, rows: Iterable[Row]) -> None:
        """Make a table that holds *rows*; one that exists gets a commit that replaces all of its rows."""
        write_deltalake(
            self.lake.at(table).url,
            rows_of(table, rows),
            mode="overwrite",
            partition_by=list(table.partition_by) or None,
            configuration={"delta.enableChangeDataFeed": "true"},
        )

    def put(self, *facts: Row) -> None:
        """Insert or update facts, in one commit."""
        merge = self._merge(rows_of(FACT_CANDLE, facts))
        merge.when_matched_update_all().when_not_matched_insert_all().execute()

    def drop(self, *facts: Row) -> None:
        """Delete facts, in one commit."""
        self._merge(rows_of(FACT_CANDLE, facts)).when_matched_delete().execute()

    def facts(self) -> list[tuple[Any, ...]]:
        """Return the facts as tuples in the declared order, sorted by key."""
        rows = self.lake.at(FACT_CANDLE).open().to_pyarrow_dataset().to_table().to_pylist()
        return sorted(tuple(row[name] for name in FACT_CANDLE.names) for row in rows)

    def _merge(self, rows: pa.Table) -> Any:
        on = " AND ".join(f"t.{name} = s.{name}" for name in FACT_CANDLE.key)
        table = self.lake.at(FACT_CANDLE).open()
        return table.merge(rows, on, source_alias="s", target_alias="t")


def random_facts(seed: int, instruments: int, days: int) -> list[Row]:
    """Return facts with NULLs here and there."""
    chance = random.Random(seed)
    return [
        fact(
            instrument_id,
            day,
            chance.uniform(1, 1000),
            volume=chance.choice([None, 1.0]),
            rsi_14=None if day < 14 else chance.uniform(0, 100),
        )
        for instrument_id in range(1, instruments + 1)
        for day in range(days)
    ]
