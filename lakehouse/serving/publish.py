"""Gold (Delta) -> PostgreSQL. Readers see all of a version or all of the one before, never an empty or mixed state."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog
from psycopg import Connection, sql

from lakehouse.database.connection import connect
from lakehouse.database.locks import Generation, table_lock
from lakehouse.database.progress import read_progress, write_progress
from lakehouse.market.candle import DIM_DATE, DIM_INSTRUMENT, FACT_CANDLE
from lakehouse.serving.checks import PublishAborted, check_rows, check_shrinkage
from lakehouse.serving.dimensions import equal, identifiers, publish_dimension
from lakehouse.serving.generations import build_generation, drop_generations, fetch_one, partition, show_generation
from lakehouse.serving.increment import (
    Written,
    apply_changes,
    check_instruments,
    rebuild_series,
    stage_changes,
)
from lakehouse.serving.jumps import find_all_jumps, find_jumps
from lakehouse.serving.source import FactSource, FeedGone, read_dimension
from lakehouse.silver.lake import Lake

__all__ = ["PublishAborted", "PublishReport", "publish_gold", "rebuild_serving"]

log = structlog.get_logger()

PROGRESS = "serving.fact_candle"
JUMPS = "lake.price_jump"


@dataclass
class PublishReport:
    """What a publish did: rows of facts written, rows of dimensions that differed, rows readers see now, seconds."""

    run_id: str
    kind: str = "nothing new"
    data_version: int = 0
    delta_version: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    dimension_rows: int = 0
    rows: int = 0
    seconds: float = 0.0
    dropped_generations: list[int] = field(default_factory=list)


def publish_gold(dsn: str, lake: Lake, run_id: str | None = None) -> PublishReport:
    """
    Show readers what changed in Gold since the last time; nothing new writes nothing.

    The first load, a Gold that was made anew or went back, a change feed that is gone and a change larger than what is
    shown are loaded aside and swapped in.

    Raises:
        PublishAborted: if a check failed; readers go on seeing what they saw.
        GoldMissing: if Gold was never built.
    """
    return _publish(dsn, lake, run_id, _increment_or_load)


def rebuild_serving(
    dsn: str, lake: Lake, run_id: str | None = None, *, accept_shrinkage: bool = False
) -> PublishReport:
    """
    Load all of Gold aside and swap it in. The former generation stays until the next rebuild.

    Args:
        accept_shrinkage: Publish also if Gold lost rows that it does not say were closed.

    Raises:
        PublishAborted: if a check failed; readers go on seeing what they saw.
        GoldMissing: if Gold was never built.
    """

    def load(run: _Run) -> None:
        run.load("rebuild", accept_shrinkage=accept_shrinkage)

    return _publish(dsn, lake, run_id, load)


def _publish(dsn: str, lake: Lake, run_id: str | None, work: Callable[[_Run], None]) -> PublishReport:
    report = PublishReport(run_id or f"publish-{uuid.uuid4().hex[:12]}")
    began = time.monotonic()
    with table_lock(dsn, PROGRESS, report.run_id) as lock, connect(dsn) as conn:
        report.dropped_generations = drop_generations(conn, keep_former=True)
        run = _Run(conn, lock, lake, report)
        work(run)
        report.data_version, report.delta_version = run.published()
        report.rows = run.rows_shown()
    report.seconds = round(time.monotonic() - began, 3)
    log.info("serving.published", run_id=report.run_id, kind=report.kind, rows=report.rows, seconds=report.seconds)
    return report


def _increment_or_load(run: _Run) -> None:
    if run.since is None:
        run.load("first load")
    elif run.source.table_id != run.delta_table or run.source.version < run.since:
        run.load("another Gold")
    else:
        try:
            run.increment(run.since)
        except FeedGone:
            run.load("change feed gone")


class _Run:
    """One run under the publisher's lock."""

    def __init__(self, conn: Connection[Any], lock: Generation, lake: Lake, report: PublishReport) -> None:
        self.conn = conn
        self.lock = lock
        self.lake = lake
        self.report = report
        self.source = FactSource(lake)
        self.since = read_progress(conn, PROGRESS)
        self.generation, self.delta_table = fetch_one(conn, "SELECT generation, delta_table FROM gold.publication")

    def increment(self, since: int) -> None:
        """Bring what changed since version *since* into what readers see, in one transaction."""
        changes = self.source.changes(since) if self.source.version > since else None
        if changes and len(changes.rows) > max(self.rows_shown(), 100_000):
            self.load("large change")
            return
        with self.conn.transaction():
            written = Written(0, 0, 0)
            if has_changed := changes is not None and len(changes.rows) > 0:
                stage_changes(self.conn, changes.rows)
                written = apply_changes(self.conn, self.generation)
            if read_progress(self.conn, JUMPS) is None:
                find_all_jumps(self.conn, partition(self.generation))
            elif has_changed:
                find_jumps(self.conn, partition(self.generation))
            self._finish("increment", written)

    def load(self, kind: str, *, accept_shrinkage: bool = False) -> None:
        """Load all of Gold aside, then show it together with its dimensions."""
        self.report.dropped_generations += drop_generations(self.conn, keep_former=False)
        generation, rows = build_generation(self.conn, self.source.partitions())
        before = self.rows_shown()
        if rows < before and not accept_shrinkage:
            check_shrinkage(before, rows, self._closed())
        with self.conn.transaction():
            written = self._difference(generation) if before else Written(rows, 0, 0)
            show_generation(self.conn, generation)
            rebuild_series(self.conn, generation)
            find_all_jumps(self.conn, partition(generation))
            self._finish(kind, written)

    def published(self) -> tuple[int, int]:
        """Return data_version and the version of gold/fact_candle that readers see."""
        data_version, delta_version = fetch_one(self.conn, "SELECT data_version, delta_version FROM gold.publication")
        return data_version, delta_version or 0

    def rows_shown(self) -> int:
        """Return the number of facts that readers see."""
        return int(fetch_one(self.conn, "SELECT coalesce(sum(rows), 0) FROM gold.series")[0])

    def _finish(self, kind: str, written: Written) -> None:
        """Dimensions, checks, publication and progress: the second half of the transaction that shows something."""
        for table in (DIM_INSTRUMENT, DIM_DATE):
            self.report.dimension_rows += publish_dimension(self.conn, table, read_dimension(self.lake, table))
        check_instruments(self.conn)
        check_rows("gold.fact_candle", self.rows_shown(), self.source.count())
        if written.total or self.report.dimension_rows:
            self.report.kind = kind
            self.conn.execute(
                "UPDATE gold.publication SET data_version = data_version + 1, published_at = clock_timestamp(),"
                " delta_version = %s",
                (self.source.version,),
            )
        if self.source.table_id != self.delta_table:
            self.conn.execute("UPDATE gold.publication SET delta_table = %s", (self.source.table_id,))
        self.report.inserted, self.report.updated, self.report.deleted = (
            written.inserted,
            written.updated,
            written.deleted,
        )
        self.lock.check()
        for name in (PROGRESS, JUMPS):
            write_progress(self.conn, name, self.source.version, self.report.run_id)

    def _closed(self) -> int:
        """Return how many facts Gold says went since it was published; 0 where it cannot tell."""
        if self.since is None or self.source.table_id != self.delta_table or self.source.version <= self.since:
            return 0
        try:
            return self.source.changes(self.since).closed
        except FeedGone:
            return 0

    def _difference(self, generation: int) -> Written:
        """Count how the rows of *generation* differ from those that readers see: a rebuild may change nothing."""
        values = tuple(name for name in FACT_CANDLE.names if name not in FACT_CANDLE.key)
        counts = sql.SQL(
            """
            SELECT count(*) FILTER (WHERE o.instrument_id IS NULL), count(*) FILTER (WHERE o.instrument_id IS NOT NULL
                AND n.instrument_id IS NOT NULL), count(*) FILTER (WHERE n.instrument_id IS NULL)
            FROM {new} n FULL JOIN {old} o ON {same} WHERE ({after}) IS DISTINCT FROM ({before})
            """
        ).format(
            new=partition(generation),
            old=partition(self.generation),
            same=equal(FACT_CANDLE.key, "n", "o"),
            after=identifiers(values, "n"),
            before=identifiers(values, "o"),
        )
        return Written(*fetch_one(self.conn, counts))
