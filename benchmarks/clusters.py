"""
What a row costs with one worker and with two: Bronze and tables on MinIO, Spark's and Dask's clusters on loopback.

    python -m benchmarks.clusters [--rows 200000]

Needs MinIO: ``python3 infra/setup.py --with-stores``. More than two workers need more than two cores.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.stations import minutes, run_jobs
from infra.clusters import dask_cluster, spark_cluster
from lakehouse.cli.progress import seconds_by_station
from lakehouse.database.connection import connect
from lakehouse.settings import load_settings
from lakehouse.storage.minio import MinioServer
from lakehouse.up import Plan, running, with_settings
from tests.stores import make_bucket, options


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost per row with one and with two workers.")
    parser.add_argument("--rows", type=int, default=200_000, help="minute candles")
    rows = parser.parse_args().rows
    for workers in (1, 2):
        with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
            Path(folder).chmod(0o755)
            _measure(Path(folder), workers, rows)


def _measure(folder: Path, workers: int, rows: int) -> None:
    with ExitStack() as stack:
        minio = stack.enter_context(MinioServer(folder / "minio"))
        spark = stack.enter_context(spark_cluster(folder / "spark", workers))
        dask = stack.enter_context(dask_cluster(folder / "dask", workers))
        bucket = make_bucket(minio)
        # The services of the platform read the environment
        os.environ |= {
            "LAKEHOUSE_BRONZE_URL": f"s3://{bucket}/bronze",
            "LAKEHOUSE_LAKE_URL": f"s3://{bucket}/lake",
            **{f"LAKEHOUSE_S3_{name.upper()}": value for name, value in options(minio).items()},
            "LAKEHOUSE_SPARK_MASTER": spark.address,
            "LAKEHOUSE_DASK_SCHEDULER": dask.address,
        }
        settings = with_settings(load_settings(), data_dir=folder / "data")
        plan = Plan(settings, source="simulator", frozen=True, web="none")
        with running(plan) as platform, connect(platform.dsn) as conn:
            jobs = run_jobs(conn, platform, [minutes(rows)])
            landed = sum(job.rows for job in jobs)
            print(f"\n{workers} Spark and {workers} Dask workers: {landed:,} rows")
            for station, seconds in seconds_by_station(conn, jobs).items():
                print(f"  {station:10} {seconds:8.1f} s {seconds / landed * 1e6:8.1f} us a row")


if __name__ == "__main__":
    main()
