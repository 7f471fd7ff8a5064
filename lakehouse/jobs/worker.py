"""The worker for Spark: one job at a time on a warm session. ``python -m lakehouse.jobs.worker``."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import structlog

from lakehouse.engines.address import is_s3
from lakehouse.engines.spark import reach_s3, start_spark
from lakehouse.gold.build import widen_gold
from lakehouse.jobs import merging
from lakehouse.jobs.consumer import Step, consume
from lakehouse.jobs.recovery import on_a_disk
from lakehouse.lifeline import end_with_parent
from lakehouse.logs import configure_logs_of
from lakehouse.market.errors import BadInput, LakehouseError
from lakehouse.memory import keep_little
from lakehouse.settings import Settings, load_settings
from lakehouse.silver.lake import Lake
from lakehouse.silver.merge import ensure_silver
from lakehouse.storage.space import naming_full_disk
from lakehouse.storage.store import open_store

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = structlog.get_logger()


def run(settings: Settings) -> None:
    """Start Spark, then serve the queue until told to stop."""
    if settings.database_url is None:
        raise BadInput("LAKEHOUSE_DATABASE_URL is not set: a worker needs the database of the platform")
    dsn = settings.database_url.get_secret_value()
    data = Path(settings.data_dir)
    lake = Lake(settings.lake_location, settings.s3_options)
    if is_s3(lake.url):
        open_store(lake.url, lake.options).exists("silver")  # what is wrong is a line now, and a hundred later
    spark = start_spark(settings.spark_master, work_dir=_emptied(data / "spark"), with_s3=is_s3(lake.url))
    if is_s3(lake.url):
        reach_s3(spark, lake.url, lake.options)
    place = merging.Lakeside(spark, dsn, settings.bronze_location, lake, settings.s3_options)
    steps: dict[str, Step] = {
        "merge": lambda _: merging.merge(place),
        "publish": lambda _: merging.publish(place),
        "rebuild": lambda arguments: merging.rebuild(place, **arguments),
        "care": lambda arguments: merging.care(place, arguments),
    }
    with ending_with_jvm(spark):
        with naming_full_disk("the lake's tables cannot be made", data):
            ensure_silver(spark, lake)
            widen_gold(spark, lake)
        log.info("jobs.spark_ready", master=settings.spark_master)
        consume(dsn, "spark", on_a_disk(steps, data), alive=data / "alive-spark")
    spark.stop()


@contextlib.contextmanager
def ending_with_jvm(spark: SparkSession) -> Iterator[None]:
    """
    End this process as soon as Spark's JVM does, while the block runs.

    Without a JVM every step would fail, or wait for ever. What was being done is done again by the next worker.
    """
    gateway: Any = spark.sparkContext._gateway
    jvm: subprocess.Popen[bytes] = gateway.proc
    is_over = threading.Event()

    def wait() -> None:
        code = jvm.wait()
        if not is_over.is_set():
            how = signal.Signals(-code).name if code < 0 else f"code {code}"
            sys.stderr.write(f"Error: Spark's JVM ended with {how}\n")
            sys.stderr.flush()
            os._exit(1)

    threading.Thread(target=wait, name="jvm", daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


def _emptied(folder: Path) -> Path:
    """Return Spark's working folder, without what a worker that was killed left there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def main() -> int:
    """Run the worker; 1 with one line on standard error when it cannot."""
    end_with_parent()
    keep_little()
    pa.set_memory_pool(pa.system_memory_pool())  # its own keeps, for each of its threads, what that took once
    try:
        settings = load_settings()
        configure_logs_of(settings)
        run(settings)
    except LakehouseError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
