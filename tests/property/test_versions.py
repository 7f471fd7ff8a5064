"""Derived versions against a plain reference, thousands of random histories in a few Spark runs."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from lakehouse.market.candle import CANDLES
from lakehouse.silver.arrow import arrow_schema
from lakehouse.silver.parse import rows_schema
from lakehouse.silver.versions import CLASSES, outcome_sql

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HISTORIES = 500
VALUES = ("open", "high", "low", "close", "value", "volume")
INSTANT = pa.timestamp("us", tz="UTC")
BEGIN = dt.datetime(2024, 3, 4, 7, 0, tzinfo=dt.UTC)
STORED = pa.schema(
    [pa.field("series_id", pa.int32()), pa.field("fast", pa.bool_())]
    + [field for field in arrow_schema(CANDLES) if field.name not in CANDLES.key[:-1]]
)


@dataclass(frozen=True)
class Fetch:
    """An object of the toy world: what it says of minutes 0, 1, 2, in the order of its lines; a row may be broken."""

    object_id: int
    series_id: int
    known_from: dt.datetime
    is_complete: bool
    rows: tuple[tuple[int, float | None, dt.datetime, bool], ...]


@dataclass(frozen=True)
class Version:
    begin_at: dt.datetime
    close: float | None
    known_from: dt.datetime
    known_till: dt.datetime | None
    end_at: dt.datetime
    source: str


def reference(fetches: list[Fetch]) -> list[Version]:
    """Derive versions the slow and plain way."""
    versions: list[Version] = []
    for minute in range(3):
        counted: dict[dt.datetime, Any] = {}
        for fetch in fetches:
            rows = [(line, row) for line, row in enumerate(fetch.rows) if row[0] == minute]
            good = [(line, row) for line, row in rows if not row[3]]
            if good:
                line, (_, close, end_at, _) = good[-1]
                counted[fetch.known_from] = (close, end_at, f"o{fetch.object_id}#1.{line}")
            elif fetch.is_complete and not rows:
                counted[fetch.known_from] = None
        current: Version | None = None
        for known_from, seen in sorted(counted.items()):
            if seen and current and seen[0] == current.close:
                current = replace(current, end_at=seen[1])
                continue
            if current:
                versions.append(replace(current, known_till=known_from))
            begin = BEGIN + dt.timedelta(minutes=minute)
            current = Version(begin, seen[0], known_from, None, seen[1], seen[2]) if seen else None
        if current:
            versions.append(current)
    return sorted(versions, key=lambda version: (version.begin_at, version.known_from))


def random_history(rng: random.Random, series_id: int, first_id: int) -> list[Fetch]:
    """Fetches in their total order; times may be equal, values may be NULL, rows may be missing, doubled or broken."""
    hours = sorted(rng.choices(range(6), k=rng.randint(1, 6)))
    fetches = []
    for number, hour in enumerate(hours):
        rows = []
        for minute in range(3):
            for _ in range(rng.choice((0, 1, 1, 1, 1, 2))):
                end_at = BEGIN + dt.timedelta(seconds=rng.randrange(3))
                rows.append((minute, rng.choice((None, 1.0, 2.0)), end_at, rng.random() < 0.1))
        known_from = dt.datetime(2024, 3, 5, hour, tzinfo=dt.UTC)
        fetches.append(Fetch(first_id + number, series_id, known_from, rng.random() < 0.8, tuple(rows)))
    return fetches


def row_records(fetch: Fetch, is_new: bool) -> list[dict[str, Any]]:
    return [
        {
            "object_id": fetch.object_id,
            "series_id": fetch.series_id,
            "tier": 0,
            "is_new": is_new,
            "known_from": fetch.known_from,
            "line": 1,
            "row": row,
            "rule": "broken" if broken else None,
            "begin_at": BEGIN + dt.timedelta(minutes=minute),
            "trade_date": BEGIN.date(),
            **dict.fromkeys(VALUES, 5.0),
            "close": close,
            "end_at": end_at,
            "is_final": True,
            "bucket": "2024-03",
        }
        for row, (minute, close, end_at, broken) in enumerate(fetch.rows)
    ]


def derive(
    spark: SparkSession, new: list[Fetch], old: list[Fetch], stored: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Run the SQL over *new* and *old* fetches (rows) and *stored* versions; return its rows."""
    ids = {fetch.object_id for fetch in new}
    rows = [record for fetch in old for record in row_records(fetch, is_new=False)]
    rows += [record for fetch in new for record in row_records(fetch, is_new=True)]
    silent = [
        {
            "object_id": fetch.object_id,
            "series_id": fetch.series_id,
            "known_from": fetch.known_from,
            "is_new": fetch.object_id in ids,
            "from_at": BEGIN,
            "till_at": BEGIN + dt.timedelta(days=1),
        }
        for fetch in (*old, *new)
        if fetch.is_complete
    ]
    fetches = [*old, *new]
    series = sorted({fetch.series_id for fetch in fetches})
    views = {
        "rows": pa.Table.from_pylist(rows, schema=rows_schema(CANDLES)),
        "stored": pa.Table.from_pylist(stored, schema=STORED),
        "silent": pa.Table.from_pylist(
            silent,
            schema=pa.schema(
                [
                    ("object_id", pa.int32()),
                    ("series_id", pa.int32()),
                    ("known_from", INSTANT),
                    ("is_new", pa.bool_()),
                    ("from_at", INSTANT),
                    ("till_at", INSTANT),
                ]
            ),
        ),
        "objects": pa.table(
            {
                "object_id": pa.array([fetch.object_id for fetch in fetches], pa.int32()),
                "object_key": [f"o{fetch.object_id}" for fetch in fetches],
            }
        ),
        "series": pa.table(
            {
                "series_id": pa.array(series, pa.int32()),
                **{name: [str(one) for one in series] for name in ("engine", "market", "board", "secid")},
                "timeframe": ["1m"] * len(series),
            }
        ),
    }
    for name, table in views.items():
        spark.createDataFrame(table).createOrReplaceTempView(name)
    found: list[dict[str, Any]] = spark.sql(outcome_sql(CANDLES, with_absences=True)).toArrow().to_pylist()
    return found


def applied(stored: list[dict[str, Any]], outcome: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Carry out the changes of *outcome* on *stored* versions, as MERGE does."""
    table = {(row["series_id"], row["begin_at"], row["known_from"]): row for row in stored}
    for row in outcome:
        key = (int(row["secid"]), row["begin_at"], row["known_from"])
        if row["op"] == "drop":
            del table[key]
        elif row["op"]:
            assert (row["op"] == "update") == (key in table)
            table[key] = {name: row[name] for name in STORED.names if name in row} | {
                "series_id": key[0],
                "fast": False,
            }
    return list(table.values())


def by_series(stored: list[dict[str, Any]]) -> dict[int, list[Version]]:
    found: dict[int, list[Version]] = {}
    for row in sorted(stored, key=lambda row: (row["begin_at"], row["known_from"])):
        version = Version(
            *(row[name] for name in ("begin_at", "close", "known_from", "known_till", "end_at", "source"))
        )
        found.setdefault(row["series_id"], []).append(version)
    return found


def expected(histories: list[list[Fetch]]) -> dict[int, list[Version]]:
    return {history[0].series_id: derived for history in histories if (derived := reference(history))}


@pytest.fixture(scope="module")
def histories() -> list[list[Fetch]]:
    rng = random.Random(20261125)
    return [random_history(rng, series_id, 10 * series_id) for series_id in range(HISTORIES)]


def flat(histories: list[list[Fetch]]) -> list[Fetch]:
    return [fetch for history in histories for fetch in history]


@pytest.fixture(scope="module")
def outcome(interpreting: SparkSession, histories: list[list[Fetch]]) -> list[dict[str, Any]]:
    """Return what all fetches derive at once."""
    return derive(interpreting, flat(histories), [], [])


def test_versions_equal_the_reference_and_rows_are_conserved(
    histories: list[list[Fetch]], outcome: list[dict[str, Any]]
) -> None:
    """Versions derived in SQL are those of the plain reference, and each new row has exactly one class."""
    assert by_series(applied([], outcome)) == expected(histories)
    classes = Counter(row["class"] for row in outcome)
    assert sum(classes[name] for name in CLASSES) == sum(len(fetch.rows) for fetch in flat(histories))
    assert classes["quarantined"] == sum(row[3] for fetch in flat(histories) for row in fetch.rows)
    assert all(classes[name] for name in (*CLASSES, "vanished"))


def test_a_repeated_derivation_changes_nothing(
    interpreting: SparkSession, histories: list[list[Fetch]], outcome: list[dict[str, Any]]
) -> None:
    """Derived again from the same objects, the difference is empty, whichever objects count as new."""
    stored = applied([], outcome)
    some = [fetch for fetch in flat(histories) if fetch.object_id % 2]
    others = [fetch for fetch in flat(histories) if not fetch.object_id % 2]
    assert [row for row in derive(interpreting, some, others, stored) if row["op"]] == []


def test_any_order_of_arrival_ends_in_the_same_table(interpreting: SparkSession, histories: list[list[Fetch]]) -> None:
    """Objects that arrive in any order, twice over, leave the versions that all of them derive."""
    rng = random.Random(7)
    orders = [rng.sample(history, len(history)) for history in histories]
    stored: list[dict[str, Any]] = []
    landed: dict[int, Fetch] = {}
    for cut in ((0, 2), (2, 3), (1, 6)):
        arriving = {fetch.object_id: fetch for order in orders for fetch in order[slice(*cut)]}
        touched = {fetch.series_id for fetch in arriving.values()}
        older = [fetch for number, fetch in landed.items() if number not in arriving and fetch.series_id in touched]
        looked_at = [row for row in stored if row["series_id"] in touched]
        left = [row for row in stored if row["series_id"] not in touched]
        stored = left + applied(looked_at, derive(interpreting, list(arriving.values()), older, looked_at))
        landed |= arriving
    assert by_series(stored) == expected(histories)


def test_current_versions_stand_for_all_older_objects(interpreting: SparkSession, histories: list[list[Fetch]]) -> None:
    """The fast path, from current versions and newer objects, equals the derivation from all objects."""
    early = [fetch for fetch in flat(histories) if fetch.known_from.hour < 3]
    late = [fetch for fetch in flat(histories) if fetch.known_from.hour >= 3]
    stored = applied([], derive(interpreting, early, [], []))
    touched = {fetch.series_id for fetch in late}
    current = [{**row, "fast": True} for row in stored if row["known_till"] is None and row["series_id"] in touched]
    others = [row for row in stored if row["known_till"] is not None or row["series_id"] not in touched]
    assert by_series(others + applied(current, derive(interpreting, late, [], current))) == expected(histories)
