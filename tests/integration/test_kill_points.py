"""kill -9 at each point of the chain, seen to be there: the rest then ends in the tables of a calm run."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from distributed import Client, LocalCluster
from psycopg import Connection

from lakehouse.bronze.fetch import FetchContext
from lakehouse.database.connection import connect
from lakehouse.engines.spark import start_spark
from lakehouse.market.candle import CANDLES, FACT_CANDLE
from lakehouse.market.table import Table
from lakehouse.serving.publish import publish_gold, rebuild_serving
from lakehouse.storage.store import Store
from tests.killing import (
    WORKERS,
    Calm,
    Chain,
    SlowExchange,
    child,
    count,
    hashes,
    holding,
    kill_session,
    runs_on,
    shown,
    until,
    waits_to_commit,
)
from tests.warm_jvm import Gateway

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.postgres, pytest.mark.spark]

THREADS = 2  # of each of two Dask workers


@pytest.fixture
def landed(calm: Calm, market: SlowExchange, dsn: str, tmp_path: Path) -> Chain:
    """A chain whose Bronze is the calm run's, recorded in a ledger of its own, nothing of it merged."""
    shutil.copytree(Path(calm.chain.lake.url) / "bronze", tmp_path / "bronze")
    chain = Chain.over(market, dsn, tmp_path)
    chain.fetch(0)
    return chain


def is_blocked(conn: Connection[Any], relation: str) -> bool:
    """Return whether somebody waits for a lock on *relation* that this connection holds."""
    row = conn.execute(
        """
        SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass AND database = (
            SELECT oid FROM pg_database WHERE datname = current_database())
        """,
        (relation,),
    ).fetchone()
    return bool(row and row[0])


# -- between the exchange and Bronze ----------------------------------------------------------------------------------


class DyingStore(Store):
    """A store whose process is killed as soon as an object of minutes lies in it."""

    def put(self, key: str, body: bytes) -> bool:
        done = super().put(key, body)
        if minutes_of([key]):
            os.kill(os.getpid(), signal.SIGKILL)
        return done


@dataclass(frozen=True)
class DyingContext(FetchContext):
    def store(self) -> Store:
        return DyingStore(self.store_url)


def windows_in(conn: Connection[Any], state: str) -> int:
    """Return how many windows of minutes have pages and are in *state*."""
    query = f"SELECT count(*) FROM lake.job_window WHERE timeframe = '1m' AND state = '{state}' AND pages > 0"  # noqa: S608
    return count(conn, query)


def test_killed_while_fetching(calm: Calm, market: SlowExchange, spark: SparkSession, dsn: str, tmp_path: Path) -> None:
    """
    Killed with pages read, and once an object has landed that is not recorded: what did not land is read again.

    What landed is not, whether it was recorded or not: the exchange is asked again for no more windows than there were
    workers, each time. Then the tables are a calm run's.
    """
    chain = Chain.over(market, dsn, tmp_path)
    job_id = chain.plan()
    market.asked.clear()
    with connect(dsn) as conn:
        try:
            market.pause_s = 1
            with child(Chain.fetch, chain, job_id):
                until(lambda: windows_in(conn, "running") > 1)  # at most one of them is a single page, and done with it
            assert windows_in(conn, "running") > 0
            assert not minutes_of(unrecorded(chain, conn))
            market.pause_s = 0.25
            with child(Chain.fetch, chain.with_context(as_dying(chain.context)), job_id) as pid:
                until(lambda: not is_alive(pid))
            assert windows_in(conn, "running") > 0
            landed = unrecorded(chain, conn)
            assert minutes_of(landed)
            assert sum(market.readings(conn, job_id).values()) > 0
        finally:
            market.pause_s = 0
        chain.fetch(job_id)
        assert windows_in(conn, "running") == 0
        assert landed <= recorded(conn)
        readings = market.readings(conn, job_id)
    assert all(readings.values())
    assert sum(readings.values()) - len(readings) <= 2 * WORKERS
    chain.merge(spark)
    chain.publish(spark)
    assert hashes(chain.lake) == calm.hashes
    assert shown(dsn) == calm.rows


def unrecorded(chain: Chain, conn: Connection[Any]) -> set[str]:
    """Return the objects that landed and are not in the ledger."""
    return set(chain.context.store().list("iss/")) - recorded(conn)


def minutes_of(keys: Iterable[str]) -> list[str]:
    return [key for key in keys if "/1m/" in key]


def as_dying(context: FetchContext) -> DyingContext:
    return DyingContext(**{field.name: getattr(context, field.name) for field in fields(context)})


def recorded(conn: Connection[Any]) -> set[str]:
    return {key for (key,) in conn.execute("SELECT object_key FROM lake.bronze_object")}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_dask_worker(market: SlowExchange, dsn: str, tmp_path: Path) -> None:
    """Its windows are read again by the other one, each window lands once, and none fails."""
    chain = Chain.over(market, dsn, tmp_path)
    job_id = chain.plan()
    market.asked.clear()
    market.held, market.is_holding = 0, True
    try:
        with (
            LocalCluster(n_workers=2, threads_per_worker=THREADS, dashboard_address=None) as cluster,  # type: ignore[no-untyped-call]
            Client(cluster) as client,  # type: ignore[no-untyped-call]
            connect(dsn) as conn,
        ):
            pids = client.run(os.getpid)
            with child(Chain.fetch_on, chain, cluster.scheduler_address, job_id) as pid:
                until(lambda: market.held > THREADS)  # so both workers are at it
                os.kill(next(iter(pids.values())), signal.SIGKILL)
                market.is_holding = False
                until(lambda: not is_alive(pid))
            assert count(conn, "SELECT count(*) FROM lake.job_window WHERE state <> 'landed'") == 0
            readings = market.readings(conn, job_id)
            assert 0 < sum(readings.values()) - len(readings) <= WORKERS
            held = list(chain.context.store().list("iss/candles/"))
            assert len(held) == len(readings)
    finally:
        market.is_holding = False


# -- in Spark ---------------------------------------------------------------------------------------------------------


def merge_alone(chain: Chain, work_dir: str) -> None:
    chain.merge(start_spark("local[2]", work_dir=work_dir))


def merge_by(chain: Chain, gateway: Gateway) -> None:
    chain.merge(gateway.session())


def version(chain: Chain, table: Table) -> int:
    address = chain.lake.at(table)
    return address.open().version() if address.exists() else -1


def test_killed_before_and_after_the_commit_of_a_merge_and_in_gold(
    calm: Calm, landed: Chain, spark: SparkSession, tmp_path: Path
) -> None:
    """
    Before the commit nothing is in the table, after it the rows are there and not recorded; then Gold, in the same way.

    Each time the next run takes it up, and in the end the hashes are the calm run's: no row is there twice. The first
    takes its JVM along; the JVM of the others has nothing to do when they are killed, and serves the next.
    """
    gateway = Gateway.of(spark)
    with connect(landed.dsn) as conn:
        with child(merge_alone, landed, str(tmp_path / "spark")) as pid:
            until(lambda: runs_on(conn, "silver.candles") == 1)
            with holding(landed.dsn, "lake.table_lock", "ACCESS EXCLUSIVE"):
                until(lambda: waits_to_commit(conn, "silver.candles"))
                kill_session(pid)
        assert version(landed, CANDLES) == 0
        assert unmerged(conn) > 0

        with child(merge_by, landed, gateway) as pid:
            until(lambda: runs_on(conn, "silver.candles") == 2)
            with holding(landed.dsn, "lake.bronze_object", "SHARE"):
                until(lambda: is_blocked(conn, "lake.bronze_object") and version(landed, CANDLES) == 1)
                kill_session(pid)
        assert unmerged(conn) > 0

        with child(merge_by, landed, gateway) as pid:
            until(lambda: runs_on(conn, "gold.fact_candle") == 1)
            assert unmerged(conn) == 0
            with holding(landed.dsn, "lake.progress", "SHARE"):
                until(lambda: is_blocked(conn, "lake.progress") and version(landed, FACT_CANDLE) == 1)
                kill_session(pid)
        assert not count(conn, "SELECT count(*) FROM lake.progress WHERE table_name = 'gold.fact_candle'")
        assert running_steps(conn) == ["gold", "silver", "silver"]
    landed.merge(spark)
    landed.publish(spark)
    assert version(landed, CANDLES) == 1
    assert hashes(landed.lake) == calm.hashes
    assert shown(landed.dsn) == calm.rows


def unmerged(conn: Connection[Any]) -> int:
    return count(conn, "SELECT count(*) FROM lake.bronze_object WHERE family = 'candles' AND merged_at IS NULL")


def running_steps(conn: Connection[Any]) -> list[str]:
    rows = conn.execute("SELECT step FROM lake.step_run WHERE finished_at IS NULL ORDER BY step").fetchall()
    return [step for (step,) in rows]


# -- between Gold and PostgreSQL --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("point", "relation"), [("staging", "store.generation"), ("swap", "gold.publication")])
def test_killed_while_publishing(calm: Calm, dsn: str, point: str, relation: str) -> None:
    """Killed with the new rows loaded, or about to be shown: readers see what they saw, nothing half-made stays."""
    publish_gold(dsn, calm.chain.lake)
    before, tables = shown(dsn), generations(dsn)
    with holding(dsn, relation, "SHARE") as conn, child(rebuild_serving, dsn, calm.chain.lake):
        until(lambda: is_blocked(conn, relation))
        assert len(generations(dsn)) == len(tables) + (point == "swap")
    until(lambda: not writers(dsn))
    assert shown(dsn) == before == calm.rows
    publish_gold(dsn, calm.chain.lake)
    assert generations(dsn) == tables
    assert shown(dsn) == calm.rows


def writers(dsn: str) -> int:
    """Return how many sessions of killed processes the server has not ended yet."""
    with connect(dsn) as conn:
        return count(
            conn,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )


def generations(dsn: str) -> list[str]:
    with connect(dsn) as conn:
        rows = conn.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'fact_candle_%' ORDER BY 1"
        ).fetchall()
    return [name for (name,) in rows]
