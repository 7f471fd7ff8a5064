from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pytest
from delta import exceptions
from deltalake import write_deltalake

from lakehouse.engines.address import TableAddress
from lakehouse.engines.delta import (
    CONFLICTS,
    CommitLost,
    Difference,
    add_columns,
    committed_by,
    ensure_table,
    make_equal,
    table_version,
)
from lakehouse.market.candle import CALENDAR
from lakehouse.silver.arrow import arrow_schema

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.postgres]


class NeverAsked:
    """A session that must not be needed."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"Spark is asked for {name}")


def wanted(spark: SparkSession, *days: int, op: str = "insert") -> Difference:
    rows = " UNION ALL ".join(
        f"SELECT 'stock' AS engine, DATE'2024-03-{day:02}' AS trade_date, TRUE AS is_traded, '' AS reason, "
        "TIMESTAMP'2024-03-01 00:00:00' AS known_from, CAST(NULL AS TIMESTAMP) AS known_till, "
        f"'k#1.{day}' AS source, '{op}' AS op"
        for day in days
    )
    spark.sql(f"CREATE OR REPLACE TEMP VIEW wanted AS {rows}")
    return Difference("wanted", len(days), 0, 0, []) if op == "insert" else Difference("wanted", 0, 0, len(days), [])


def days(address: TableAddress) -> list[int]:
    return sorted(date.day for date in address.open().to_pyarrow_table()["trade_date"].to_pylist())


def foreign_commit(address: TableAddress, day: int) -> None:
    """A writer that knows nothing of the lock."""
    row = address.open().to_pyarrow_table().slice(0, 1).to_pylist()[0]
    rows = pa.Table.from_pylist([{**row, "source": f"foreign#{day}"}], schema=arrow_schema(CALENDAR))
    write_deltalake(address.url, rows, mode="append")


def test_a_table_that_is_there_costs_spark_nothing(spark: SparkSession, tmp_path: Path) -> None:
    """A worker's start and every merge look for all tables: only one that is missing is asked of Spark."""
    address = TableAddress(str(tmp_path / "calendar"))
    ensure_table(spark, address, CALENDAR)
    ensure_table(cast("SparkSession", NeverAsked()), address, CALENDAR)
    assert table_version(address) == 0


def test_a_commit_carries_the_run_and_is_sparks(spark: SparkSession, dsn: str, tmp_path: Path) -> None:
    """The commit after the difference's version is ours, made by Spark, and readable by deltalake."""
    address = TableAddress(str(tmp_path / "calendar"))
    ensure_table(spark, address, CALENDAR)
    ensure_table(spark, address, CALENDAR)
    recorded: list[int] = []
    version = make_equal(spark, dsn, address, CALENDAR, "run-1", lambda version: wanted(spark, 1, 2), recorded.append)
    assert (version, recorded) == (1, [1])
    assert committed_by(address, 1) == "run-1"
    assert all(commit["engineInfo"].startswith("Apache-Spark/") for commit in address.open().history())
    assert address.open().metadata().configuration["delta.enableChangeDataFeed"] == "true"
    assert days(address) == [1, 2]


def test_an_empty_difference_commits_nothing(spark: SparkSession, dsn: str, tmp_path: Path) -> None:
    """The version at which the table was right is recorded all the same."""
    address = TableAddress(str(tmp_path / "calendar"))
    ensure_table(spark, address, CALENDAR)
    recorded: list[int] = []
    nothing = Difference("never read", 0, 0, 0, [])
    assert make_equal(spark, dsn, address, CALENDAR, "run-1", lambda version: nothing, recorded.append) is None
    assert (table_version(address), recorded) == (0, [0])


def test_a_commit_in_between_makes_it_derive_again(spark: SparkSession, dsn: str, tmp_path: Path) -> None:
    """A writer without the lock costs an attempt; the difference is taken again at the newer version."""
    address = TableAddress(str(tmp_path / "calendar"))
    ensure_table(spark, address, CALENDAR)
    make_equal(spark, dsn, address, CALENDAR, "run-0", lambda version: wanted(spark, 1), lambda version: None)
    asked: list[int] = []

    def derive(version: int) -> Difference:
        asked.append(version)
        if len(asked) == 1:
            foreign_commit(address, 9)
            return wanted(spark, 2)
        return wanted(spark, 2, op="drop") if 2 in days(address) else wanted(spark, 3)

    make_equal(spark, dsn, address, CALENDAR, "run-1", derive, lambda version: None)
    assert len(asked) == 2
    assert asked[1] > asked[0]
    assert committed_by(address, asked[1] + 1) == "run-1"


def test_a_writer_that_is_always_faster_is_named(spark: SparkSession, dsn: str, tmp_path: Path) -> None:
    """After three attempts the message says what to stop."""
    address = TableAddress(str(tmp_path / "calendar"))
    ensure_table(spark, address, CALENDAR)
    make_equal(spark, dsn, address, CALENDAR, "run-0", lambda version: wanted(spark, 1), lambda version: None)

    def derive(version: int) -> Difference:
        foreign_commit(address, version)
        return wanted(spark, version + 2)

    with pytest.raises(
        CommitLost,
        match=r"silver.calendar at .*calendar: another writer committed in each of 3 attempts of run run-1.* redrive$",
    ):
        make_equal(spark, dsn, address, CALENDAR, "run-1", derive, lambda version: None)


def test_every_conflict_of_delta_makes_it_derive_again() -> None:
    """Delta names a commit in between by what it did; each of these names is known, so none ends a run."""
    names = {name for name in vars(exceptions) if name.endswith("Exception")}
    assert {one.__name__ for one in CONFLICTS} == names


def test_workers_that_make_a_table_at_once_both_go_on(spark: SparkSession, tmp_path: Path) -> None:
    """The first merges of two workers create the same tables: whoever is late finds them there."""
    for attempt in range(5):
        address = TableAddress(str(tmp_path / f"calendar {attempt}"))
        with ThreadPoolExecutor(4) as pool:
            made = [pool.submit(ensure_table, spark.newSession(), address, CALENDAR) for _ in range(4)]
        assert [future.exception() for future in made] == [None] * 4
        assert table_version(address) == 0


def test_a_table_of_a_former_version_gets_the_columns_that_it_lacks(
    spark: SparkSession, dsn: str, tmp_path: Path
) -> None:
    """Workers that start at once add them in one commit; rows stay, the feed goes on, and the next merge fills them."""
    address = TableAddress(str(tmp_path / "calendar"))
    former = replace(CALENDAR, columns=tuple(column for column in CALENDAR.columns if column.name != "reason"))
    ensure_table(spark, address, former)
    make_equal(spark, dsn, address, former, "run-1", lambda version: wanted(spark, 1), lambda version: None)
    with ThreadPoolExecutor(4) as pool:
        added = [pool.submit(add_columns, spark.newSession(), address, CALENDAR) for _ in range(4)]
    assert [future.exception() for future in added] == [None] * 4
    ensure_table(spark, address, CALENDAR)
    assert table_version(address) == 2
    make_equal(spark, dsn, address, CALENDAR, "run-2", lambda version: wanted(spark, 2), lambda version: None)
    rows = address.open().to_pyarrow_table().sort_by("trade_date").to_pylist()
    assert [(row["trade_date"].day, row["reason"]) for row in rows] == [(1, None), (2, "")]
    feed = pa.table(address.open().load_cdf(1)).to_pylist()
    assert {(row["trade_date"].day, row["reason"], row["_commit_version"]) for row in feed} == {
        (1, None, 1),
        (2, "", 3),
    }
