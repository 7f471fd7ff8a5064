"""The worker for Spark: one job at a time on a warm session. ``python -m lakehouse.jobs.worker``."""

from __future__ import annotations

import sys
from pathlib import Path

import structlog

from lakehouse.engines.spark import start_spark
from lakehouse.jobs import merging
from lakehouse.jobs.consumer import consume
from lakehouse.lifeline import end_with_parent
from lakehouse.logs import configure_logs
from lakehouse.market.errors import BadInput, LakehouseError
from lakehouse.settings import Settings, load_settings
from lakehouse.silver.merge import ensure_silver

log = structlog.get_logger()


def run(settings: Settings) -> None:
    """Start Spark, then serve the queue until told to stop."""
    if settings.database_url is None:
        raise BadInput("LAKEHOUSE_DATABASE_URL is not set: a worker needs the database of the platform")
    dsn = settings.database_url.get_secret_value()
    work_dir = Path(settings.data_dir) / "spark"
    work_dir.mkdir(parents=True, exist_ok=True)
    spark = start_spark(settings.spark_master, work_dir=work_dir)
    ensure_silver(spark, settings.lake)
    place = merging.Lakeside(spark, dsn, settings.bronze_location, settings.lake)
    log.info("jobs.spark_ready", master=settings.spark_master)
    consume(
        dsn,
        "spark",
        {
            "merge": lambda _: merging.merge(place),
            "publish": lambda _: merging.publish(place),
            "rebuild": lambda arguments: merging.rebuild(place, arguments["station"]),
        },
    )
    spark.stop()


def main() -> int:
    """Run the worker; 1 with one line on standard error when it cannot."""
    end_with_parent()
    try:
        settings = load_settings()
        configure_logs(settings.log_level)
        run(settings)
    except LakehouseError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
