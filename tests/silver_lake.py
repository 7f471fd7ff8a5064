"""A Silver made by deltalake, for tests of Gold: current rows, closed ones, one commit a change."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from lakehouse.market.candle import CALENDAR, CANDLES, INSTRUMENTS, RENAMES, SILVER, SPLITS
from lakehouse.market.moscow import day_start
from lakehouse.market.table import Table
from lakehouse.silver.arrow import arrow_schema
from lakehouse.silver.lake import Lake

Row = dict[str, Any]
FIRST_DATE = dt.date(2024, 3, 1)
KNOWN = {"known_from": dt.datetime(2024, 1, 1, tzinfo=dt.UTC), "known_till": None, "source": "made#1.0"}
SHARE = {"engine": "stock", "market": "shares", "board": "TQBR"}


def day(number: int) -> dt.date:
    return FIRST_DATE + dt.timedelta(number)


def candle(secid: str, number: int, close: float | None, **rest: Any) -> Row:
    prices = {"open": close, "high": close, "low": close, "close": close, "value": 1.0, "volume": 10.0}
    place = {**SHARE, "secid": secid, "timeframe": "1d", "begin_at": day_start(day(number)), "trade_date": day(number)}
    return {**place, **prices, "end_at": None, "is_final": True, **KNOWN, "bucket": "all", **rest}


def minute(secid: str, number: int, close: float, **rest: Any) -> Row:
    begin = day_start(FIRST_DATE) + dt.timedelta(hours=10, minutes=number)
    return candle(secid, 0, close, timeframe="1m", begin_at=begin, bucket=f"{FIRST_DATE:%Y-%m}", **rest)


def card(secid: str, **rest: Any) -> Row:
    texts = {"shortname": secid, "name": f"{secid} plc", "isin": None, "type": "common_share", "currency": "RUB"}
    flags = {"decimals": 2, "is_traded": True, "is_primary": True, "history_from": None, "history_till": None}
    return {**SHARE, "secid": secid, **texts, **flags, **KNOWN, **rest}


def split(secid: str, date: dt.date, before: float, after: float) -> Row:
    return {"engine": "stock", "secid": secid, "trade_date": date, "before": before, "after": after, **KNOWN}


def rename(old: str, new: str, date: dt.date) -> Row:
    place = {"engine": "stock", "market": "shares"}
    return {**place, "old_secid": old, "new_secid": new, "action_date": date, **KNOWN}


def calendar_day(date: dt.date, *, is_traded: bool, reason: str | None = None) -> Row:
    return {"engine": "stock", "trade_date": date, "is_traded": is_traded, "reason": reason, **KNOWN}


class SilverLake:
    """The tables of Silver in a folder, made if they are not there."""

    def __init__(self, folder: Path) -> None:
        self.lake = Lake(str(folder))
        for table in SILVER:
            if not self.lake.at(table).exists():
                self._create(table)

    def candles(self, *rows: Row) -> None:
        self.put(CANDLES, rows)

    def cards(self, *rows: Row) -> None:
        self.put(INSTRUMENTS, rows)

    def splits(self, *rows: Row) -> None:
        self.put(SPLITS, rows)

    def renames(self, *rows: Row) -> None:
        self.put(RENAMES, rows)

    def calendar(self, *rows: Row) -> None:
        self.put(CALENDAR, rows)

    def put(self, table: Table, rows: Iterable[Row]) -> None:
        """Insert rows, or update those with the same key and `known_from`."""
        merge = self._merge(table, list(rows))
        merge.when_matched_update_all().when_not_matched_insert_all().execute()

    def close(self, table: Table, *rows: Row) -> None:
        """Close versions: the exchange does not have them any more."""
        self.put(table, [row | {"known_till": dt.datetime(2024, 2, 1, tzinfo=dt.UTC)} for row in rows])

    def _merge(self, table: Table, rows: list[Row]) -> Any:
        source = pa.Table.from_pylist(rows, arrow_schema(table))
        on = " AND ".join(f"t.{name} = s.{name}" for name in (*table.key, "known_from"))
        delta = self.lake.at(table).open()
        return delta.merge(source, on, source_alias="s", target_alias="t")

    def _create(self, table: Table) -> None:
        write_deltalake(
            self.lake.at(table).url,
            arrow_schema(table).empty_table(),
            partition_by=list(table.partition_by) or None,
            configuration={"delta.enableChangeDataFeed": "true"},
        )
