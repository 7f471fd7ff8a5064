"""
The demo's ingests of the exchange's recorded data: every row of the files is there, with the file's own values.

By the chain's steps on a warm Spark; ``demo --once`` as a person runs it is in test_main_job.py.
"""

from __future__ import annotations

import csv
import datetime as dt
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from lakehouse.bronze.context import FetchContext
from lakehouse.bronze.doubts import gaps
from lakehouse.cli.remote import demo_ingests
from lakehouse.database.connection import connect
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.jobs.planning import plan_ingest
from lakehouse.jobs.queue import IngestRequest, submit_ingest
from lakehouse.market.candle import CANDLES, FACT_CANDLE, HISTORY, QUARANTINE
from lakehouse.market.moscow import to_utc
from lakehouse.market.table import Table
from lakehouse.settings import load_settings
from lakehouse.silver.lake import Lake
from lakehouse.simulator.clock import Clock
from lakehouse.simulator.recorded import RecordedExchange
from lakehouse.simulator.server import running
from lakehouse.up import Plan
from tests.killing import Chain, copied_database, shown
from tests.up_process import COMMAND

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.postgres, pytest.mark.recorded]


@pytest.fixture(scope="module")
def chain(
    spark: SparkSession,
    postgres: EmbeddedPostgres,
    migrated_database: str,
    recorded_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Chain]:
    """The chain after all that the demo asks of the recorded exchange."""
    exchange, folder = RecordedExchange(recorded_dir), tmp_path_factory.mktemp("recorded")
    clock = Clock(exchange.default_now, frozen=True)
    with running(exchange, clock) as url, copied_database(postgres.dsn, migrated_database) as dsn:
        chain = Chain(FetchContext(url, dsn, str(folder / "bronze"), rate_per_s=0), Lake(str(folder)))
        with connect(dsn) as conn:
            for document in demo_ingests(Plan(load_settings(), source="recorded", recorded=recorded_dir)):
                job_id = submit_ingest(conn, IngestRequest.parse(document), "test")
                plan_ingest(chain.context, job_id)
                chain.fetch_on("threads", job_id)
        chain.merge(spark)
        chain.publish(spark)
        with connect(dsn) as conn:
            assert conn.execute("SELECT DISTINCT state FROM lake.job").fetchall() == [("done",)]
        yield chain


def test_every_recorded_candle_is_in_silver(chain: Chain, recorded_dir: Path) -> None:
    """Candles of SBER's days, with their odd ends, and of EQMX's minutes, with holes, equal the files' to the bit."""
    table = _current(chain, CANDLES)
    for name, secid, timeframe in (("daily_candles/SBER", "SBER", "1d"), ("minute_candles/EQMX", "EQMX", "1m")):
        rows = _read(recorded_dir / f"{name}.csv")
        stored = table.filter((pl.col("secid") == secid) & (pl.col("timeframe") == timeframe))
        expected = {_instant(row["begin"]): _numbers(row) for row in rows}
        columns = ("open", "high", "low", "close", "value", "volume")
        assert {row["begin_at"]: tuple(row[c] for c in columns) for row in stored.to_dicts()} == expected
    assert table.height == 3489 + 2526
    assert _rows(chain, QUARANTINE) == 0
    assert shown(chain.dsn) == _rows(chain, FACT_CANDLE) == table.height


def test_every_recorded_day_is_in_history(chain: Chain, recorded_dir: Path) -> None:
    """History of six shares and of the index, which has no volume, equals the files', row for row."""
    table = _current(chain, HISTORY)
    files = sorted((recorded_dir / "daily_history").glob("*.csv"))
    for path in files:
        stored = table.filter(pl.col("secid") == path.stem).to_dicts()
        columns = ("open", "high", "low", "close", "value", "volume")
        got = {(row["board"], row["trade_date"]): tuple(row[c] for c in columns) for row in stored}
        expected = {(row["board"], dt.date.fromisoformat(row["date"])): _numbers(row) for row in _read(path)}
        assert got == expected, path.stem
    index = _read(recorded_dir / "index_history/IMOEX.csv")
    stored = table.filter(pl.col("secid") == "IMOEX").to_dicts()
    prices = {row["trade_date"]: (row["open"], row["low"], row["high"], row["close"], row["volume"]) for row in stored}
    assert prices == {
        dt.date.fromisoformat(row["TRADEDATE"]): (
            *(float(row[name]) for name in ("OPEN", "LOW", "HIGH", "CLOSE")),
            None,
        )
        for row in index
    }
    assert table.height == sum(len(_read(path)) for path in files) + len(index)


def test_recorded_volumes_raise_no_alarm(chain: Chain) -> None:
    """EQMX's minutes, which come without days, are listed as not provable; nothing is said to differ."""
    minutes = _current(chain, CANDLES).filter(pl.col("timeframe") == "1m")
    with connect(chain.dsn) as conn:
        found = gaps(conn)
    assert {(gap.secid, gap.timeframe, gap.state) for gap in found} == {("EQMX", "1m", "not provable")}
    assert {gap.trade_date for gap in found} == set(minutes["trade_date"])


def test_the_demo_asks_the_recorded_exchange(tmp_path: Path, open_folder: Path) -> None:
    """That of the folder which the command names: one without data ends it with the exchange's own words."""
    asked = ["demo", "--once", "--recorded", str(tmp_path), "--data", str(open_folder / "recorded")]
    done = subprocess.run([*COMMAND, *asked], capture_output=True, text=True, timeout=900)
    assert done.returncode == 1
    assert f"no recorded candles or history in {tmp_path}" in done.stderr
    assert "Traceback" not in done.stderr


def _current(chain: Chain, table: Table) -> pl.DataFrame:
    frame = pl.from_arrow(chain.lake.at(table).open().to_pyarrow_table())
    assert isinstance(frame, pl.DataFrame)
    return frame.filter(pl.col("known_till").is_null())


def _rows(chain: Chain, table: Table) -> int:
    return int(chain.lake.at(table).open().to_pyarrow_dataset().count_rows())


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _numbers(row: dict[str, str]) -> tuple[float, ...]:
    return tuple(float(row[name]) for name in ("open", "high", "low", "close", "value", "volume"))


def _instant(begin: str) -> dt.datetime:
    return to_utc(dt.datetime.fromisoformat(begin))
