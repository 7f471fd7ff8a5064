"""
Bronze to Silver of minute candles: seconds and rows per second of two first loads, two increments and a no-op.

    .venv/bin/python benchmarks/silver_merge.py [--rows 1000000]

The first load is cold (the JVM compiles as it goes), the second, of as many rows of other securities, is warm.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lakehouse.bronze.ledger import record_landed
from lakehouse.bronze.objects import Exchange, Trailer, encode_object
from lakehouse.bronze.window import Window, candle_series
from lakehouse.database.connection import connect
from lakehouse.database.migrate import migrate
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.engines.spark import start_spark
from lakehouse.market.candle import CANDLES
from lakehouse.market.instrument import Instrument
from lakehouse.market.timeframe import Timeframe
from lakehouse.silver.content_hash import content_hash
from lakehouse.silver.lake import Lake
from lakehouse.silver.merge import ensure_silver, merge_bronze
from lakehouse.storage.store import Store, open_store

MINUTES_A_DAY = 850
FETCHED_AT = dt.datetime(2025, 1, 10, 9, 0, tzinfo=dt.UTC)
COLUMNS = ("open", "close", "high", "low", "value", "volume", "begin", "end")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)  # PostgreSQL runs as another user when this one is root
        with EmbeddedPostgres(root / "postgres", fsync=False) as postgres:
            migrate(postgres.dsn)
            measure(root, postgres.dsn, rows)


def measure(root: Path, dsn: str, rows: int) -> None:
    lake, bronze = Lake(str(root)), str(root / "bronze")
    store = open_store(bronze)
    began = time.perf_counter()
    spark = start_spark(work_dir=root / "spark")
    ensure_silver(spark, lake)
    print(f"Spark and empty tables   {time.perf_counter() - began:6.1f} s")

    def merge(name: str) -> None:
        began = time.perf_counter()
        report = merge_bronze(spark, dsn, bronze, lake)
        seconds = time.perf_counter() - began
        table = report.tables.get("silver.candles")
        received, accepted = (table.received, table.accepted) if table else (0, 0)
        print(f"{name:24} {seconds:6.1f} s {received:>9,} rows ({accepted:,} new) {received / seconds:>9,.0f} rows/s")

    land(store, dsn, "A", rows, FETCHED_AT)
    merge("first load, cold")
    land(store, dsn, "B", rows, FETCHED_AT)
    merge("first load, warm")
    land(store, dsn, "A", rows // 50, FETCHED_AT + dt.timedelta(hours=1), revised=True)
    merge("increment, re-read")
    land(store, dsn, "C", 10_000, FETCHED_AT)
    merge("increment, new")
    merge("no-op")
    began = time.perf_counter()
    digest = content_hash([(lake.at(CANDLES), CANDLES, True)])
    print(f"content hash             {time.perf_counter() - began:6.1f} s {digest[:16]}")
    spark.stop()


def land(store: Store, dsn: str, prefix: str, rows: int, fetched_at: dt.datetime, *, revised: bool = False) -> None:
    """Land at least *rows* minute candles: securities one after the other, half a month an object, 2024."""
    left = rows
    with connect(dsn) as conn:
        for number in range(100_000):
            for window in half_months(f"{prefix}{number:03}"):
                if left <= 0:
                    return
                candles = list(minutes(window, revised))
                left -= len(candles)
                pages = [candles[start : start + 500] for start in range(0, len(candles) + 1, 500)]
                exchanges = [exchange({"candles": {"columns": COLUMNS, "data": page}}, fetched_at) for page in pages]
                trailer = Trailer(window, fetched_at, len(candles), len(pages), "empty page", True, last=candles[-1][6])
                key, body = encode_object(exchanges, trailer)
                store.put(key, body)
                record_landed(conn, key, trailer)


def half_months(secid: str) -> Iterator[Window]:
    series = candle_series(Instrument("stock", "shares", "TQBR", secid), Timeframe.MINUTE)
    for month in range(1, 13):
        following = dt.date(2024 + month // 12, month % 12 + 1, 1)
        yield Window(series, dt.datetime(2024, month, 1), dt.date(2024, month, 15))  # noqa: DTZ001 - naive Moscow time
        yield Window(series, dt.datetime(2024, month, 16), following - dt.timedelta(days=1))  # noqa: DTZ001


def minutes(window: Window, revised: bool) -> Iterator[list[Any]]:
    rng = random.Random(str(window))
    days = (window.till - window.from_at.date()).days + 1
    for number in range(days):
        day = window.from_at + dt.timedelta(days=number, hours=6, minutes=59)
        for minute in range(MINUTES_A_DAY if day.weekday() < 5 else 0):
            begin = day + dt.timedelta(minutes=minute)
            price = round(rng.uniform(100, 200), 2)
            close = price + 0.01 if revised and minute % 10 == 0 else price
            end = begin + dt.timedelta(seconds=59)
            yield [price, close, price + 1, price - 1, price * 1000.5, rng.randrange(1, 9999), str(begin), str(end)]


def exchange(body: dict[str, Any], fetched_at: dt.datetime) -> Exchange:
    return Exchange("http://exchange/candles.json", 200, {}, fetched_at, json.dumps(body).encode())


if __name__ == "__main__":
    main()
