"""Commits on S3: of two writers at the same moment one makes a version, and the other one learns it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from deltalake import write_deltalake

from lakehouse.database.connection import connect
from lakehouse.database.locks import LockLost
from lakehouse.engines.address import TableAddress
from lakehouse.engines.delta import Difference, committed_by, ensure_table, make_equal
from lakehouse.engines.spark import reach_s3
from lakehouse.market.candle import CALENDAR
from lakehouse.storage.minio import MinioServer
from tests.held_requests import Relay
from tests.stores import make_bucket, options

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.postgres, pytest.mark.spark]

HELD_S = 900


@dataclass(frozen=True)
class Bench:
    """A table on S3 with the day 1, its version 1, and the relay through which Spark reaches it."""

    spark: SparkSession
    dsn: str
    relay: Relay
    address: TableAddress

    def write(self, run_id: str, *days: int) -> int | None:
        """Merge what the table lacks of *days*, in a session of its own, under the table's lock."""
        session = self.spark.newSession()
        return make_equal(
            session, self.dsn, self.address, CALENDAR, run_id, self.lacks(session, *days), lambda version: None
        )

    def lacks(self, session: SparkSession, *days: int) -> Callable[[int], Difference]:
        def derive(version: int) -> Difference:
            missing = [day for day in days if day not in self.days()]
            rows = " UNION ALL ".join(f"SELECT {_day(day)}, 'insert' AS op" for day in missing or [0])
            session.sql(f"CREATE OR REPLACE TEMP VIEW wanted AS {rows}")
            return Difference("wanted", len(missing), 0, 0, [])

        return derive

    def days(self) -> list[int]:
        return sorted(date.day for date in self.address.open().to_pyarrow_table()["trade_date"].to_pylist())

    def cut_lock(self) -> None:
        """End the database session that holds the table's lock."""
        with connect(self.dsn) as conn:
            ended = conn.execute(
                """
                SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
                    AND (classid::bigint << 32) + objid::bigint = hashtextextended(%s, 0)
                """,
                (f"lakehouse {CALENDAR.name}",),
            ).fetchall()
        assert ended == [(True,)]


def _day(day: int) -> str:
    value = {"trade_date": f"DATE'2024-03-{max(day, 1):02}'", "known_from": "TIMESTAMP'2024-04-01 00:00:00Z'"}
    typed = {"string": "''", "boolean": "TRUE"}
    return ", ".join(
        f"CAST({value.get(column.name, typed.get(column.type, 'NULL'))} AS {column.type.upper()}) AS {column.name}"
        for column in CALENDAR.columns
    )


@pytest.fixture
def bench(spark: SparkSession, dsn: str, minio: MinioServer) -> Iterator[Bench]:
    url = f"s3://{make_bucket(minio)}/lake"
    with Relay(minio.port) as relay:
        reach_s3(spark, url, {**options(minio), "endpoint": f"http://127.0.0.1:{relay.port}"})
        bench = Bench(spark, dsn, relay, TableAddress(f"{url}/silver/calendar", options(minio)))
        ensure_table(spark, bench.address, CALENDAR)
        assert bench.write("run-0", 1) == 1
        yield bench


def test_a_late_commit_of_a_writer_whose_lock_was_cut_is_refused(bench: Bench) -> None:
    """In mid-merge, its request on the way: who took the lock loses nothing, and the late one has to begin again."""
    bench.relay.hold("PUT", "00000000000000000002.json")
    with ThreadPoolExecutor(1) as thread:
        late = thread.submit(bench.write, "run-late", 2, 4)
        bench.relay.wait_until_held(HELD_S)
        bench.cut_lock()
        assert bench.write("run-next", 2, 3) == 2
        bench.relay.let_pass()
        with pytest.raises(LockLost, match=r"held the lock of run run-late is gone; .*lakehouse jobs redrive$"):
            late.result(HELD_S)
    assert (bench.days(), committed_by(bench.address, 2)) == ([1, 2, 3], "run-next")
    assert bench.write("run-late", 2, 4) == 3
    assert (bench.days(), committed_by(bench.address, 3)) == ([1, 2, 3, 4], "run-late")


def test_a_commit_that_somebody_without_the_lock_was_faster_with_is_derived_again(bench: Bench) -> None:
    """The difference was taken at a version that is no longer the newest."""
    bench.relay.hold("PUT", "00000000000000000002.json")
    with ThreadPoolExecutor(1) as thread:
        ours = thread.submit(bench.write, "run-1", 2, 3)
        bench.relay.wait_until_held(HELD_S)
        foreign = bench.spark.sql(f"SELECT {_day(3)}").toArrow().cast(bench.address.open().to_pyarrow_table().schema)
        storage = {f"aws_{name}": value for name, value in bench.address.options.items()} | {"aws_allow_http": "true"}
        write_deltalake(bench.address.url, foreign, mode="append", storage_options=storage)
        bench.relay.let_pass()
        assert ours.result(HELD_S) == 3
    assert (bench.days(), committed_by(bench.address, 3)) == ([1, 2, 3], "run-1")


def test_a_table_whose_creation_was_cut_short_is_created_anew(bench: Bench) -> None:
    """On S3 that leaves the marks of empty folders, which Spark takes for a table."""
    address = replace(bench.address, url=bench.address.url.replace("calendar", "half"))
    jvm: Any = bench.spark.sparkContext._jvm
    staged = jvm.org.apache.hadoop.fs.Path(f"{address.spark_path}/_delta_log/_staged_commits")
    assert staged.getFileSystem(bench.spark._jsparkSession.sessionState().newHadoopConf()).mkdirs(staged)
    ensure_table(bench.spark, address, CALENDAR)
    assert address.open().version() == 0
