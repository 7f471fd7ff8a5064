"""How Gold's tables differ from what they should be: facts by Spark, series by series; dimensions on the driver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lakehouse.engines.address import TableAddress
from lakehouse.engines.delta import Difference
from lakehouse.gold.changes import Changes
from lakehouse.gold.periods import ORIGIN, PERIODS, join_periods, split_periods
from lakehouse.gold.series import CANDLE, SERIES, difference, facts
from lakehouse.gold.splits import Split
from lakehouse.market.candle import CANDLES, FACT_CANDLE
from lakehouse.market.table import Table
from lakehouse.market.timeframe import Timeframe
from lakehouse.silver.arrow import arrow_schema
from lakehouse.silver.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_VIEW = "gold_difference"
_PLACES = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("engine", "market", "board", "secid")),
        pa.field("instrument_id", pa.int64()),
        pa.field("after", pa.date32()),
        pa.field("till", pa.date32()),
        pa.field("follows", pa.bool_()),
    ]
)
_DAYS = pa.schema(
    [
        pa.field("instrument_id", pa.int64()),
        pa.field("of", pa.string()),
        pa.field("first_date", pa.date32()),
        pa.field("last_date", pa.date32()),
    ]
)
# A week, month or quarter counts for each place of the instrument that has a day of it. Not before its first: what is
# traded under a code before that is another security
_LAST_DATE = """
    CASE timeframe
        WHEN '1w' THEN date_add(trade_date, 6)
        WHEN '1mo' THEN last_day(trade_date)
        WHEN '1q' THEN last_day(add_months(trade_date, 2))
        ELSE trade_date
    END
"""
_WANTED = pa.schema([pa.field("instrument_id", pa.int64()), pa.field("timeframe", pa.string())])


@dataclass
class Found:
    """What the last derivation found: series that differ, and rows by what becomes of them."""

    series: int = 0
    inserts: int = 0
    updates: int = 0
    drops: int = 0


@dataclass
class FactDifference:
    """The difference of fact_candle at a version, as `engines.delta.make_equal` asks for it."""

    spark: SparkSession
    lake: Lake
    changes: Changes
    found: Found = field(default_factory=Found)
    _cached: DataFrame | None = None

    def __call__(self, version: int) -> Difference:
        self.close()
        if self.changes.affected is not None and not self.changes.affected:
            return Difference("", 0, 0, 0, [])
        self._cached = self._computed(version).persist()
        self._cached.createOrReplaceTempView(_VIEW)
        counts = self._cached.groupBy("op", "instrument_id", *FACT_CANDLE.partition_by).count().toArrow().to_pylist()
        rows: Counter[str] = Counter()
        for row in counts:
            rows[row["op"]] += row["count"]
        partitions = sorted({tuple(row[name] for name in FACT_CANDLE.partition_by) for row in counts})
        series = {(row["instrument_id"], row["timeframe"]) for row in counts}
        self.found = Found(len(series), rows["insert"], rows["update"], rows["drop"])
        return Difference(_VIEW, rows["insert"], rows["update"], rows["drop"], partitions)

    def close(self) -> None:
        """Let the cached rows go."""
        if self._cached is not None:
            self._cached.unpersist()
            self._cached = None

    def _computed(self, version: int) -> DataFrame:
        splits = {each.instrument_id: each.splits for each in self.changes.listed.values()}
        wanted = self._wanted().groupBy(*SERIES)
        return wanted.cogroup(self._stored(version).groupBy(*SERIES)).applyInArrow(_series_difference(splits), _ddl())

    def _wanted(self) -> DataFrame:
        from pyspark.sql import functions as f

        found = _places(self.changes)
        places = self.spark.createDataFrame(pa.Table.from_pylist(found, _PLACES))
        candles = self._read(CANDLES, self.changes.candles_version).where("known_till IS NULL")
        if self.changes.affected is not None:
            candles = candles.where(f.col("secid").isin(sorted({place["secid"] for place in found})))
        here = candles.join(f.broadcast(places), ["engine", "market", "board", "secid"])
        in_time = here.where(f"(trade_date > after OR follows AND {_LAST_DATE} > after) AND trade_date <= till")
        in_time = in_time.withColumn("read_as", f.col("timeframe"))
        if periods := _split_periods(self.changes):
            asked = self.spark.createDataFrame(pa.Table.from_pylist(periods, _DAYS))
            days = in_time.where("timeframe = '1d'").join(f.broadcast(asked), "instrument_id")
            days = days.where("trade_date BETWEEN first_date AND last_date").withColumn("timeframe", f.col("of"))
            in_time = in_time.unionByName(days.drop("of", "first_date", "last_date"))
        return self._affected(in_time).select(*SERIES, *CANDLE, *ORIGIN)

    def _stored(self, version: int) -> DataFrame:
        return self._affected(self._read(FACT_CANDLE, version))

    def _affected(self, rows: DataFrame) -> DataFrame:
        from pyspark.sql import functions as f

        if self.changes.affected is None:
            return rows
        pairs = [(identity, timeframe) for identity, found in self.changes.affected.items() for timeframe in found]
        # Literals: only those let Delta skip files
        timeframes = sorted({timeframe for _, timeframe in pairs})
        asked = self.spark.createDataFrame(
            pa.table([[pair[0] for pair in pairs], [pair[1] for pair in pairs]], schema=_WANTED)
        )
        return rows.where(f.col("timeframe").isin(timeframes)).join(f.broadcast(asked), list(SERIES), "left_semi")

    def _read(self, table: Table, version: int) -> DataFrame:
        reader = self.spark.read.format("delta").option("versionAsOf", version)
        return reader.load(self.lake.at(table).spark_path)


@contextmanager
def fact_difference(spark: SparkSession, lake: Lake, changes: Changes) -> Iterator[FactDifference]:
    """Yield what derives the difference of fact_candle; its cached rows go at the end."""
    derive = FactDifference(spark, lake, changes)
    try:
        yield derive
    finally:
        derive.close()


def row_difference(
    spark: SparkSession, address: TableAddress, table: Table, rows: Sequence[Mapping[str, Any]], version: int
) -> Difference:
    """Return how a small table at *version* differs from *rows*."""
    schema = arrow_schema(table)
    stored = {_key(table, row): row for row in address.open(version).to_pyarrow_table().to_pylist()}
    wanted = {_key(table, row): {name: row[name] for name in table.names} for row in rows}
    found = [{**row, "op": "drop"} for key, row in stored.items() if key not in wanted]
    found += [{**row, "op": "insert"} for key, row in wanted.items() if key not in stored]
    found += [{**row, "op": "update"} for key, row in wanted.items() if key in stored and stored[key] != row]
    ops = Counter(row["op"] for row in found)
    if found:
        typed = pa.Table.from_pylist(found, schema.append(pa.field("op", pa.string())))
        spark.createDataFrame(typed).createOrReplaceTempView(_VIEW)
    return Difference(_VIEW, ops["insert"], ops["update"], ops["drop"], [])


def _places(changes: Changes) -> list[dict[str, Any]]:
    return [
        {
            **vars(place.listing),
            "instrument_id": each.instrument_id,
            "after": place.after,
            "till": place.till,
            "follows": number > 0,
        }
        for each in changes.listed.values()
        if changes.affected is None or each.instrument_id in changes.affected
        for number, place in enumerate(each.places)
    ]


def _split_periods(changes: Changes) -> list[dict[str, Any]]:
    return [
        {"instrument_id": each.instrument_id, "of": timeframe.value, "first_date": first, "last_date": last}
        for each in changes.listed.values()
        for timeframe in PERIODS
        if changes.affected is None or timeframe in changes.affected.get(each.instrument_id, ())
        for first, last in split_periods(each.splits, timeframe)
    ]


def _series_difference(splits: Mapping[int, tuple[Split, ...]]) -> Any:
    def compute(key: tuple[pa.Scalar, pa.Scalar], candles: pa.Table, stored: pa.Table) -> pa.Table:
        instrument_id, timeframe = key[0].as_py(), Timeframe(key[1].as_py())
        splits_of = splits.get(instrument_id, ())
        if timeframe in PERIODS:
            candles = join_periods(candles, timeframe, splits_of)
        wanted = (
            facts(candles, instrument_id, timeframe, splits_of)
            if candles.num_rows
            else arrow_schema(FACT_CANDLE).empty_table()
        )
        return difference(wanted, stored.select(FACT_CANDLE.names).cast(wanted.schema))

    return compute


def _key(table: Table, row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in table.key)


def _ddl() -> str:
    return f"{FACT_CANDLE.ddl().replace(' NOT NULL', '')}, op STRING"
