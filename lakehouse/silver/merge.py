"""
Bronze -> Silver: what is unmerged, table by table, in batches of bounded rows.

Silver is a function of Bronze, so a crash between any two steps is harmless: what is not marked as merged is merged
again. A table's version is recorded together with those marks; while table and record differ, a commit may hold what is
not marked, so the table is not trusted to stand for merged objects, and versions are derived from all objects until
nothing of it is left unmerged.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import psycopg
import structlog

from lakehouse.bronze.ledger import LedgerObject
from lakehouse.database.connection import connect
from lakehouse.database.progress import read_progress
from lakehouse.engines.delta import ensure_table, table_version
from lakehouse.market.candle import QUARANTINE, SILVER
from lakehouse.market.errors import LakehouseError
from lakehouse.market.table import Table
from lakehouse.silver import pending
from lakehouse.silver.batch import Place, drop_uncovered, merge_batch
from lakehouse.silver.families import FAMILIES, families_of, scope_of
from lakehouse.silver.inputs import total_order
from lakehouse.silver.lake import Lake
from lakehouse.silver.report import MergeReport, TableReport
from lakehouse.storage.store import open_store

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = structlog.get_logger()

ROWS_A_BATCH = 1_500_000
OBJECTS_A_BATCH = 5_000
# Up to so many rows, compiling a query takes longer than interpreting it
SMALL = 20_000
# Small tables cost planning, not work: one plans while another works
TABLES_AT_A_TIME = 2


class LedgerEmpty(LakehouseError):
    """A rebuild would empty Silver because the ledger is empty."""


def ensure_silver(spark: SparkSession, lake: Lake) -> None:
    """Create the tables of Silver that are missing."""
    with ThreadPoolExecutor(TABLES_AT_A_TIME) as pool:
        list(pool.map(lambda table: ensure_table(spark, lake.at(table), table), (*SILVER, QUARANTINE)))


def merge_bronze(
    spark: SparkSession,
    dsn: str,
    bronze_url: str,
    lake: Lake,
    *,
    limit: int | None = None,
    run_id: str | None = None,
    store_options: Mapping[str, str] | None = None,
) -> MergeReport:
    """
    Bring everything unmerged into Silver.

    A table that is older than what was recorded (it was deleted, or restored) is derived from all of Bronze.

    Args:
        bronze_url: Store of the objects.
        lake: Root of the Delta tables.
        limit: At most so many objects per table.
        store_options: Of an object store, as `open_store` takes them.

    Returns:
        Rows in and what became of them, per table that had new objects.

    Raises:
        ConservationBroken: if rows were lost on the way; nothing of that batch is committed.
        BronzeUnreadable: if an object does not hold what its name says.
    """
    began = time.monotonic()
    report = MergeReport(run_id or f"silver-{uuid.uuid4().hex[:12]}")
    place = Place(spark, dsn, open_store(bronze_url, store_options), lake, report.run_id)
    ensure_silver(spark, lake)
    with connect(dsn) as conn:
        pending.mark_without_table(conn, list(FAMILIES))
    _each_table(place, report, partial(_merge_table, limit=limit))
    report.seconds = round(time.monotonic() - began, 3)
    log.info("silver.merged", run_id=report.run_id, seconds=report.seconds, tables=list(report.tables))
    return report


def rebuild_silver(
    spark: SparkSession,
    dsn: str,
    bronze_url: str,
    lake: Lake,
    *,
    run_id: str | None = None,
    store_options: Mapping[str, str] | None = None,
) -> MergeReport:
    """
    Derive all of Silver from all of Bronze and make the tables equal to it, where they lie; readers see no empty table.

    A table that was right is not touched. In the report every row is new.

    Raises:
        LedgerEmpty: if the ledger knows no object.
    """
    began = time.monotonic()
    report = MergeReport(run_id or f"rebuild-{uuid.uuid4().hex[:12]}")
    place = Place(spark, dsn, open_store(bronze_url, store_options), lake, report.run_id)
    ensure_silver(spark, lake)
    with connect(dsn) as conn:
        if not any(pending.everything(conn, table) for table in SILVER):
            raise LedgerEmpty(
                "rebuild of Silver: the ledger (lake.bronze_object) knows no object, so every row would be dropped; "
                "read it first: lakehouse rebuild ledger"
            )
        pending.mark_without_table(conn, list(FAMILIES))
    _each_table(place, report, _rebuild_table)
    report.seconds = round(time.monotonic() - began, 3)
    return report


def batches(
    objects: Sequence[LedgerObject], rows: int = ROWS_A_BATCH, most: int = OBJECTS_A_BATCH
) -> Iterator[list[LedgerObject]]:
    """Cut *objects* into batches of at most *rows* rows (or one object) and *most* objects, order kept."""
    batch: list[LedgerObject] = []
    held = 0
    for object_ in objects:
        if batch and (held + object_.rows > rows or len(batch) == most):
            yield batch
            batch, held = [], 0
        batch.append(object_)
        held += object_.rows
    if batch:
        yield batch


def _each_table(
    place: Place, report: MergeReport, do: Callable[[Place, psycopg.Connection, Table, TableReport], None]
) -> None:
    """Do every table in a Spark session and a connection of its own; report those that had something to do."""

    def run(table: Table) -> TableReport:
        table_report = TableReport()
        with connect(place.dsn) as conn:
            is_small = _is_reference(table) or pending.is_small(conn, table, SMALL)
            do(replace(place, spark=_session(place.spark, is_small=is_small)), conn, table, table_report)
        return table_report

    with ThreadPoolExecutor(TABLES_AT_A_TIME) as pool:
        found = zip(SILVER, pool.map(run, SILVER), strict=True)
        report.tables = {table.name: made for table, made in found if made.objects or made.versions}


def _is_reference(table: Table) -> bool:
    """Some hundred rows, though each day's reading of them is another object."""
    return not any(family.proves == "span" for family in families_of(table))


def _session(spark: SparkSession, *, is_small: bool) -> SparkSession:
    """Return a session for one table: views of its own, and for a small table nothing compiled or spread."""
    session = spark.newSession()
    if is_small:
        session.conf.set("spark.sql.shuffle.partitions", "1")
        session.conf.set("spark.sql.codegen.wholeStage", "false")
        session.conf.set("spark.sql.codegen.factoryMode", "NO_CODEGEN")
    return session


def _merge_table(
    place: Place, conn: psycopg.Connection, table: Table, table_report: TableReport, *, limit: int | None
) -> None:
    recorded, version = read_progress(conn, table.name), table_version(place.lake.at(table))
    if recorded is not None and version < recorded:
        log.warning("silver.table_lost", table=table.name, version=version, recorded=recorded)
        pending.forget(conn, table)
    # Oldest first: a newer object then finds only older ones merged
    objects = sorted(pending.unmerged(conn, table), key=total_order)
    left = len(objects)
    follows: int | None = version
    for batch in batches(objects[:limit]):
        left -= len(batch)
        follows = merge_batch(place, conn, table, batch, table_report, follows=follows, is_last=not left)


def _rebuild_table(place: Place, conn: psycopg.Connection, table: Table, table_report: TableReport) -> None:
    """Derive *table* from all objects, those of one scope together; then drop what no object covers."""
    names = scope_of(table)
    pending.forget(conn, table)
    everything = pending.everything(conn, table)
    everything.sort(
        key=lambda object_: (*(getattr(object_, name) for name in names), object_.span_from, object_.object_key)
    )
    for batch in batches(everything):
        merge_batch(place, conn, table, batch, table_report, rebuilds=True)
    drop_uncovered(place, conn, table, everything, table_report)
