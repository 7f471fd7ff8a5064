"""Rows that the exchange leaves out of full pages, from the exchange to Silver and back to the exchange."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lakehouse.bronze.doubts import gap_counts, gaps
from lakehouse.bronze.fetch import FetchContext, Landed, fetch_windows
from lakehouse.bronze.prepare import instrument_windows
from lakehouse.bronze.reference import exchange_now, resolve_instrument
from lakehouse.database.connection import connect
from lakehouse.market.candle import CANDLES, HISTORY
from lakehouse.market.timeframe import Timeframe
from lakehouse.silver.content_hash import content_hash
from lakehouse.silver.lake import Lake
from lakehouse.silver.merge import merge_bronze
from lakehouse.silver.volume_check import check_volumes
from lakehouse.simulator.clock import Clock
from lakehouse.simulator.exchange import DEMO_NOW, MadeExchange
from lakehouse.simulator.faults import Fault
from lakehouse.simulator.server import running
from lakehouse.simulator.weather import Faults

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.postgres]

FROM, TILL = dt.date(2026, 6, 19), dt.date(2026, 6, 26)
TIMEFRAMES = [Timeframe.MINUTE, Timeframe.HOUR, Timeframe.DAY]
# A liquid share, one that trades in a few minutes of some days, and the index, which has turnover and no volume
SECIDS = ("SBER", "NKSH", "IMOEX")
HIDDEN = [
    Fault("hidden_rows", "candles", secid="SBER", begins=("2026-06-23 11:03:00", "2026-06-24 14:00:00")),
    Fault("hidden_rows", "candles", secid="IMOEX", begins=("2026-06-25 12:30:00", "2026-06-22 00:00:00")),
]
FOUND = {
    ("SBER", "1m", "2026-06-23"),
    ("SBER", "1m", "2026-06-24"),
    ("SBER", "1h", "2026-06-24"),
    ("IMOEX", "1m", "2026-06-25"),
    ("IMOEX", "1m", "2026-06-22"),
    ("IMOEX", "1h", "2026-06-22"),
}
ASKED_AGAIN = [
    "SBER TQBR 1m 2026-06-23..2026-06-24",
    "SBER TQBR 1h 2026-06-24..2026-06-24",
    "SBER TQBR 1d 2026-06-23..2026-06-24",
    "IMOEX SNDX 1m 2026-06-22..2026-06-22",
    "IMOEX SNDX 1m 2026-06-25..2026-06-25",
    "IMOEX SNDX 1h 2026-06-22..2026-06-22",
    "IMOEX SNDX 1d 2026-06-22..2026-06-22",
    "IMOEX SNDX 1d 2026-06-25..2026-06-25",
]


def ingest(context: FetchContext, secids: tuple[str, ...] = SECIDS) -> list[str]:
    """Plan and fetch what is due of all timeframes; return the windows."""
    now = exchange_now(context)
    planned = []
    for secid in secids:
        instrument = resolve_instrument(context, secid, now)
        planned += instrument_windows(context, instrument, TIMEFRAMES, from_=FROM, till=TILL, now=now)
    outcomes = fetch_windows(context, [(window, lambda pages, rows: None) for window in planned])
    assert all(isinstance(outcome, Landed) for outcome in outcomes), outcomes
    return [str(window) for window in planned]


def silver_hash(lake: Path) -> str:
    return content_hash([(Lake(str(lake)).at(table), table, True) for table in (CANDLES, HISTORY)])


def test_hidden_rows_are_found_and_read_again(spark: SparkSession, dsn: str, tmp_path: Path) -> None:
    """Rows left out of full pages show in the day's volume, and the next ingest brings them: Silver is a calm run's."""
    exchange, faults = MadeExchange(seed=1), Faults()
    with running(exchange, Clock(DEMO_NOW, frozen=True), faults) as url, connect(dsn) as conn:

        def run(lake: Path) -> list[str]:
            windows = ingest(FetchContext(url, dsn, str(lake / "bronze"), rate_per_s=0))
            merge_bronze(spark, dsn, str(lake / "bronze"), Lake(str(lake)))
            check_volumes(dsn, Lake(str(lake)))
            return windows

        run(tmp_path / "calm")
        calm = silver_hash(tmp_path / "calm")
        assert gaps(conn) == [], "minutes in which nothing traded raise no alarm"
        for table in ("bronze_object", "coverage", "progress"):
            conn.execute(f"TRUNCATE lake.{table}")
        lake = tmp_path / "stormy"
        faults.order(HIDDEN)
        run(lake)
        assert {(gap.secid, gap.timeframe, f"{gap.trade_date}") for gap in gaps(conn)} == FOUND
        assert gap_counts(conn) == {"differs": len(FOUND), "not provable": 0}
        assert {gap.measure for gap in gaps(conn, secid="IMOEX")} == {"value"}
        assert silver_hash(lake) != calm
        faults.order([])
        again = run(lake)
        assert sorted(again) == sorted(ASKED_AGAIN)
        assert gaps(conn) == []
        assert silver_hash(lake) == calm
        assert run(lake) == []
