"""The main job as a person or a program runs it: ``lakehouse demo --once --json``, its repetitions, and rebuilds."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from psycopg import sql

from lakehouse.database.connection import connect
from lakehouse.market.candle import FACT_CANDLE
from lakehouse.settings import load_settings
from lakehouse.silver.content_hash import content_hash
from lakehouse.silver.lake import Lake
from lakehouse.up import running, stamped_plan, with_settings
from lakehouse.up.offline import database_of

pytestmark = [pytest.mark.spark, pytest.mark.postgres]

SILVER = ("silver/candles", "silver/history", "silver/instruments", "silver/splits", "silver/calendar")
TABLES = (*SILVER, "gold/fact_candle")


def lakehouse(*arguments: str | Path, timeout_s: int = 1_800) -> str:
    """Run the command and return what it printed; fail with its errors when it fails."""
    command = [sys.executable, "-c", "from lakehouse.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    if done.returncode:
        pytest.fail(f"lakehouse {' '.join(map(str, arguments))} exited {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


def run_once(*arguments: str | Path) -> dict[str, Any]:
    """Run the main job; return its JSON object."""
    found: dict[str, Any] = json.loads(lakehouse("demo", "--once", "--json", *arguments))
    return found


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """A data folder that PostgreSQL's own user can reach."""
    with tempfile.TemporaryDirectory(prefix="lakehouse-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "demo"


@pytest.fixture(scope="module")
def first(data: Path) -> dict[str, Any]:
    """What the first run printed."""
    return run_once("--data", data)


def test_postgres_holds_all_of_gold(first: dict[str, Any]) -> None:
    """The main job ends with as many rows in PostgreSQL as in Gold, over 100,000 of them, and nothing in quarantine."""
    assert first["postgres_rows"] == first["gold_rows"] > 100_000
    assert first["silver_rows"] > first["gold_rows"]
    assert first["quarantined_rows"] == 0
    assert first["instruments"] >= 15
    assert first["pages"] > 200


def test_every_commit_is_sparks(first: dict[str, Any], data: Path) -> None:
    """Each Silver and Gold commit names Spark as its writer."""
    for table in TABLES:
        for commit in DeltaTable(data / table).history():
            assert commit["engineInfo"].startswith("Apache-Spark"), (table, commit)


def test_a_second_run_fetches_nothing_and_changes_nothing(first: dict[str, Any], data: Path) -> None:
    """What is final is not asked again, and the hashes stay."""
    versions = {table: DeltaTable(data / table).version() for table in TABLES}
    second = run_once("--data", data)
    assert second["pages"] == 0
    assert (second["silver_hash"], second["gold_hash"]) == (first["silver_hash"], first["gold_hash"])
    assert {table: DeltaTable(data / table).version() for table in TABLES} == versions


def test_rebuilds_from_bronze_give_the_same_hashes(first: dict[str, Any], data: Path) -> None:
    """With the ledger deleted and rebuilt, Silver and Gold rebuilt: the same hashes, and still nothing to fetch."""
    with running(stamped_plan(with_settings(load_settings(), data_dir=data), web="none", fetches=False)) as platform:
        with connect(platform.dsn) as conn:
            conn.execute("DELETE FROM lake.bronze_object")
            conn.execute("DELETE FROM lake.coverage")
        for station in ("ledger", "silver", "gold", "serving"):
            assert station in lakehouse("rebuild", station, "--data", data)
    again = run_once("--data", data)
    assert again["pages"] == 0
    assert (again["silver_hash"], again["gold_hash"]) == (first["silver_hash"], first["gold_hash"])
    assert again["postgres_rows"] == first["postgres_rows"]


def test_postgres_equals_gold_to_the_value(first: dict[str, Any], data: Path) -> None:
    """Every row and every value of Gold is in PostgreSQL."""
    gold = DeltaTable(data / "gold/fact_candle").to_pyarrow_table()
    columns = [name for name in FACT_CANDLE.names if name != "bucket"]
    with database_of(with_settings(load_settings(), data_dir=data)) as dsn, connect(dsn) as conn:
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        stored = conn.execute(sql.SQL("SELECT {} FROM gold.fact_candle").format(names)).fetchall()
    expected = zip(*(gold.column(name).to_pylist() for name in columns), strict=True)
    assert sorted(map(_key, stored)) == sorted(map(_key, expected))


def test_data_of_another_source_is_refused(first: dict[str, Any], data: Path) -> None:
    """A data folder of one seed does not take data of another."""
    command = [sys.executable, "-c", "from lakehouse.cli import main; main()", "demo", "--once", "--data", str(data)]
    done = subprocess.run([*command, "--seed", "7"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert "simulator with seed 1, and this is the simulator with seed 7: they must not mix" in done.stderr
    assert "Traceback" not in done.stderr


def test_content_hash_is_of_the_tables(first: dict[str, Any], data: Path) -> None:
    """The printed hash is that of the table any Delta reader opens."""
    assert content_hash([(Lake(str(data)).at(FACT_CANDLE), FACT_CANDLE, False)]) == first["gold_hash"]


def _key(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(repr(value.timestamp() if hasattr(value, "timestamp") else value) for value in row)
