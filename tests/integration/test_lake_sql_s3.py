"""SQL over a lake on S3: the same answers, and its secret within nobody's reach."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lakehouse.engines.spark import reach_s3
from lakehouse.market.candle import CANDLES
from lakehouse.serving.lake_sql.process import Question, SqlStopped, Statement
from lakehouse.serving.lake_sql.run import SqlRefused, run_sql
from lakehouse.serving.lake_sql.spark_child import answer
from lakehouse.silver.lake import Lake
from lakehouse.storage.minio import MinioServer
from tests.sql_lake import FIRST, SECOND, candle, write
from tests.stores import make_bucket, options

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ENDLESS = "SELECT count(*) FROM range(10000000) a, range(10000000) b, candles WHERE a.range * b.range % 7 > close"


@pytest.fixture(scope="module")
def lake(minio: MinioServer) -> Lake:
    """A lake in a bucket, where SBER's candle was revised in the table's second version."""
    url, reached = f"s3://{make_bucket(minio)}/lake", options(minio)
    named = {f"aws_{name}": value for name, value in reached.items()} | {"aws_allow_http": "true"}
    write(url, CANDLES, [candle("SBER", 300.0, FIRST)], named)
    write(url, CANDLES, [candle("SBER", 300.0, FIRST, SECOND), candle("SBER", 301.5, SECOND)], named)
    return Lake(url, reached)


def test_a_lake_on_s3_answers_as_a_folder_does(lake: Lake) -> None:
    """Current rows, versions, former states; and beside the tables nothing of the bucket."""
    for statement, at, closes in (
        ("SELECT close FROM candles", None, [301.5]),
        ("SELECT close FROM silver.candles_versions ORDER BY known_from", None, [300.0, 301.5]),
        ("SELECT close FROM candles", "0", [300.0]),
        ("SELECT close FROM candles", "2999-01-01", [301.5]),
    ):
        assert run_sql(statement, lake, at=at).rows.column("close").to_pylist() == closes
    with pytest.raises(SqlRefused, match=r"file system operations are disabled by configuration$"):
        run_sql(f"FROM '{lake.url}/silver/candles/x.parquet'", lake)


@pytest.mark.spark
def test_spark_reads_a_lake_on_s3(spark: SparkSession, lake: Lake) -> None:
    """The same rows, and a former version."""
    reach_s3(spark, lake.url, lake.options)
    for at, close in ((None, 301.5), ("0", 300.0)):
        assert answer(spark, "SELECT close FROM silver.candles", lake, at, 9).rows.to_pylist() == [{"close": close}]
    settings = answer(spark, "SELECT '${spark.hadoop.fs.s3a.secret.key}', '${env:PATH}'", lake, None, 9)
    assert list(settings.rows.to_pylist()[0].values()) == ["${spark.hadoop.fs.s3a.secret.key}", "${env:PATH}"]


def test_the_secret_is_in_no_command_line_and_no_environment(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that runs a statement gets it by a pipe, and nothing else of our environment."""
    secret = lake.options["secret_access_key"]
    monkeypatch.setenv("LAKEHOUSE_S3_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    statement = Statement(Question(ENDLESS), {"url": lake.url, "options": dict(lake.options)})
    with ThreadPoolExecutor() as threads:
        running = threads.submit(statement.run)
        process = child()
        seen = [(process / name).read_bytes() for name in ("cmdline", "environ")]
        statement.stop()
        with pytest.raises(SqlStopped, match=r"^the statement was stopped$"):
            running.result(timeout=120)
    assert all(secret.encode() not in found and b"LAKEHOUSE_S3" not in found for found in seen)
    assert secret not in repr(lake)
    assert not process.exists()


def child() -> Path:
    """Return the folder in /proc of the process of a statement of ours, once there is one."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        for task in Path(f"/proc/{os.getpid()}/task").iterdir():
            for number in (task / "children").read_text().split():
                found = Path("/proc") / number
                if b"lake_sql.duckdb_child" in (found / "cmdline").read_bytes():
                    return found
    pytest.fail("no process of a statement began")
