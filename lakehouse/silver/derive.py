"""The outcome of a derivation in Spark: objects parsed in Python workers, versions derived and compared in SQL."""

# ruff: noqa: S608 - the text is made of names declared in lakehouse.market and of literals derived from data
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql.pandas.types import from_arrow_schema

from lakehouse.engines.address import TableAddress
from lakehouse.engines.delta import Difference, partition_predicate
from lakehouse.market.table import Table
from lakehouse.silver import views
from lakehouse.silver.families import scope_of
from lakehouse.silver.inputs import Inputs
from lakehouse.silver.parse import parse_batches, row_names, rows_schema
from lakehouse.silver.versions import CLASSES, outcome_sql
from lakehouse.storage.store import Store

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

OUTCOME = "outcome"


@dataclass(frozen=True)
class Outcome:
    """What a derivation found: the change of the table, and what became of each new row."""

    difference: Difference
    classes: Counter[str]

    @property
    def received(self) -> int:
        """Rows of the new objects, quarantined ones included."""
        return sum(self.classes[name] for name in CLASSES)


@contextmanager
def derived(
    spark: SparkSession, inputs: Inputs, store: Store, address: TableAddress, version: int
) -> Iterator[Outcome]:
    """
    Derive versions and compare them with the table at *version*; the view `outcome` holds the rows within the context.

    Two Spark jobs at most, whatever the number of objects.
    """
    cached: list[DataFrame] = []
    try:
        _register(spark, inputs, store, address, version, cached)
        outcome = spark.sql(outcome_sql(inputs.table, bool(inputs.silent))).persist()
        cached.append(outcome)
        outcome.createOrReplaceTempView(OUTCOME)
        yield _counted(spark, inputs.table)
    finally:
        for frame in cached:
            frame.unpersist()


def uncovered(spark: SparkSession, inputs: Inputs, address: TableAddress, version: int) -> Difference:
    """Return what *inputs*, the objects of all of Bronze, do not cover of the table at *version*: rows to drop."""
    table = inputs.table
    _table_at(spark, address, version).createOrReplaceTempView("_stored")
    _frame(spark, views.spans(inputs)).createOrReplaceTempView("spans")
    spark.sql(
        f"CREATE OR REPLACE TEMP VIEW difference AS SELECT t.*, 'drop' AS op FROM _stored t "
        f"LEFT ANTI JOIN spans p ON {' AND '.join(_covered(table))}"
    )
    partition = list(table.partition_by)
    counts = spark.table("difference").groupBy(*partition).count().collect()
    partitions = sorted(tuple(row[name] for name in partition) for row in counts)
    return Difference("difference", 0, 0, sum(row["count"] for row in counts), partitions)


def _register(
    spark: SparkSession, inputs: Inputs, store: Store, address: TableAddress, version: int, cached: list[DataFrame]
) -> None:
    rows = _rows(spark, inputs, store)
    stored = _stored(spark, inputs, address, version)
    if inputs.silent:  # absences look at both again
        cached += [rows.persist(), stored.persist()]
    rows.createOrReplaceTempView("rows")
    stored.createOrReplaceTempView("stored")
    _frame(spark, views.objects(inputs)).createOrReplaceTempView("objects")
    _frame(spark, views.series(inputs)).createOrReplaceTempView("series")
    if inputs.silent:
        _frame(spark, views.silent(inputs)).createOrReplaceTempView("silent")


def _counted(spark: SparkSession, table: Table) -> Outcome:
    partition = list(table.partition_by)
    counts = spark.table(OUTCOME).groupBy("class", "op", *partition).count().collect()
    classes: Counter[str] = Counter()
    ops: Counter[str] = Counter()
    partitions: set[tuple[str, ...]] = set()
    for row in counts:
        classes[row["class"]] += row["count"]
        if row["op"] is not None:
            ops[row["op"]] += row["count"]
            partitions.add(tuple(row[name] for name in partition))
    spark.sql(f"CREATE OR REPLACE TEMP VIEW difference AS SELECT * FROM {OUTCOME} WHERE op IS NOT NULL")
    difference = Difference("difference", ops["insert"], ops["update"], ops["drop"], sorted(partitions))
    return Outcome(difference, classes)


def _rows(spark: SparkSession, inputs: Inputs, store: Store) -> DataFrame:
    def parse(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return parse_batches(batches, store.get)

    schema = from_arrow_schema(rows_schema(inputs.table))
    return _frame(spark, views.sources(inputs)).mapInArrow(parse, schema)


def _stored(spark: SparkSession, inputs: Inputs, address: TableAddress, version: int) -> DataFrame:
    """Read the versions that the derivation may change."""
    table = inputs.table
    columns = [*row_names(table), "known_from", "known_till", "source"]
    _table_at(spark, address, version).createOrReplaceTempView("_stored")
    _frame(spark, views.spans(inputs)).createOrReplaceTempView("spans")
    pruned = partition_predicate(table, inputs.partitions, "t") if table.partition_by else "TRUE"
    return spark.sql(
        f"SELECT /*+ BROADCAST(p) */ p.series_id, p.fast, {', '.join(f't.{name}' for name in columns)} "
        f"FROM _stored t JOIN spans p ON {' AND '.join(_covered(table))} "
        f"WHERE {pruned} AND (NOT p.fast OR t.known_till IS NULL)"
    )


def _table_at(spark: SparkSession, address: TableAddress, version: int) -> DataFrame:
    return spark.read.format("delta").option("versionAsOf", version).load(address.spark_path)


def _covered(table: Table) -> list[str]:
    """The conditions under which an interval p covers a row t of *table*."""
    conditions = [f"t.{name} = p.{name}" for name in scope_of(table)]
    if table.partition_by:
        conditions.append(f"t.{table.partition_by[-1]} = p.bucket")
    if position := views.position(table):
        conditions += [f"t.{position} >= p.from_at", f"t.{position} < p.till_at"]
    return conditions


def _frame(spark: SparkSession, table: pa.Table) -> DataFrame:
    return spark.createDataFrame(table)
