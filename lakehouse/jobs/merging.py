"""The steps of the chain that need Spark: Bronze to Silver to Gold, and Gold into PostgreSQL."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import structlog
from psycopg import Connection
from psycopg.types.json import Jsonb

from lakehouse.database import counters
from lakehouse.database.connection import connect
from lakehouse.gold.build import build_gold, rebuild_gold
from lakehouse.jobs import caring, schedules
from lakehouse.jobs.conservation import ROW_OUTCOMES
from lakehouse.jobs.queue import enqueue, settle
from lakehouse.memory import give_back
from lakehouse.serving.publish import publish_gold, rebuild_serving
from lakehouse.serving.publish_quarantine import publish_quarantine
from lakehouse.silver.lake import Lake
from lakehouse.silver.merge import merge_bronze, rebuild_silver
from lakehouse.silver.report import MergeReport
from lakehouse.silver.volume_check import check_volumes

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = structlog.get_logger()

Station = Literal["silver", "gold", "serving"]


@dataclass(frozen=True)
class Lakeside:
    """What the steps work on: a warm Spark session, the database, Bronze's store and the root of the tables."""

    spark: SparkSession
    dsn: str
    bronze_url: str
    lake: Lake
    store_options: Mapping[str, str] = field(default_factory=dict, repr=False)  # holds a secret

    def merge_bronze(self, run_id: str) -> MergeReport:
        """Take everything that is unmerged into Silver."""
        return merge_bronze(
            self.spark, self.dsn, self.bronze_url, self.lake, run_id=run_id, store_options=self.store_options
        )

    def rebuild_silver(self, run_id: str) -> MergeReport:
        """Derive all of Silver from all of Bronze."""
        return rebuild_silver(
            self.spark, self.dsn, self.bronze_url, self.lake, run_id=run_id, store_options=self.store_options
        )


def merge(place: Lakeside) -> None:
    """
    Take everything that is unmerged into Silver, bring Gold up to date with it, and ask for a publish.

    Then the volumes of what was merged are compared: Gold does not wait for what that finds.
    """
    _step(place, "silver", place.merge_bronze)
    publish_quarantine(place.dsn, place.lake)
    _step(place, "gold", lambda run_id: build_gold(place.spark, place.dsn, place.lake, run_id=run_id))
    with connect(place.dsn, "lakehouse_app") as conn:
        enqueue(conn, "publish", {}, only_one=True)
    _step(place, "volumes", lambda run_id: check_volumes(place.dsn, place.lake, run_id=run_id))


def publish(place: Lakeside) -> None:
    """Publish Gold to PostgreSQL, and finish the jobs whose last rows that were."""
    with connect(place.dsn, "lakehouse_app") as conn:
        built_until = _last_build(conn)
    _step(place, "serving", lambda run_id: publish_gold(place.dsn, place.lake, run_id=run_id))
    with connect(place.dsn, "lakehouse_app") as conn:
        conn.execute(
            "UPDATE lake.bronze_object SET published_at = now() WHERE published_at IS NULL AND merged_at <= %s",
            (built_until,),
        )
        settle(conn)


def rebuild(place: Lakeside, station: Station, *, accept_shrinkage: bool = False) -> None:
    """
    Build one station anew from the one before it, where it lies; whoever reads keeps reading.

    With *accept_shrinkage* serving shows Gold also where that lost rows (`rebuild_serving`).
    """
    builds: dict[Station, Callable[[str], Any]] = {
        "silver": place.rebuild_silver,
        "gold": lambda run_id: rebuild_gold(place.spark, place.dsn, place.lake, run_id=run_id),
        "serving": lambda run_id: rebuild_serving(
            place.dsn, place.lake, run_id=run_id, accept_shrinkage=accept_shrinkage
        ),
    }
    _step(place, f"rebuild {station}", builds[station])
    with connect(place.dsn, "lakehouse_app") as conn:
        enqueue(conn, "publish" if station == "gold" else "merge", {}, only_one=True)


def care(place: Lakeside, arguments: dict[str, Any]) -> None:
    """Keep the tables small, as the run of a schedule."""
    told = _step(place, "care", lambda run_id: caring.care(place.dsn, place.lake, run_id))
    with connect(place.dsn, "lakehouse_app") as conn:
        schedules.finish(conn, arguments, str(told))


def _step(place: Lakeside, step: str, build: Callable[[str], Any]) -> Any:
    """Run one step and write down what it did, the rows that page, CLI and API show; return its report."""
    run_id = f"{step.replace(' ', '-')}-{uuid.uuid4().hex[:12]}"
    began = time.monotonic()
    with connect(place.dsn, "lakehouse_app") as conn:
        conn.execute("INSERT INTO lake.step_run (run_id, step, started_at) VALUES (%s, %s, now())", (run_id, step))
    with structlog.contextvars.bound_contextvars(run_id=run_id, station=step):
        report = build(run_id)
    seconds = round(time.monotonic() - began, 3)
    with connect(place.dsn, "lakehouse_app") as conn, conn.transaction():
        conn.execute(
            "UPDATE lake.step_run SET finished_at = now(), seconds = %s, report = %s WHERE run_id = %s",
            (seconds, Jsonb(asdict(report)), run_id),
        )
        counters.add(conn, {**counters.took("station_seconds", seconds, step), **_rows(report)})
    log.info("jobs.station_done", station=step, seconds=seconds)
    give_back()
    return report


def _rows(report: Any) -> dict[counters.Key, float]:
    """Return what became of the rows that a merge took in, as counts."""
    if not isinstance(report, MergeReport):
        return {}
    return {
        ("rows", table, outcome): getattr(counts, outcome)
        for table, counts in report.tables.items()
        for outcome in ROW_OUTCOMES
    }


def _last_build(conn: Connection[Any]) -> Any:
    """Return when the last finished build of Gold began: what was merged before is in it."""
    row = conn.execute(
        "SELECT max(started_at) FROM lake.step_run WHERE step IN ('gold', 'rebuild gold') AND finished_at IS NOT NULL"
    ).fetchone()
    return row[0] if row else None
