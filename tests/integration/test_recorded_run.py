"""The main job on the exchange's recorded data: every row of the files is there, with the file's own values."""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from lakehouse.bronze.doubts import gaps
from lakehouse.database.connection import connect
from lakehouse.market.moscow import to_utc
from lakehouse.settings import load_settings
from lakehouse.up import with_settings
from lakehouse.up.offline import database_of
from tests.integration.test_main_job import run_once

pytestmark = [pytest.mark.spark, pytest.mark.postgres, pytest.mark.recorded]


@pytest.fixture(scope="module")
def recorded_run(recorded_dir: Path, open_folder: Path) -> tuple[dict[str, Any], Path]:
    """What the main job printed, and its data folder."""
    data = open_folder / "recorded"
    return run_once("--recorded", recorded_dir, "--data", data), data


def test_every_recorded_candle_is_in_silver(recorded_run: tuple[dict[str, Any], Path], recorded_dir: Path) -> None:
    """Candles of SBER's days, with their odd ends, and of EQMX's minutes, with holes, equal the files' to the bit."""
    found, data = recorded_run
    table = _current(data / "silver/candles")
    for name, secid, timeframe in (("daily_candles/SBER", "SBER", "1d"), ("minute_candles/EQMX", "EQMX", "1m")):
        rows = _read(recorded_dir / f"{name}.csv")
        stored = table.filter((pl.col("secid") == secid) & (pl.col("timeframe") == timeframe))
        expected = {_instant(row["begin"]): _numbers(row) for row in rows}
        columns = ("open", "high", "low", "close", "value", "volume")
        assert {row["begin_at"]: tuple(row[c] for c in columns) for row in stored.to_dicts()} == expected
    assert table.height == 3489 + 2526
    assert found["quarantined_rows"] == 0
    assert found["postgres_rows"] == found["gold_rows"] == table.height


def test_every_recorded_day_is_in_history(recorded_run: tuple[dict[str, Any], Path], recorded_dir: Path) -> None:
    """History of six shares and of the index, which has no volume, equals the files', row for row."""
    _, data = recorded_run
    table = _current(data / "silver/history")
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


def test_recorded_volumes_raise_no_alarm(recorded_run: tuple[dict[str, Any], Path]) -> None:
    """EQMX's minutes, which come without days, are listed as not provable; nothing is said to differ."""
    _, data = recorded_run
    minutes = _current(data / "silver/candles").filter(pl.col("timeframe") == "1m")
    with database_of(with_settings(load_settings(), data_dir=data)) as dsn, connect(dsn) as conn:
        found = gaps(conn)
    assert {(gap.secid, gap.timeframe, gap.state) for gap in found} == {("EQMX", "1m", "not provable")}
    assert {gap.trade_date for gap in found} == set(minutes["trade_date"])


def _current(path: Path) -> pl.DataFrame:
    frame = pl.from_arrow(DeltaTable(path).to_pyarrow_table())
    assert isinstance(frame, pl.DataFrame)
    return frame.filter(pl.col("known_till").is_null())


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _numbers(row: dict[str, str]) -> tuple[float, ...]:
    return tuple(float(row[name]) for name in ("open", "high", "low", "close", "value", "volume"))


def _instant(begin: str) -> dt.datetime:
    return to_utc(dt.datetime.fromisoformat(begin))
