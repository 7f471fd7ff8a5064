"""The outcome of a derivation in Spark: objects parsed in Python workers, versions derived and compared in SQL."""

# ruff: noqa: S608 - the text is made of names declared in lakehouse.market and of literals derived from data
from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql.pandas.types import from_arrow_schema

from lakehouse.engines.delta import Difference, partition_predicate, spark_path
from lakehouse.market.moscow import to_moscow
from lakehouse.market.table import Table
from lakehouse.market.timeframe import Timeframe
from lakehouse.silver.families import families_of, scope_of
from lakehouse.silver.inputs import Inputs, buckets, known_from
from lakehouse.silver.parse import SOURCES, parse_batches, row_names, rows_schema
from lakehouse.silver.versions import CLASSES, outcome_sql, row_keys
from lakehouse.storage.store import Store

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_INSTANT = pa.timestamp("us", tz="UTC")
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
def derived(spark: SparkSession, inputs: Inputs, store: Store, url: str, version: int) -> Iterator[Outcome]:
    """
    Derive versions and compare them with the table at *version*; the view `outcome` holds the rows within the context.

    Two Spark jobs at most, whatever the number of objects.
    """
    cached: list[DataFrame] = []
    try:
        _register(spark, inputs, store, url, version, cached)
        outcome = spark.sql(outcome_sql(inputs.table, bool(inputs.silent))).persist()
        cached.append(outcome)
        outcome.createOrReplaceTempView(OUTCOME)
        yield _counted(spark, inputs.table)
    finally:
        for frame in cached:
            frame.unpersist()


def uncovered(spark: SparkSession, inputs: Inputs, url: str, version: int) -> Difference:
    """Return what *inputs*, the objects of all of Bronze, do not cover of the table at *version*: rows to drop."""
    table = inputs.table
    _table_at(spark, url, version).createOrReplaceTempView("_stored")
    _frame(spark, _spans(inputs)).createOrReplaceTempView("spans")
    spark.sql(
        f"CREATE OR REPLACE TEMP VIEW difference AS SELECT t.*, 'drop' AS op FROM _stored t "
        f"LEFT ANTI JOIN spans p ON {' AND '.join(_covered(table))}"
    )
    partition = list(table.partition_by)
    counts = spark.table("difference").groupBy(*partition).count().collect()
    partitions = sorted(tuple(row[name] for name in partition) for row in counts)
    return Difference("difference", 0, 0, sum(row["count"] for row in counts), partitions)


def _register(
    spark: SparkSession, inputs: Inputs, store: Store, url: str, version: int, cached: list[DataFrame]
) -> None:
    rows = _rows(spark, inputs, store)
    stored = _stored(spark, inputs, url, version)
    if inputs.silent:  # absences look at both again
        cached += [rows.persist(), stored.persist()]
    rows.createOrReplaceTempView("rows")
    stored.createOrReplaceTempView("stored")
    _frame(spark, _objects(inputs)).createOrReplaceTempView("objects")
    _frame(spark, _series(inputs)).createOrReplaceTempView("series")
    if inputs.silent:
        _frame(spark, _silent(inputs)).createOrReplaceTempView("silent")


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
    return _frame(spark, _sources(inputs)).mapInArrow(parse, schema)


def _stored(spark: SparkSession, inputs: Inputs, url: str, version: int) -> DataFrame:
    """Read the versions that the derivation may change."""
    table = inputs.table
    columns = [*row_names(table), "known_from", "known_till", "source"]
    _table_at(spark, url, version).createOrReplaceTempView("_stored")
    _frame(spark, _spans(inputs)).createOrReplaceTempView("spans")
    pruned = partition_predicate(table, inputs.partitions, "t") if table.partition_by else "TRUE"
    return spark.sql(
        f"SELECT /*+ BROADCAST(p) */ p.series_id, p.fast, {', '.join(f't.{name}' for name in columns)} "
        f"FROM _stored t JOIN spans p ON {' AND '.join(_covered(table))} "
        f"WHERE {pruned} AND (NOT p.fast OR t.known_till IS NULL)"
    )


def _table_at(spark: SparkSession, url: str, version: int) -> DataFrame:
    return spark.read.format("delta").option("versionAsOf", version).load(spark_path(url))


def _covered(table: Table) -> list[str]:
    """The conditions under which an interval p covers a row t of *table*."""
    conditions = [f"t.{name} = p.{name}" for name in scope_of(table)]
    if table.partition_by:
        conditions.append(f"t.{table.partition_by[-1]} = p.bucket")
    if position := _position(table):
        conditions += [f"t.{position} >= p.from_at", f"t.{position} < p.till_at"]
    return conditions


def _position(table: Table) -> str | None:
    if not any(family.proves == "span" for family in families_of(table)):
        return None
    return "begin_at" if "begin_at" in row_keys(table) else "trade_date"


def _frame(spark: SparkSession, table: pa.Table) -> DataFrame:
    return spark.createDataFrame(table)


def _sources(inputs: Inputs) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for object_id, object_ in enumerate(inputs.objects):
        wanted = inputs.wanted[object_id]
        rows.append(
            {
                "object_id": object_id,
                "series_id": inputs.series_ids[object_id],
                **{name: getattr(object_, name) for name in SOURCES.names if hasattr(object_, name)},
                "known_from": known_from(object_),
                "is_new": inputs.is_new[object_id],
                "wanted": None if wanted is None else [{"from": from_, "till": till} for from_, till in wanted],
            }
        )
    # Spark cuts a local table into equal slices: heavy objects must not meet in one
    rows.sort(key=lambda row: -inputs.objects[row["object_id"]].rows)
    return pa.Table.from_pylist(rows[::2] + rows[1::2][::-1], schema=SOURCES)


def _objects(inputs: Inputs) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "object_id": pa.array(range(len(inputs.objects)), pa.int32()),
        "is_new": pa.array(inputs.is_new, pa.bool_()),
        "fetched_at": pa.array([object_.fetched_at for object_ in inputs.objects], _INSTANT),
    }
    for name in ("object_key", "family", "engine", "market", "board", "secid", "timeframe"):
        columns[name] = pa.array([getattr(object_, name) for object_ in inputs.objects], pa.string())
    return pa.table(columns)


def _series(inputs: Inputs) -> pa.Table:
    columns = {"series_id": pa.array(range(len(inputs.scopes)), pa.int32())}
    for position, name in enumerate(scope_of(inputs.table)):
        columns[name] = pa.array([scope[position] for scope in inputs.scopes], pa.string())
    return pa.table(columns)


def _silent(inputs: Inputs) -> pa.Table:
    silent = inputs.silent
    columns = {
        "object_id": pa.array([entry.object_id for entry in silent], pa.int32()),
        "series_id": pa.array([entry.series_id for entry in silent], pa.int32()),
        "known_from": pa.array([entry.known_from for entry in silent], _INSTANT),
        "is_new": pa.array([entry.is_new for entry in silent], pa.bool_()),
        "board": pa.array([entry.board for entry in silent], pa.string()),
        "secid": pa.array([entry.secid for entry in silent], pa.string()),
    }
    return pa.table({**columns, **_bounds(inputs.table, [entry.span for entry in silent])})


def _spans(inputs: Inputs) -> pa.Table:
    """The intervals, one row per bucket they touch, so that the join with the table is one of equals."""
    table, scope = inputs.table, scope_of(inputs.table)
    entries: list[tuple[int, bool, str, tuple[dt.datetime, dt.datetime]]] = []
    for interval in inputs.intervals:
        names = [""]
        if table.partition_by:
            timeframe = Timeframe(inputs.scopes[interval.series_id][scope.index("timeframe")])
            names = buckets(timeframe, interval.span)
        entries += [(interval.series_id, interval.fast, name, interval.span) for name in names]
    columns = {
        "series_id": pa.array([entry[0] for entry in entries], pa.int32()),
        "fast": pa.array([entry[1] for entry in entries], pa.bool_()),
        "bucket": pa.array([entry[2] for entry in entries], pa.string()),
    }
    for position, name in enumerate(scope):
        columns[name] = pa.array([inputs.scopes[entry[0]][position] for entry in entries], pa.string())
    return pa.table({**columns, **_bounds(table, [entry[3] for entry in entries])})


def _bounds(table: Table, spans: Sequence[tuple[dt.datetime, dt.datetime]]) -> dict[str, pa.Array]:
    """The bounds of *spans* in the type of the table's position: instants, or Moscow dates that begin inside."""
    if _position(table) != "trade_date":
        return {
            "from_at": pa.array([span[0] for span in spans], _INSTANT),
            "till_at": pa.array([span[1] for span in spans], _INSTANT),
        }
    return {
        "from_at": pa.array([_first_date(span[0]) for span in spans], pa.date32()),
        "till_at": pa.array([_first_date(span[1]) for span in spans], pa.date32()),
    }


def _first_date(instant: dt.datetime) -> dt.date:
    """Return the first Moscow date that begins at *instant* or later."""
    moscow = to_moscow(instant)
    return moscow.date() if moscow.time() == dt.time() else moscow.date() + dt.timedelta(days=1)
