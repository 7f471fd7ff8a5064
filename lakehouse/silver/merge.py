"""
Bronze -> Silver: what is unmerged, table by table, in batches of bounded rows.

Silver is a function of Bronze, so a crash between any two steps is harmless: what is not marked as merged is merged
again. The table's version is recorded together with that mark; while table and record differ, the table is not trusted
to stand for merged objects, and versions are derived from all objects.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import psycopg
import structlog

from lakehouse.bronze.ledger import LedgerObject, mark_merged
from lakehouse.database.connection import connect
from lakehouse.database.progress import read_progress, write_progress
from lakehouse.engines.delta import Difference, ensure_table, make_equal, table_version
from lakehouse.market.candle import QUARANTINE, SILVER
from lakehouse.market.errors import LakehouseError
from lakehouse.market.table import Table
from lakehouse.silver import pending
from lakehouse.silver.derive import Bronze, Outcome, derived, uncovered
from lakehouse.silver.families import FAMILIES, families_of, scope_of
from lakehouse.silver.inputs import plan_inputs, total_order
from lakehouse.silver.quarantine import quarantine_difference
from lakehouse.silver.report import MergeReport, TableReport, check_conservation

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = structlog.get_logger()


class LedgerEmpty(LakehouseError):
    """A rebuild would empty Silver because the ledger is empty."""


ROWS_A_BATCH = 1_500_000
OBJECTS_A_BATCH = 5_000


def table_url(lake: str, table: Table) -> str:
    """Return where *table* lies in the lake: LAKE/silver/candles."""
    return f"{lake.rstrip('/')}/{table.name.replace('.', '/')}"


def ensure_silver(spark: SparkSession, lake: str) -> None:
    """Create the tables of Silver that are missing."""
    for table in (*SILVER, QUARANTINE):
        ensure_table(spark, table_url(lake, table), table)


def merge_bronze(
    spark: SparkSession,
    dsn: str,
    bronze_url: str,
    lake: str,
    *,
    limit: int | None = None,
    run_id: str | None = None,
    store_options: Mapping[str, str] | None = None,
) -> MergeReport:
    """
    Bring everything unmerged into Silver.

    A table that is older than what was recorded, or gone, is derived from all of Bronze.

    Args:
        bronze_url: Store of the objects.
        lake: Root of the Delta tables, a folder or URL.
        limit: At most so many objects per table.
        store_options: Of an object store, as `open_store` takes them.

    Returns:
        Rows in and what became of them, per table that had new objects.

    Raises:
        ConservationBroken: if rows were lost on the way; nothing of that batch is committed.
        BronzeUnreadable: if an object does not hold what its name says.
    """
    run = _Run(spark, dsn, Bronze(bronze_url, store_options or {}), lake, run_id or f"silver-{uuid.uuid4().hex[:12]}")
    began = time.monotonic()
    ensure_silver(spark, lake)
    with connect(dsn) as conn:
        pending.mark_without_table(conn, list(FAMILIES))
        for table in SILVER:
            if _is_lost(conn, lake, table):
                log.warning("silver.table_lost", table=table.name, url=table_url(lake, table))
                run.rebuild(conn, table)
                continue
            objects = sorted(pending.unmerged(conn, table), key=total_order)[:limit]
            for batch in batches(objects):
                run.merge(conn, table, batch)
    run.report.seconds = round(time.monotonic() - began, 3)
    log.info("silver.merged", run_id=run.report.run_id, seconds=run.report.seconds, tables=list(run.report.tables))
    return run.report


def rebuild_silver(
    spark: SparkSession,
    dsn: str,
    bronze_url: str,
    lake: str,
    *,
    run_id: str | None = None,
    store_options: Mapping[str, str] | None = None,
) -> MergeReport:
    """
    Derive all of Silver from all of Bronze and make the tables equal to it, where they lie; readers see no empty table.

    A table that was right is not touched. In the report each row counts as new.
    """
    run = _Run(spark, dsn, Bronze(bronze_url, store_options or {}), lake, run_id or f"rebuild-{uuid.uuid4().hex[:12]}")
    began = time.monotonic()
    ensure_silver(spark, lake)
    with connect(dsn) as conn:
        if not any(pending.everything(conn, table) for table in SILVER):
            raise LedgerEmpty(
                "rebuild of Silver: the ledger (lake.bronze_object) knows no object, so every row would be dropped; "
                "rebuild the ledger from Bronze first"
            )
        pending.mark_without_table(conn, list(FAMILIES))
        for table in SILVER:
            run.rebuild(conn, table)
    run.report.seconds = round(time.monotonic() - began, 3)
    return run.report


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


def _is_lost(conn: psycopg.Connection, lake: str, table: Table) -> bool:
    recorded = read_progress(conn, table.name)
    return recorded is not None and table_version(table_url(lake, table)) < recorded


class _Run:
    """One run: where things are, and what was done so far."""

    def __init__(self, spark: SparkSession, dsn: str, bronze: Bronze, lake: str, run_id: str) -> None:
        self.spark = spark
        self.dsn = dsn
        self.bronze = bronze
        self.lake = lake
        self.report = MergeReport(run_id)

    def merge(self, conn: psycopg.Connection, table: Table, batch: list[LedgerObject]) -> None:
        """Merge the objects of *batch* that no other worker merges first."""

        def plan(version: int) -> tuple[list[LedgerObject], list[LedgerObject], bool]:
            new = pending.still_unmerged(conn, batch)
            recorded = read_progress(conn, table.name)
            trusted = version == (0 if recorded is None else recorded)
            return new, pending.overlapping(conn, table, new, unmerged_too=False), trusted

        self._make_equal(conn, table, plan)

    def rebuild(self, conn: psycopg.Connection, table: Table) -> None:
        """Derive *table* from all objects, objects of one scope together; then drop what no object covers."""
        names = scope_of(table)
        everything = pending.everything(conn, table)
        everything.sort(
            key=lambda object_: (*(getattr(object_, name) for name in names), object_.span_from, object_.object_key)
        )
        for batch in batches(everything):
            self._make_equal(conn, table, partial(self._everything_again, conn, table, batch))
        self._drop_uncovered(conn, table, everything)

    def _everything_again(
        self, conn: psycopg.Connection, table: Table, batch: list[LedgerObject], _: int
    ) -> tuple[list[LedgerObject], list[LedgerObject], bool]:
        return batch, pending.overlapping(conn, table, batch, unmerged_too=True), False

    def _drop_uncovered(self, conn: psycopg.Connection, table: Table, everything: list[LedgerObject]) -> None:
        """Drop rows of which no object speaks: they came from nowhere."""
        url = table_url(self.lake, table)
        inputs = plan_inputs(table, everything, [], trusted=False)
        committed = make_equal(
            self.spark,
            self.dsn,
            url,
            table,
            self.report.run_id,
            lambda version: uncovered(self.spark, inputs, url, version),
            lambda version: write_progress(conn, table.name, version, self.report.run_id),
        )
        self.report.tables.setdefault(table.name, TableReport()).versions += [] if committed is None else [committed]

    def _make_equal(
        self,
        conn: psycopg.Connection,
        table: Table,
        plan: Callable[[int], tuple[list[LedgerObject], list[LedgerObject], bool]],
    ) -> None:
        began = time.monotonic()
        report = self.report.tables.setdefault(table.name, TableReport())
        with ExitStack() as views:
            merged: list[LedgerObject] = []
            outcomes: list[Outcome] = []

            def derive(version: int) -> Difference:
                new, old, trusted = plan(version)
                if not new:
                    return Difference("", 0, 0, 0, [])
                inputs = plan_inputs(table, new, old, trusted=trusted)
                views.pop_all().close()
                outcome = views.enter_context(
                    derived(self.spark, inputs, self.bronze, table_url(self.lake, table), version)
                )
                check_conservation(table.name, _counted(table, new, outcome), outcome.classes)
                merged[:], outcomes[:] = new, [outcome]
                return outcome.difference

            def record(version: int) -> None:
                for outcome in outcomes:
                    self._quarantine(outcome)
                with conn.transaction():
                    write_progress(conn, table.name, version, self.report.run_id)
                    mark_merged(conn, [object_.object_key for object_ in merged])

            url = table_url(self.lake, table)
            committed = make_equal(self.spark, self.dsn, url, table, self.report.run_id, derive, record)
            for outcome in outcomes:
                report.add(len(merged), _counted(table, merged, outcome), outcome.classes)
            report.versions += [] if committed is None else [committed]
        report.seconds = round(report.seconds + time.monotonic() - began, 3)

    def _quarantine(self, outcome: Outcome) -> None:
        url = table_url(self.lake, QUARANTINE)
        if outcome.classes["quarantined"] or table_version(url):
            make_equal(
                self.spark,
                self.dsn,
                url,
                QUARANTINE,
                self.report.run_id,
                lambda version: quarantine_difference(self.spark, url, version),
                lambda version: None,
            )


def _counted(table: Table, new: Sequence[LedgerObject], outcome: Outcome) -> int:
    """Rows that arrived by the ledger's count; where that is not of this table's rows, by what was read."""
    if all(family.proves == "span" for family in families_of(table)):
        return sum(object_.rows for object_ in new)
    return outcome.received
