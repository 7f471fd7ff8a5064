"""The merge of seeded worlds of objects, delivered and interrupted in seeded ways: one end, that of plain reasoning."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from lakehouse.market.candle import CANDLES, HISTORY
from lakehouse.market.table import Table
from lakehouse.silver import views
from lakehouse.silver.arrow import arrow_schema
from lakehouse.silver.families import scope_of
from lakehouse.silver.inputs import Inputs, plan_inputs
from lakehouse.silver.parse import parse_batches, row_names, rows_schema
from lakehouse.silver.versions import outcome_sql
from tests.merge_world import Made, hash_of, stored_version, versions, world
from tests.seeds import seeds

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

TABLES = (CANDLES, HISTORY)
STEPS = seeds(4, 5)


@dataclass
class Held:
    """
    A table of one seed as workers leave it.

    Attributes:
        rows: By key and `known_from`.
        merged: Keys of the objects that are marked as merged.
        is_recorded: Whether the table's version is the recorded one: no run died between commit and record.
    """

    table: Table
    objects: Sequence[Made]
    rng: random.Random
    rows: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    landed: list[Made] = field(default_factory=list)
    merged: set[str] = field(default_factory=set)
    is_recorded: bool = True

    def group(self, *, all_left: bool) -> list[Made]:
        """Let some objects land; return those that a worker takes: some of the unmerged, in any order."""
        waiting = [made for made in self.objects if made not in self.landed]
        self.landed += self.rng.sample(waiting, len(waiting) if all_left else min(len(waiting), self.rng.randint(0, 3)))
        unmerged = [made for made in self.landed if made.described.object_key not in self.merged]
        if all_left:
            return unmerged
        return self.rng.sample(unmerged, self.rng.randint(min(1, len(unmerged)), len(unmerged)))

    def apply(self, outcome: Iterable[dict[str, Any]]) -> None:
        """Carry out the changes, as MERGE does."""
        for row in outcome:
            key = tuple(row[name] for name in (*self.table.key, "known_from"))
            assert (row["op"] == "insert") == (key not in self.rows)
            if row["op"] == "drop":
                del self.rows[key]
            else:
                self.rows[key] = {name: row[name] for name in self.table.names}

    def record(self, taken: Sequence[Made]) -> None:
        """Mark what was taken; the version is recorded where nothing that died may be left in the table."""
        self.merged |= {made.described.object_key for made in taken}
        self.is_recorded |= all(made.described.object_key in self.merged for made in self.landed)

    def found(self) -> list[tuple[Any, ...]]:
        return sorted((stored_version(self.table, row) for row in self.rows.values()), key=repr)


class Derivation:
    """The derivation of Silver over tables in memory: its plan, its parsing and its SQL, no Delta and no database."""

    def __init__(self, spark: SparkSession, table: Table, bodies: dict[str, bytes]) -> None:
        self.spark, self.table, self.bodies = spark, table, bodies

    def outcome(
        self, new: dict[int, list[Made]], held: dict[int, Held], *, trusted: bool
    ) -> dict[int, list[dict[str, Any]]]:
        """Return, by seed, the rows that change when *new* is merged into what is *held*; one run for all seeds."""
        taken = [made.described for group in new.values() for made in group]
        old = [
            made.described
            for seed in new
            for made in held[seed].landed
            if made.described.object_key in held[seed].merged
        ]
        inputs = plan_inputs(self.table, taken, old, trusted=trusted)
        self._register(inputs, [row for seed in new for row in held[seed].rows.values()])
        rows = self.spark.sql(outcome_sql(self.table, bool(inputs.silent))).toArrow().to_pylist()
        found: dict[int, list[dict[str, Any]]] = {seed: [] for seed in new}
        for row in rows:
            if row["op"]:
                found[int(row["secid"].removeprefix("S"))].append(row)
        return found

    def _register(self, inputs: Inputs, stored: Sequence[dict[str, Any]]) -> None:
        sources = views.sources(inputs).to_batches()
        parsed = pa.Table.from_batches(parse_batches(iter(sources), self.bodies.__getitem__), rows_schema(self.table))
        # In one piece: of a table in pieces, PySpark 4.2 reads none behind an empty one
        made = {
            "rows": parsed.combine_chunks(),
            "stored": self._stored(inputs, stored),
            "objects": views.objects(inputs),
            "series": views.series(inputs),
            "silent": views.silent(inputs),
        }
        for name, table in made.items():
            self.spark.createDataFrame(table).createOrReplaceTempView(name)

    def _stored(self, inputs: Inputs, stored: Sequence[dict[str, Any]]) -> pa.Table:
        scope = scope_of(self.table)
        position = views.position(self.table) or ""
        by_scope: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for row in stored:
            by_scope.setdefault(tuple(row[name] for name in scope), []).append(row)
        spans: dict[tuple[Any, ...], tuple[dict[str, Any], ...]] = {}
        for span in views.spans(inputs).to_pylist():
            key = (*(span[name] for name in scope), span["from_at"])
            spans[key] = (span,)
        looked_at = [
            {**row, "series_id": span["series_id"], "fast": span["fast"]}
            for (span,) in spans.values()
            for row in by_scope.get(tuple(span[name] for name in scope), ())
            if span["from_at"] <= row[position] < span["till_at"] and (not span["fast"] or row["known_till"] is None)
        ]
        names = [*row_names(self.table), "known_from", "known_till", "source"]
        declared = arrow_schema(self.table)
        schema = pa.schema(
            [pa.field("series_id", pa.int32()), pa.field("fast", pa.bool_())]
            + [declared.field(name).with_nullable(True) for name in names]
        )
        return pa.Table.from_pylist(looked_at, schema=schema)


@pytest.fixture(scope="module")
def worlds() -> dict[int, list[Made]]:
    return {seed: world(seed) for seed in range(seeds(40, 500))}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_delivery_derives_the_same_versions(
    interpreting: SparkSession, worlds: dict[int, list[Made]], table: Table
) -> None:
    """
    In any order and grouping, with runs that die after the derivation or after the commit, all versions are the same.

    They are those of plain reasoning, closed ones and attributes included; deriving all of it anew changes nothing.
    """
    bodies = {made.described.object_key: made.body for objects in worlds.values() for made in objects}
    held = {
        seed: Held(table, [made for made in objects if made.table is table], random.Random(f"{table.name} {seed}"))
        for seed, objects in worlds.items()
    }
    derivation = Derivation(interpreting, table, bodies)
    died: list[str] = []
    for step in range(STEPS + 1):
        groups = {seed: each.group(all_left=step == STEPS) for seed, each in held.items()}
        for trusted in (True, False):
            new = {seed: group for seed, group in groups.items() if group and held[seed].is_recorded is trusted}
            if not new:
                continue
            for seed, outcome in derivation.outcome(new, held, trusted=trusted).items():
                died.append(finish(held[seed], new[seed], outcome, may_die=step < STEPS))
    assert {"", "before the commit", "after the commit"} == set(died)
    wrong = [seed for seed, each in held.items() if each.found() != versions(each.objects)]
    assert wrong == [], f"{len(wrong)} of {len(held)} seeds of {table.name} end in other versions"
    everything = {seed: list(each.objects) for seed, each in held.items() if each.objects}
    assert [seed for seed, changes in derivation.outcome(everything, held, trusted=False).items() if changes] == []
    assert hash_of(one for each in held.values() for one in each.found()) == hash_of(
        one for each in held.values() for one in versions(each.objects)
    )


def finish(held: Held, taken: list[Made], outcome: list[dict[str, Any]], *, may_die: bool) -> str:
    """Commit and record, or die on the way; return where."""
    dies = held.rng.choice(("before the commit", "after the commit", "", "", "")) if may_die else ""
    if dies == "before the commit":
        return dies
    held.apply(outcome)
    if dies:
        held.is_recorded = held.is_recorded and not outcome
        return dies
    held.record(taken)
    return dies
