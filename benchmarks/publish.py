"""
Gold into PostgreSQL: seconds and rows a second of a first load, increments and a rebuild; milliseconds of queries.

    .venv/bin/python -m benchmarks.publish [--rows 1000000]
"""

from __future__ import annotations

import argparse
import datetime as dt
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import write_deltalake

from lakehouse.database.connection import connect
from lakehouse.database.migrate import migrate
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.market.candle import DIM_DATE, DIM_INSTRUMENT, FACT_CANDLE
from lakehouse.market.table import Table
from lakehouse.serving.publish import PublishReport, publish_gold, rebuild_serving
from lakehouse.serving.queries import candles, instruments
from lakehouse.silver.arrow import arrow_schema
from lakehouse.silver.lake import Lake

MINUTES_A_DAY = 850
DAYS = 120
FIRST_DATE = np.datetime64("2024-01-01", "D")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)  # PostgreSQL runs as another user when this one is root
        lake = Lake(str(root / "lake"))
        make_gold(lake, rows)
        with EmbeddedPostgres(root / "postgres") as postgres:
            migrate(postgres.dsn)
            measure(lake, postgres.dsn, rows)


def measure(lake: Lake, dsn: str, rows: int) -> None:
    show("first load", rows, lambda: publish_gold(dsn, lake))
    show("nothing new", 0, lambda: publish_gold(dsn, lake))
    for _ in range(2):
        changed = revise(lake, 20_000)
        show("increment", changed, lambda: publish_gold(dsn, lake))
    show("rebuild", rows, lambda: rebuild_serving(dsn, lake))
    with connect(dsn, "lakehouse_read") as conn:
        read("instruments, type-ahead", lambda: instruments(conn, "s00"))
        read("page of 1,000 minutes", lambda: candles(conn, "S000", None, "1m"))
        read("page of 10,000 minutes", lambda: candles(conn, "S000", None, "1m", limit=10_000))


def show(name: str, rows: int, publish: Callable[[], PublishReport]) -> None:
    began = time.perf_counter()
    report = publish()
    seconds = time.perf_counter() - began
    pace = f"{rows:>9,} rows {rows / seconds:>9,.0f} rows/s" if rows else ""
    print(f"{name:12} {seconds:6.2f} s {pace}   (shown {report.rows:,}, version {report.data_version})")


def read(name: str, query: Callable[[], Any]) -> None:
    query()
    began = time.perf_counter()
    for _ in range(10):
        query()
    print(f"{name:26} {(time.perf_counter() - began) * 100:6.1f} ms")


def make_gold(lake: Lake, rows: int) -> None:
    """Write minutes of as many instruments as make up *rows*, in the partitions that Gold has."""
    per_instrument = MINUTES_A_DAY * DAYS
    count = -(-rows // per_instrument)
    write_gold(lake, pa.concat_tables([minutes(number, per_instrument) for number in range(count)]).slice(0, rows))


def write_gold(lake: Lake, facts: pa.Table) -> None:
    """Write *facts*, and the instruments S000, S001 ... that they are of."""
    write(lake, FACT_CANDLE, facts)
    texts = {
        "engine": "stock",
        "market": "shares",
        "board": "TQBR",
        "currency": "RUB",
        "decimals": 2,
        "is_traded": True,
    }
    names = sorted(pc.unique(facts["secid"]).to_pylist())
    cards = [
        {"instrument_id": at + 1, "secid": name, "secids": name, "name": name, **texts} for at, name in enumerate(names)
    ]
    write(lake, DIM_INSTRUMENT, pa.Table.from_pylist(cards, arrow_schema(DIM_INSTRUMENT)))
    date = {
        "trade_date": dt.date(2024, 1, 1),
        "is_traded": False,
        "reason": "H",
        "year": 2024,
        "quarter": 1,
        "month": 1,
    }
    write(lake, DIM_DATE, pa.Table.from_pylist([date | {"week_day": 1}], arrow_schema(DIM_DATE)))


def minutes(number: int, rows: int) -> pa.Table:
    """Return minute candles of an instrument from 2024 on."""
    day, minute = np.divmod(np.arange(rows), MINUTES_A_DAY)
    dates = FIRST_DATE + day
    begin = dates.astype("datetime64[us]") + (minute * 60_000_000 + 4 * 3_600_000_000).astype("timedelta64[us]")
    return _facts(number, "1m", dates, begin, dates.astype("datetime64[M]").astype(str))


def days(number: int, years: int) -> pa.Table:
    """Return daily candles of an instrument: *years* of weekdays up to the end of 2024."""
    last = np.datetime64("2025-01-01", "D")
    dates = np.arange(last - np.timedelta64(365 * years, "D"), last)
    dates = dates[np.is_busday(dates)]
    begin = dates.astype("datetime64[us]") - np.timedelta64(3, "h")
    return _facts(number, "1d", dates, begin, np.full(len(dates), "all"))


def _facts(number: int, timeframe: str, dates: Any, begin: Any, bucket: Any) -> pa.Table:
    rows = len(dates)
    rng = np.random.default_rng(number)
    price = np.round(100 + np.cumsum(rng.normal(0, 0.01, rows)), 2)
    columns = {
        "instrument_id": pa.repeat(number + 1, rows),
        "timeframe": pa.repeat(timeframe, rows),
        "begin_at": pa.array(begin).cast(pa.timestamp("us", "UTC")),
        "trade_date": pa.array(dates),
        "secid": pa.repeat(f"S{number:03}", rows),
        **{name: pa.array(price) for name in ("open", "high", "low", "close")},
        "value": pa.array(price * 1000),
        "volume": pa.array(rng.integers(1, 9999, rows).astype(float)),
        "is_final": pa.repeat(True, rows),
        "split_factor": pa.repeat(1.0, rows),
        "sma_20": pa.array(price, mask=np.arange(rows) < 19),
        "rsi_14": pa.array(rng.uniform(0, 100, rows), mask=np.arange(rows) < 14),
        "bucket": pa.array(bucket),
    }
    return pa.table({name: columns[name] for name in FACT_CANDLE.names}).cast(arrow_schema(FACT_CANDLE))


def write(lake: Lake, table: Table, rows: pa.Table) -> None:
    partitions = list(table.partition_by) or None
    feed = {"delta.enableChangeDataFeed": "true"}
    write_deltalake(lake.at(table).url, rows, partition_by=partitions, configuration=feed)


def revise(lake: Lake, rows: int) -> int:
    """Change the last *rows* of a partition in one commit."""
    table = lake.at(FACT_CANDLE).open()
    months = table.to_pyarrow_dataset().to_table(filter=pc.field("bucket") == "2024-02")
    changed = months.slice(max(0, len(months) - rows))
    at = changed.column_names.index("close")
    moved = changed.set_column(at, "close", pc.add(changed["close"], np.random.default_rng().uniform()))
    on = " AND ".join(f"t.{name} = s.{name}" for name in (*FACT_CANDLE.key, "bucket"))
    table.merge(
        moved, f"{on} AND t.bucket = '2024-02'", source_alias="s", target_alias="t"
    ).when_matched_update_all().execute()
    return len(moved)


if __name__ == "__main__":
    main()
