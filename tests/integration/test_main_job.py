"""
The main job as a person or a program runs it, ``lakehouse demo --once --json``, and again; then on a platform that runs
on: rebuilds, and increments a day later, with a candle revised and one gone at the exchange.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from psycopg import sql

from lakehouse.cli.remote import demo_ingests
from lakehouse.database.connection import connect
from lakehouse.jobs import queue
from lakehouse.market.candle import FACT_CANDLE
from lakehouse.settings import load_settings
from lakehouse.silver.content_hash import content_hash
from lakehouse.silver.lake import Lake
from lakehouse.up import Plan, running, with_settings
from lakehouse.up.offline import database_of
from tests.killing import hashes, shown, until
from tests.town import Town

pytestmark = [pytest.mark.spark, pytest.mark.postgres]

SILVER = ("silver/candles", "silver/history", "silver/instruments", "silver/splits", "silver/calendar")
TABLES = (*SILVER, "gold/fact_candle")
REVISED, VANISHED = dt.date(2026, 6, 10), dt.date(2026, 6, 17)


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
    done = subprocess.run([*command, "--seed", "7"], capture_output=True, text=True, timeout=900)
    assert done.returncode == 1
    assert "simulator with seed 1, and this is the simulator with seed 7: they must not mix" in done.stderr
    assert "Traceback" not in done.stderr


def test_content_hash_is_of_the_tables(first: dict[str, Any], data: Path) -> None:
    """The printed hash is that of the table any Delta reader opens."""
    assert content_hash([(Lake(str(data)).at(FACT_CANDLE), FACT_CANDLE, False)]) == first["gold_hash"]


# -- on a platform that runs on --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def town(first: dict[str, Any], data: Path) -> Iterator[Town]:
    """The platform on what the main job left, with its exchange at the same hour."""
    settings = with_settings(load_settings(), data_dir=data)
    with running(Plan(settings, source="simulator", frozen=True, web="none")) as platform:
        yield Town(platform)


def test_rebuilds_from_bronze_give_the_same_hashes(first: dict[str, Any], town: Town, data: Path) -> None:
    """With the ledger deleted and rebuilt, Silver and Gold rebuilt: the same hashes, and still nothing to fetch."""
    with connect(town.platform.dsn) as conn:
        conn.execute("DELETE FROM lake.bronze_object")
        conn.execute("DELETE FROM lake.coverage")
    for station in ("ledger", "silver", "gold", "serving"):
        assert station in lakehouse("rebuild", station, "--data", data)
    for document in demo_ingests(town.platform.plan):
        again = town.load(**document)
        assert (again.state, again.windows_total) == ("done", 0)
    assert town.pages() == 0
    assert hashes(Lake(str(data))) == (first["silver_hash"], first["gold_hash"])
    assert shown(town.platform.dsn) == first["postgres_rows"]


@pytest.fixture(scope="module")
def a_day_later(town: Town) -> tuple[queue.Job, int]:
    """The load of SBER's days a day after the main job, with a ticker that nobody knows; and the pages it took."""
    assert town.ingest().windows_total == 0
    town.control("clock", {"now": "2026-07-02 06:00:00", "frozen": True}, "PUT")
    before = town.pages()
    return town.load(["NOSUCH", "SBER"]), town.pages() - before


def test_an_unknown_ticker_fails_alone(town: Town, a_day_later: tuple[queue.Job, int]) -> None:
    """The exchange does not know NOSUCH: the job says so and failed; the other ticker of the request was loaded."""
    job, _ = a_day_later
    assert job.state == "failed"
    assert job.why_failed is not None
    assert "the exchange does not know 'NOSUCH'" in job.why_failed
    assert job.windows_done == job.windows_total > 0
    assert len(town.versions_of(dt.date(2026, 7, 1))) == 1


def test_an_increment_asks_only_for_what_is_due_and_a_reread_finds_revisions(
    town: Town, a_day_later: tuple[queue.Job, int]
) -> None:
    """
    A day later one window of candles and one of history is asked; a re-read then gives two versions and a closed one.

    No row of Gold before the revised candle is written, later ones only where they differ, and PostgreSQL equals Gold.
    """
    job, pages = a_day_later
    assert job.rows <= 4  # the new day of each, and the anchors
    assert pages <= 4

    old = town.versions_of(REVISED)
    version = town.gold_version()
    revised = {"secid": "SBER", "interval": 24, "begin": f"{REVISED} 00:00:00", "values": {"close": old[0]["low"]}}
    town.control("revise", revised, "POST")
    town.control("vanish", {"secid": "SBER", "interval": 24, "begin": f"{VANISHED} 00:00:00"}, "POST")
    assert town.ingest().windows_total == 0  # nothing is due: old revisions need a re-read
    town.control("clock", {"now": "2026-07-02 06:05:00", "frozen": True}, "PUT")
    town.ingest(**{"from": "2026-06-01", "till": "2026-06-30"}, reread=True)

    versions = town.versions_of(REVISED)
    assert [row["close"] for row in versions] == [old[0]["close"], old[0]["low"]]
    assert versions[0]["known_till"] == versions[1]["known_from"]
    assert versions[1]["known_till"] is None
    gone = town.versions_of(VANISHED)
    assert len(gone) == 1
    assert gone[0]["known_till"] is not None
    changes = town.gold_changes_since(version)
    assert changes["trade_date"].min() == REVISED
    _assert_updates_differ(changes)
    assert VANISHED in set(changes.filter(pl.col("_change_type") == "delete")["trade_date"])
    assert town.differences_to_gold() == 0


def test_a_cancelled_job_says_so_only_when_it_has_stopped(town: Town) -> None:
    """Cancelling a queued ingest ends with state cancelled, none of its windows running, and nothing half-landed."""
    job_id = town.submit(["GAZP", "LKOH"], "1m")
    with connect(town.platform.dsn) as conn:
        until(lambda: (job := queue.job(conn, job_id)) and job.windows_total)
        queue.cancel(conn, job_id)
        assert town.over(job_id).state == "cancelled"
        assert {window.state for window in queue.windows(conn, job_id)} <= {"cancelled", "landed"}


def _key(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(repr(value.timestamp() if hasattr(value, "timestamp") else value) for value in row)


def _assert_updates_differ(changes: pl.DataFrame) -> None:
    """Every updated row differs from what it was in a value."""
    names = [name for name in changes.columns if not name.startswith("_")]
    before = changes.filter(pl.col("_change_type") == "update_preimage").select(names)
    after = changes.filter(pl.col("_change_type") == "update_postimage").select(names)
    assert before.height == after.height
    assert before.join(after, on=names, how="inner", nulls_equal=True).height == 0
