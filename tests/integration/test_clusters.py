"""The chain where nothing is on one machine: objects and tables on MinIO, Dask's and Spark's workers elsewhere."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import psutil
import pytest

from infra.clusters import Cluster, dask_cluster, spark_cluster
from lakehouse.database.connection import connect
from lakehouse.jobs.job import Job
from lakehouse.market.candle import CANDLES, FACT_CANDLE, GOLD, SILVER
from lakehouse.serving.lake_sql.run import run_sql
from lakehouse.silver.lake import Lake
from lakehouse.storage.minio import MinioServer
from tests.java import short_lived_java
from tests.killing import Calm, SlowExchange, hashes, holding, runs_on, shown, until, waits_to_commit
from tests.stores import make_bucket, options
from tests.up_process import UpProcess

pytestmark = [pytest.mark.postgres, pytest.mark.spark]

THREADS = 2  # of each of two Dask workers


@dataclass(frozen=True)
class Ended:
    """A job that two workers did not live to see the end of."""

    up: UpProcess
    lake: Lake
    job: Job


@pytest.fixture(scope="module")
def ended(minio: MinioServer, market: SlowExchange, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """The main job over the market; one Dask worker is killed as both read, one Spark worker that holds rows."""
    lake = Lake(f"s3://{make_bucket(minio)}/lake", options(minio))
    with (
        short_lived_java(),
        spark_cluster(tmp_path_factory.mktemp("spark-cluster")) as spark,
        dask_cluster(tmp_path_factory.mktemp("dask-cluster"), threads=THREADS) as dask,
        tempfile.TemporaryDirectory(prefix="lakehouse-cluster-") as folder,
    ):
        Path(folder).chmod(0o755)
        up = UpProcess(Path(folder) / "data", market.url, environment=settings(minio, lake, spark, dask))
        up.start()
        try:
            market.held, market.is_holding = 0, True
            job_id = up.ingest()
            kill_while_reading(market, dask)
            kill_while_merging(up, spark)
            yield Ended(up, lake, up.finished(job_id, within_s=900))
        finally:
            market.is_holding = False
            up.end()


def settings(minio: MinioServer, lake: Lake, spark: Cluster, dask: Cluster) -> dict[str, str]:
    return {
        "LAKEHOUSE_BRONZE_URL": f"{lake.url}-bronze",
        "LAKEHOUSE_LAKE_URL": lake.url,
        **{f"LAKEHOUSE_S3_{name.upper()}": value for name, value in options(minio).items()},
        "LAKEHOUSE_SPARK_MASTER": spark.address,
        "LAKEHOUSE_DASK_SCHEDULER": dask.address,
    }


def kill_while_reading(market: SlowExchange, dask: Cluster) -> None:
    """More windows are being read than one worker has threads."""
    until(lambda: market.held > THREADS)
    dask.workers[0].kill()
    market.is_holding = False


def kill_while_merging(up: UpProcess, spark: Cluster) -> None:
    """The rows to be merged are derived, and lie with the workers."""
    with connect(up.dsn) as conn:
        until(lambda: runs_on(conn, "silver.candles"))
        with holding(up.dsn, "lake.table_lock", "ACCESS EXCLUSIVE"):
            until(lambda: waits_to_commit(conn, "silver.candles"))
            at_work = [worker for worker in spark.workers if is_at_work(worker.pid)]
            assert at_work  # a worker that came late may have had nothing to do
            at_work[0].kill()


def is_at_work(worker: int | None) -> bool:
    """Whether a Spark worker has an executor, and that has Python workers."""
    running = "".join(map(command_line, psutil.Process(worker).children(recursive=True)))
    return "CoarseGrainedExecutorBackend" in running and "pyspark.daemon" in running


def command_line(process: psutil.Process) -> str:
    with suppress(psutil.Error):  # it has just ended
        return " ".join(process.cmdline())
    return ""


def test_the_job_ends_in_the_tables_of_an_embedded_run(ended: Ended, calm: Calm) -> None:
    """No row is lost, none is there twice, and readers see all of them."""
    assert ended.job.state == "done", (ended.job, ended.up.said())
    assert hashes(ended.lake) == calm.hashes
    assert shown(ended.up.dsn) == calm.rows


def test_every_commit_on_s3_is_sparks(ended: Ended) -> None:
    """Nothing else wrote, and every commit but a table's first names its run."""
    for table in (*SILVER, *GOLD):
        for commit in ended.lake.at(table).open().history():
            assert commit["engineInfo"].startswith("Apache-Spark"), (table.name, commit)
            assert commit["version"] == 0 or "userMetadata" in commit, (table.name, commit)


def test_every_reader_finds_the_same_rows_on_s3(ended: Ended, calm: Calm) -> None:
    """Deltalake, Polars, DuckDB and the platform's own SQL, none of them through Spark."""
    candles, facts = (ended.lake.at(table).open() for table in (CANDLES, FACT_CANDLE))
    rows = facts.to_pyarrow_dataset().count_rows()
    assert rows == calm.rows
    assert pl.scan_delta(facts).select(pl.len()).collect().item() == rows
    duck = duckdb.connect()
    duck.register("facts", facts.to_pyarrow_dataset())
    assert duck.execute("SELECT count(*) FROM facts").fetchall() == [(rows,)]
    asked = run_sql("SELECT (SELECT count(*) FROM fact_candle), (SELECT count(*) FROM candles_versions)", ended.lake)
    assert [list(row.values()) for row in asked.rows.to_pylist()] == [[rows, candles.to_pyarrow_dataset().count_rows()]]


def test_no_process_shows_the_stores_secret(ended: Ended) -> None:
    """Whoever lists processes sees every command line; what is logged is kept."""
    secret = ended.lake.options["secret_access_key"]
    assert not [line for process in psutil.process_iter() if secret in (line := command_line(process))]
    logs = list((ended.up.data / "logs").iterdir())
    assert logs
    assert not [log for log in logs if secret in log.read_text(errors="replace")]
