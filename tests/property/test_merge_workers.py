"""The whole merge, with Delta, ledger and PostgreSQL: seeded worlds in one lake, several workers, sudden deaths."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import Connection, sql

from lakehouse.bronze.ledger import LedgerObject, record_landed
from lakehouse.bronze.objects import decode_object
from lakehouse.database.connection import connect
from lakehouse.database.locks import LockLost, table_lock
from lakehouse.database.progress import read_progress
from lakehouse.market.candle import CANDLES, HISTORY, QUARANTINE
from lakehouse.silver.lake import Lake as Tables
from lakehouse.silver.merge import merge_bronze, rebuild_silver
from lakehouse.silver.report import MergeReport
from lakehouse.storage.store import open_store
from tests.bronze_objects import candle, candles_object
from tests.merge_worker import LANDED, READY
from tests.merge_world import Made, T, hash_of, quarantined, stored_version, versions, world
from tests.seeds import TORTURE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.postgres]

LAKES, WORLDS_A_LAKE, TROUBLES_A_LAKE = 5, 100, 5


@dataclass
class Lake:
    """A data folder and its ledger."""

    spark: SparkSession
    dsn: str
    root: Path
    conn: Connection[Any]

    def land(self, *objects: tuple[LedgerObject, bytes]) -> None:
        store = open_store(str(self.root / "bronze"))
        for described, body in objects:
            store.put(described.object_key, body)
            with self.conn.transaction():
                record_landed(self.conn, described.object_key, decode_object(body).trailer)
                self.conn.execute(
                    "UPDATE lake.bronze_object SET rank = %s WHERE object_key = %s",
                    [described.rank, described.object_key],
                )

    @property
    def tables(self) -> Tables:
        return Tables(str(self.root))

    def merge(self, **how: Any) -> MergeReport:
        """Merge in a session of its own, as another worker would."""
        return merge_bronze(self.spark.newSession(), self.dsn, str(self.root / "bronze"), self.tables, **how)

    def unmerged(self) -> int:
        row = self.conn.execute("SELECT count(*) FROM lake.bronze_object WHERE merged_at IS NULL").fetchone()
        return int(row[0]) if row else 0

    def rows(self, table: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.tables.at(table).open().to_pyarrow_table().to_pylist()
        return found

    def candles_version(self) -> int:
        candles = self.tables.at(CANDLES)
        return candles.open().version() if candles.exists() else 0

    def versions(self) -> list[tuple[Any, ...]]:
        found = [stored_version(table, row) for table in (CANDLES, HISTORY) for row in self.rows(table)]
        return sorted(found, key=repr)


@pytest.fixture
def lake(spark: SparkSession, dsn: str, tmp_path: Path) -> Iterator[Lake]:
    with connect(dsn) as conn:
        conn.execute(
            """
            CREATE SEQUENCE lake.deaths;
            CREATE FUNCTION lake.die() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN IF nextval('lake.deaths') <= TG_ARGV[0]::bigint THEN RAISE 'died'; END IF; RETURN NEW; END $$
            """
        )
        yield Lake(spark, dsn, tmp_path, conn)


AFTER_COMMIT = "BEFORE UPDATE OF merged_at ON lake.bronze_object FOR EACH ROW WHEN (OLD.merged_at IS NULL)"
BEFORE_QUARANTINE = "BEFORE INSERT ON lake.table_lock FOR EACH ROW WHEN (NEW.table_name = 'silver.quarantine')"


@contextmanager
def deaths(lake: Lake, where: str, count: int = 1) -> Iterator[None]:
    """Let the first *count* that come to *where* die there; a sequence counts them, which no rollback takes back."""
    lake.conn.execute("ALTER SEQUENCE lake.deaths RESTART")
    trigger = sql.SQL("CREATE TRIGGER death {} EXECUTE FUNCTION lake.die({})")
    lake.conn.execute(trigger.format(sql.SQL(where), sql.Literal(str(count))))
    try:
        yield
    finally:
        lake.conn.execute(sql.SQL("DROP TRIGGER death ON {}").format(sql.SQL(where.split(" ON ")[1].split()[0])))


def die_after_commit(lake: Lake, rng: random.Random) -> None:
    """Both tables are committed, and neither is recorded: all of it is merged again."""
    with deaths(lake, AFTER_COMMIT, 2), pytest.raises(psycopg.errors.RaiseException, match="died"):
        lake.merge(limit=rng.choice((None, lake.unmerged() // 3)))


def die_before_quarantine(lake: Lake, rng: random.Random) -> None:
    """A table is committed, its broken rows are not in the quarantine yet."""
    with deaths(lake, BEFORE_QUARANTINE, 2), pytest.raises(psycopg.errors.RaiseException, match="died"):
        lake.merge()


def lose_the_lock(lake: Lake, rng: random.Random) -> None:
    """Somebody takes the lock over while versions are derived: nothing may be committed."""
    before = lake.candles_version()

    def take_over(conn: Connection[Any], until: threading.Event) -> None:
        taken = "UPDATE lake.table_lock SET generation = generation + 1 WHERE run_id = 'robbed' AND table_name = %s"
        while not until.is_set() and not conn.execute(taken, [CANDLES.name]).rowcount:
            time.sleep(0.01)

    over = threading.Event()
    with connect(lake.dsn) as conn, ThreadPoolExecutor(1) as pool:
        robbery = pool.submit(take_over, conn, over)
        with pytest.raises(LockLost, match=r"silver.candles: another run took its lock after run robbed"):
            lake.merge(run_id="robbed")
        over.set()
        robbery.result()
    assert lake.candles_version() == before


def work_side_by_side(lake: Lake, rng: random.Random) -> None:
    """Two workers take what they find, some of it both."""
    _both(lake, rng)


def work_side_by_side_and_die(lake: Lake, rng: random.Random) -> None:
    """One of two workers dies after its commit, while the other waits for the lock or derives something else."""
    with deaths(lake, AFTER_COMMIT):
        died = [error for error in _both(lake, rng) if error]
    assert all(isinstance(error, psycopg.errors.RaiseException) for error in died), died
    assert len(died) == 1


def _both(lake: Lake, rng: random.Random) -> list[BaseException | None]:
    left = lake.unmerged()
    limits = [rng.choice((None, left // 2, left // 4 + 1)) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        working: list[Future[MergeReport]] = []
        for limit in limits:
            working.append(pool.submit(lake.merge, limit=limit))
            time.sleep(rng.random())
    return [future.exception() for future in working]


TROUBLES: Sequence[Callable[[Lake, random.Random], None]] = (
    lose_the_lock,
    die_after_commit,
    die_before_quarantine,
    work_side_by_side,
    work_side_by_side_and_die,
)


@pytest.mark.skipif(not TORTURE, reason="a lake of many worlds takes minutes: make torture")
@pytest.mark.parametrize("number", range(LAKES))
def test_every_worker_order_and_death_ends_in_the_same_versions(lake: Lake, number: int) -> None:
    """
    However worlds land, by whichever workers they are merged and wherever these die, all versions are the same.

    They are those of plain reasoning, and so is the quarantine; merging again and rebuilding change nothing.
    """
    rng = random.Random(f"lake {number}")
    worlds = [world(seed) for seed in range(number * WORLDS_A_LAKE, (number + 1) * WORLDS_A_LAKE)]
    objects = [made for each in worlds for made in each]
    rng.shuffle(objects)
    landed: list[Made] = []
    for wave, trouble in enumerate(rng.sample(TROUBLES, TROUBLES_A_LAKE)):
        again = rng.sample(landed, len(landed) // 10)
        arriving = objects[wave::TROUBLES_A_LAKE]
        landed += arriving
        lake.land(*((made.described, made.body) for made in [*arriving, *again]))
        trouble(lake, rng)
        if rng.random() < 0.3:
            lake.merge(limit=rng.choice((None, 20)))
    lake.merge()
    assert lake.unmerged() == 0
    expected = versions(objects)
    wrong = {one[1][0] for one in set(lake.versions()) ^ set(expected)}
    assert wrong == set(), f"{len(wrong)} of {len(worlds)} worlds end in other versions"
    assert hash_of(lake.versions()) == hash_of(expected)
    assert sorted(row["source"] for row in lake.rows(QUARANTINE)) == quarantined(objects)
    assert read_progress(lake.conn, CANDLES.name) == lake.candles_version()
    assert lake.merge().tables == {}
    rebuilt = rebuild_silver(lake.spark, lake.dsn, str(lake.root / "bronze"), lake.tables)
    assert not rebuilt.changed
    received = sum(report.received for report in rebuilt.tables.values())
    assert received == sum(len(made.rows) for made in objects)


@pytest.mark.skipif(not TORTURE, reason="two Sparks on one machine take minutes: make torture")
def test_workers_in_two_processes_take_turns(lake: Lake) -> None:
    """Two Sparks on one lake merge while objects land: both commit, and all versions are those of plain reasoning."""
    objects = [made for seed in range(1_000, 1_020) for made in world(seed)]
    random.Random("two processes").shuffle(objects)
    with _process(lake) as worker:
        reports = []
        for group in range(4):
            lake.land(*((made.described, made.body) for made in objects[group::4]))
            reports.append(lake.merge(limit=10))
        (lake.root / LANDED).touch()
        reports.append(lake.merge())
        printed, _ = worker.communicate(timeout=900)
    assert worker.returncode == 0
    mine = {report.run_id for report in reports if report.changed}
    theirs = set(printed.split())
    assert mine
    assert theirs
    commits = lake.tables.at(CANDLES).open().history()
    assert {one["userMetadata"] for one in commits if one["operation"] == "MERGE"} <= mine | theirs
    assert lake.unmerged() == 0
    assert lake.versions() == versions(objects)
    assert sorted(row["source"] for row in lake.rows(QUARANTINE)) == quarantined(objects)


@contextmanager
def _process(lake: Lake) -> Iterator[subprocess.Popen[str]]:
    """Another process with a Spark of its own, which is ready; none is left afterwards."""
    command = [sys.executable, "-m", "tests.merge_worker", lake.dsn, str(lake.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        try:
            until = time.monotonic() + 900
            while not (lake.root / READY).exists():
                if worker.poll() is not None or time.monotonic() > until:
                    pytest.fail(f"the other worker did not start (exit {worker.poll()})")
                time.sleep(0.1)
            yield worker
        finally:
            worker.kill()


def test_who_waited_does_not_trust_what_a_dead_worker_left(lake: Lake) -> None:
    """
    A worker that looked at the table before another committed and died records no version that holds its objects.

    Else a late object, taken by the fast path, would leave a closed version as it was.
    """

    def minute(close: float, hour: int, secid: str = "SBER") -> tuple[LedgerObject, bytes]:
        fetched_at = T(f"2024-03-20T{hour}:00+00:00")
        return candles_object([candle("2024-03-04 10:00:00", close)], secid=secid, fetched_at=fetched_at)

    lake.land(minute(1.5, 10), minute(1.5, 10, "GAZP"))
    lake.merge()
    with ThreadPoolExecutor(2) as pool, deaths(lake, AFTER_COMMIT):
        with table_lock(lake.dsn, CANDLES.name, "test"):
            lake.land(minute(1.25, 12))
            dies = pool.submit(lake.merge)
            _until_waiting(lake, 1)
            lake.land(minute(2.0, 11, "GAZP"))
            goes_on = pool.submit(lake.merge, limit=1)
            _until_waiting(lake, 2)
        assert isinstance(dies.exception(), psycopg.errors.RaiseException)
        assert goes_on.result().tables[CANDLES.name].revised == 1
    lake.land(minute(1.75, 11))
    lake.merge()
    found = [
        (row["close"], row["known_from"].hour, row["known_till"].hour if row["known_till"] else None)
        for row in sorted(lake.rows(CANDLES), key=lambda row: row["known_from"])
        if row["secid"] == "SBER"
    ]
    assert found == [(1.5, 10, 11), (1.75, 11, 12), (1.25, 12, None)]


def _until_waiting(lake: Lake, count: int) -> None:
    """Return when *count* workers wait for the lock of a table."""
    query = """
        SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (
            SELECT oid FROM pg_database WHERE datname = current_database())
        """
    until = time.monotonic() + 900
    while (row := lake.conn.execute(query).fetchone()) and row[0] < count:
        if time.monotonic() > until:
            pytest.fail(f"{row[0]} workers wait for the lock, expected {count}")
        time.sleep(0.05)
