"""One batch of objects into one table: derived under the table's lock, committed, recorded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from lakehouse.bronze.ledger import LedgerObject, mark_merged
from lakehouse.database.progress import read_progress, write_progress
from lakehouse.engines.delta import Difference, make_equal, table_version
from lakehouse.market.candle import QUARANTINE
from lakehouse.market.table import Table
from lakehouse.silver import pending
from lakehouse.silver.derive import Outcome, derived, uncovered
from lakehouse.silver.families import families_of
from lakehouse.silver.inputs import plan_inputs
from lakehouse.silver.lake import Lake
from lakehouse.silver.quarantine import quarantine_difference
from lakehouse.silver.report import TableReport, check_conservation
from lakehouse.storage.store import Store

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_NOTHING = Difference("", 0, 0, 0, [])


@dataclass(frozen=True)
class Place:
    """Where a run works."""

    spark: SparkSession
    dsn: str
    store: Store
    lake: Lake
    run_id: str


@dataclass
class _Attempt:
    """What the last derivation of a batch found."""

    version: int = 0
    trusted: bool = False
    new: Sequence[LedgerObject] = ()
    outcome: Outcome | None = None
    views: ExitStack = field(default_factory=ExitStack)

    def begin(self, version: int, *, trusted: bool) -> None:
        self.views.close()
        self.version, self.trusted, self.new, self.outcome = version, trusted, (), None


def merge_batch(
    place: Place,
    conn: psycopg.Connection,
    table: Table,
    batch: Sequence[LedgerObject],
    report: TableReport,
    *,
    follows: int | None = None,
    is_last: bool = False,
    rebuilds: bool = False,
) -> int | None:
    """
    Merge the objects of *batch* that no other worker merged first, and add them to *report*.

    The table holds exactly the merged objects while its version is the recorded one. A run that died between commit and
    record leaves a table that holds unmerged objects, too: until those are merged, no version is recorded.

    Args:
        follows: The table's version when the unmerged objects were listed, moved on by the batches before this one.
        is_last: Whether nothing of that list is left after this batch.
        rebuilds: Whether the table is not to be trusted, nor its version recorded; objects that are not merged count.

    Returns:
        The version reached, None if the batch did not follow on *follows*: others committed in between.
    """
    began = time.monotonic()
    address = place.lake.at(table)
    attempt = _Attempt()

    def derive(version: int) -> Difference:
        attempt.begin(version, trusted=not rebuilds and version == (read_progress(conn, table.name) or 0))
        new = pending.still_unmerged(conn, batch)
        if not new:
            return _NOTHING
        old = pending.overlapping(conn, table, new, unmerged_too=rebuilds)
        inputs = plan_inputs(table, new, old, trusted=attempt.trusted)
        outcome = attempt.views.enter_context(derived(place.spark, inputs, place.store, address, version))
        check_conservation(table.name, _received(table, new, outcome), outcome.classes)
        attempt.new, attempt.outcome = new, outcome
        return outcome.difference

    def record(version: int) -> None:
        if attempt.outcome:
            _quarantine(place, attempt.outcome)
        with conn.transaction():
            mark_merged(conn, [object_.object_key for object_ in attempt.new])
            healed = (is_last and attempt.version == follows) or pending.is_all_merged(conn, table)
            if attempt.trusted or (healed and not rebuilds):
                write_progress(conn, table.name, version, place.run_id)

    with attempt.views:
        committed = make_equal(place.spark, place.dsn, address, table, place.run_id, derive, record)
        if attempt.outcome:
            report.add(len(attempt.new), _received(table, attempt.new, attempt.outcome), attempt.outcome.classes)
    report.committed(committed, time.monotonic() - began)
    if attempt.version != follows:
        return None
    return attempt.version if committed is None else committed


def drop_uncovered(
    place: Place,
    conn: psycopg.Connection,
    table: Table,
    everything: Sequence[LedgerObject],
    report: TableReport,
) -> None:
    """
    Drop the rows of which no object of *everything* speaks, which came from nowhere.

    Unless objects landed meanwhile, the table's version is recorded.
    """
    began = time.monotonic()
    address = place.lake.at(table)
    inputs = plan_inputs(table, everything, [], trusted=False)

    def record(version: int) -> None:
        if pending.is_all_merged(conn, table):
            write_progress(conn, table.name, version, place.run_id)

    committed = make_equal(
        place.spark,
        place.dsn,
        address,
        table,
        place.run_id,
        lambda version: uncovered(place.spark, inputs, address, version) if version else _NOTHING,
        record,
    )
    report.committed(committed, time.monotonic() - began)


def _quarantine(place: Place, outcome: Outcome) -> None:
    address = place.lake.at(QUARANTINE)
    if outcome.classes["quarantined"] or table_version(address):
        make_equal(
            place.spark,
            place.dsn,
            address,
            QUARANTINE,
            place.run_id,
            lambda version: quarantine_difference(place.spark, address, version),
            lambda version: None,
        )


def _received(table: Table, new: Sequence[LedgerObject], outcome: Outcome) -> int:
    """Rows that arrived by the ledger's count; where that is not of this table's rows, by what was read."""
    if all(family.proves == "span" for family in families_of(table)):
        return sum(object_.rows for object_ in new)
    return outcome.received
