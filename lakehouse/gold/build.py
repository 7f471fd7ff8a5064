"""
Silver -> Gold: only series whose candles or splits changed are computed, and only rows that differ are written.

What changed is read from the change feed of silver.candles since the version that the last build recorded. While a
table is not where its record says (a crash between commit and record, a table restored or deleted), everything is
compared.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from psycopg import Connection

from lakehouse.database.connection import connect
from lakehouse.database.progress import read_progress, write_progress
from lakehouse.engines.delta import add_columns, ensure_table, make_equal, table_version
from lakehouse.gold.changes import Changes, read_changes, read_everything
from lakehouse.gold.difference import fact_difference, row_difference
from lakehouse.gold.reading import FeedGone, Silver
from lakehouse.market.candle import (
    CALENDAR,
    CANDLES,
    DIM_DATE,
    DIM_INSTRUMENT,
    FACT_CANDLE,
    GOLD,
    INSTRUMENTS,
    RENAMES,
    SPLITS,
)
from lakehouse.market.table import Table
from lakehouse.silver.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = structlog.get_logger()

SOURCES = (CANDLES, INSTRUMENTS, SPLITS, RENAMES, CALENDAR)


@dataclass
class GoldReport:
    """
    One build.

    Attributes:
        kind: nothing, increment or full.
        series: Series (instrument and timeframe) in which rows differed.
        inserted, updated, dropped: Rows of fact_candle.
        versions: Delta versions committed, by table.
    """

    run_id: str
    kind: str = "nothing"
    series: int = 0
    inserted: int = 0
    updated: int = 0
    dropped: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def ensure_gold(spark: SparkSession, lake: Lake) -> None:
    """Create the tables of Gold that are missing."""
    for table in GOLD:
        ensure_table(spark, lake.at(table), table)


def widen_gold(spark: SparkSession, lake: Lake) -> None:
    """Give the tables of Gold that are there the columns that they lack: a publish may come before the next build."""
    for table in GOLD:
        if lake.at(table).exists():
            add_columns(spark, lake.at(table), table)


def build_gold(spark: SparkSession, dsn: str, lake: Lake, *, run_id: str | None = None) -> GoldReport:
    """Bring Gold up to date with Silver; a run that finds nothing new commits nothing."""
    return _build(spark, dsn, lake, run_id or f"gold-{uuid.uuid4().hex[:12]}", everything=False)


def rebuild_gold(spark: SparkSession, dsn: str, lake: Lake, *, run_id: str | None = None) -> GoldReport:
    """Compute all of Gold from all of Silver and make the tables equal to it, where they lie."""
    return _build(spark, dsn, lake, run_id or f"rebuild-gold-{uuid.uuid4().hex[:12]}", everything=True)


def _build(spark: SparkSession, dsn: str, lake: Lake, run_id: str, *, everything: bool) -> GoldReport:
    began = time.monotonic()
    report = GoldReport(run_id)
    ensure_gold(spark, lake)
    with connect(dsn) as conn:
        now = Silver(lake, {table.name: table_version(lake.at(table)) for table in SOURCES})
        before = None if everything else _last_build(conn, now)
        if before != now:
            changes = _read(before, now)
            report.kind = "full" if changes.affected is None else "increment"
            build = _Build(spark, dsn, lake, run_id, report)
            build.dimensions(changes)
            build.facts(changes, partial(_record, conn, now, run_id))
    report.seconds = round(time.monotonic() - began, 3)
    log.info("gold.built", run_id=run_id, kind=report.kind, series=report.series, seconds=report.seconds)
    return report


def _read(before: Silver | None, now: Silver) -> Changes:
    if before is None:
        return read_everything(now)
    try:
        return read_changes(before, now)
    except FeedGone as error:
        log.warning("gold.feed_gone", reason=str(error))
        return read_everything(now)


def _last_build(conn: Connection[Any], now: Silver) -> Silver | None:
    """
    Return Silver as the last build read it.

    None if there was no build, if a table of Silver went backwards or was made anew, or if Gold is not as it left it.
    """
    for table in GOLD:
        if read_progress(conn, table.name) != table_version(now.lake.at(table)):
            return None
    versions = {table.name: read_progress(conn, _read_until(now.lake, table)) for table in SOURCES}
    known = {name: read for name, read in versions.items() if read is not None and read <= now.versions[name]}
    return Silver(now.lake, known) if len(known) == len(SOURCES) else None


def _record(conn: Connection[Any], now: Silver, run_id: str, version: int) -> None:
    """Record, with the version of the facts that was committed, what this build read and where it left Gold."""
    with conn.transaction():
        for table in SOURCES:
            write_progress(conn, _read_until(now.lake, table), now.versions[table.name], run_id)
        for table in (DIM_INSTRUMENT, DIM_DATE):
            write_progress(conn, table.name, table_version(now.lake.at(table)), run_id)
        write_progress(conn, FACT_CANDLE.name, version, run_id)


def _read_until(lake: Lake, table: Table) -> str:
    """Return the name under which is recorded how far Gold has read *table*; one made anew counts its own versions."""
    return f"gold < {table.name} {lake.at(table).open().metadata().id}"


@dataclass(frozen=True)
class _Build:
    spark: SparkSession
    dsn: str
    lake: Lake
    run_id: str
    report: GoldReport

    def dimensions(self, changes: Changes) -> None:
        """Make dim_instrument and dim_date equal to what Silver says."""
        self._make_equal(DIM_INSTRUMENT, [dict(listed.row) for listed in changes.listed.values()])
        self._make_equal(DIM_DATE, changes.dates)

    def facts(self, changes: Changes, record: Callable[[int], None]) -> None:
        """Make the affected series of fact_candle equal to what their candles give."""
        address = self.lake.at(FACT_CANDLE)
        with fact_difference(self.spark, self.lake, changes) as derive:
            version = make_equal(self.spark, self.dsn, address, FACT_CANDLE, self.run_id, derive, record)
            found = derive.found
        self.report.series = found.series
        self.report.inserted, self.report.updated, self.report.dropped = found.inserts, found.updates, found.drops
        if version is not None:
            self.report.versions[FACT_CANDLE.name] = version

    def _make_equal(self, table: Table, rows: list[dict[str, object]]) -> None:
        address = self.lake.at(table)
        version = make_equal(
            self.spark,
            self.dsn,
            address,
            table,
            self.run_id,
            lambda at: row_difference(self.spark, address, table, rows, at),
            lambda at: None,
        )
        if version is not None:
            self.report.versions[table.name] = version
