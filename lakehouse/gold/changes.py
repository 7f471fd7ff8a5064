"""What a build has to look at: the instruments as Silver lists them now, and the series that something happened to."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
from deltalake import DeltaTable

from lakehouse.engines.delta import spark_path
from lakehouse.gold.instruments import Listed, Row, list_instruments
from lakehouse.market.candle import CALENDAR, CANDLES, DIM_DATE, DIM_INSTRUMENT, INSTRUMENTS, RENAMES, SPLITS
from lakehouse.market.instrument import Instrument
from lakehouse.market.table import Table
from lakehouse.silver.lake import table_url

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_SERIES = ("engine", "market", "board", "secid", "timeframe")


@dataclass(frozen=True)
class Changes:
    """
    What happened in Silver.

    Attributes:
        listed: All instruments, by id.
        affected: The timeframes to compute, by id; None for all timeframes. Ids that are no more are among them.
        is_everything: Whether every series is to be computed; *affected* then says nothing.
        calendar: Current rows of silver.calendar.
        candle_dates: Dates with candles, as far as this build knows of them.
        candles_version: Version of silver.candles to read.
    """

    listed: Mapping[int, Listed]
    affected: Mapping[int, frozenset[str] | None]
    is_everything: bool
    calendar: list[Row]
    candle_dates: list[dt.date]
    candles_version: int


def read_changes(
    spark: SparkSession, lake: str, since: Mapping[str, int] | None, versions: Mapping[str, int]
) -> Changes:
    """
    Compare Silver at *versions* with Silver at *since*, both by table; everything changed when that is None.

    A change feed that is no longer there makes a full build, too.
    """
    changed = None if since is None else _changed_series(spark, lake, since, versions)
    listed = _list(spark, lake, versions, changed)
    calendar = _current(lake, CALENDAR, versions)
    if changed is None or since is None:
        dates = _dates(_candles(spark, lake, versions[CANDLES.name]))
        return Changes(listed, {}, True, calendar, dates, versions[CANDLES.name])
    before = listed if _same(since, versions, INSTRUMENTS, SPLITS, RENAMES) else _list(spark, lake, since, changed)
    dates = [*changed.dates, *(row["trade_date"] for row in _rows(lake, DIM_DATE) if row["is_traded"])]
    return Changes(listed, _affected(listed, before, changed), False, calendar, dates, versions[CANDLES.name])


@dataclass(frozen=True)
class _Changed:
    timeframes: Mapping[Instrument, frozenset[str]]
    dates: list[dt.date]


def _changed_series(
    spark: SparkSession, lake: str, since: Mapping[str, int], versions: Mapping[str, int]
) -> _Changed | None:
    first, last = since[CANDLES.name] + 1, versions[CANDLES.name]
    if first > last:
        return _Changed({}, [])
    if not _has_feed(lake, first):
        return None
    feed = (
        spark.read.format("delta")
        .option("readChangeFeed", "true")
        .option("startingVersion", first)
        .option("endingVersion", last)
        .load(spark_path(table_url(lake, CANDLES)))
    )
    rows = feed.select(*_SERIES, "trade_date").distinct().toArrow().to_pylist()
    timeframes: dict[Instrument, set[str]] = {}
    for row in rows:
        listing = Instrument(row["engine"], row["market"], row["board"], row["secid"])
        timeframes.setdefault(listing, set()).add(row["timeframe"])
    dates = sorted({row["trade_date"] for row in rows})
    return _Changed({listing: frozenset(found) for listing, found in timeframes.items()}, dates)


def _has_feed(lake: str, first: int) -> bool:
    """Return whether the log still holds the commits from version *first* on."""
    known = [commit["version"] for commit in DeltaTable(table_url(lake, CANDLES)).history()]
    return bool(known) and min(known) <= first


def _affected(
    listed: Mapping[int, Listed], before: Mapping[int, Listed], changed: _Changed
) -> dict[int, frozenset[str] | None]:
    affected: dict[int, frozenset[str] | None] = {}
    for each in listed.values():
        found = frozenset[str]().union(*(changed.timeframes.get(place.listing, ()) for place in each.places))
        if not each.has_same_series(before.get(each.instrument_id)):
            affected[each.instrument_id] = None
        elif found:
            affected[each.instrument_id] = found
    return affected | dict.fromkeys(set(before) - set(listed))


def _list(spark: SparkSession, lake: str, versions: Mapping[str, int], changed: _Changed | None) -> dict[int, Listed]:
    cards = _current(lake, INSTRUMENTS, versions)
    with_main_board = {(card["engine"], card["market"], card["secid"]) for card in cards if card["is_primary"]}
    counted = _rows_by_board(spark, lake, versions[CANDLES.name], _without_card(lake, with_main_board, changed))
    return list_instruments(cards, _current(lake, RENAMES, versions), _current(lake, SPLITS, versions), counted)


def _without_card(lake: str, with_main_board: set[tuple[str, str, str]], changed: _Changed | None) -> list[str] | None:
    """Return the codes whose board must be found by counting candles; None for: look at all."""
    if changed is None:
        return None
    codes = {(each.engine, each.market, each.secid) for each in changed.timeframes}
    for row in _rows(lake, DIM_INSTRUMENT):
        codes |= {(row["engine"], row["market"], secid) for secid in row["secids"].split(",")}
    return sorted({secid for _, _, secid in codes - with_main_board})


def _rows_by_board(spark: SparkSession, lake: str, version: int, secids: list[str] | None) -> dict[Instrument, int]:
    if secids is not None and not secids:
        return {}
    candles = _candles(spark, lake, version)
    asked = candles if secids is None else candles.where(candles.secid.isin(secids))
    counts = asked.groupBy("engine", "market", "board", "secid").count().toArrow().to_pylist()
    return {Instrument(row["engine"], row["market"], row["board"], row["secid"]): row["count"] for row in counts}


def _candles(spark: SparkSession, lake: str, version: int) -> DataFrame:
    path = spark_path(table_url(lake, CANDLES))
    return spark.read.format("delta").option("versionAsOf", version).load(path).where("known_till IS NULL")


def _dates(candles: DataFrame) -> list[dt.date]:
    return sorted(row["trade_date"] for row in candles.select("trade_date").distinct().toArrow().to_pylist())


def _current(lake: str, table: Table, versions: Mapping[str, int]) -> list[Row]:
    dataset = DeltaTable(table_url(lake, table), version=versions[table.name]).to_pyarrow_dataset()
    rows: list[Row] = dataset.to_table(filter=pc.field("known_till").is_null()).to_pylist()
    return rows


def _rows(lake: str, table: Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = DeltaTable(table_url(lake, table)).to_pyarrow_table().to_pylist()
    return rows


def _same(since: Mapping[str, int], versions: Mapping[str, int], *tables: Table) -> bool:
    return all(since[table.name] == versions[table.name] for table in tables)
