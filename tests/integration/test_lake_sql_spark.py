"""SQL over the lake on Spark: the same names, the same answers, and nothing else within reach."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from lakehouse.cli.sql import sql
from lakehouse.market.candle import CANDLES, DIM_DATE
from lakehouse.market.errors import LakehouseError
from lakehouse.serving.lake_sql.duckdb_child import answer as answer_here
from lakehouse.serving.lake_sql.run import SqlFailed, SqlRefused, run_sql
from lakehouse.serving.lake_sql.spark_child import answer
from lakehouse.serving.lake_sql.tables import LakeEmpty
from lakehouse.silver.lake import Lake
from tests.hostile_spark_sql import STATEMENTS
from tests.sql_lake import DAY, FIRST, SECOND, candle, date, write

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake where SBER's candle was revised in the table's second version."""
    folder = tmp_path_factory.mktemp("lake")
    write(folder, CANDLES, [candle("SBER", 300.0, FIRST)])
    write(folder, CANDLES, [candle("SBER", 300.0, FIRST, SECOND), candle("SBER", 301.5, SECOND)])
    write(folder, DIM_DATE, [date(DAY)])
    return Lake(str(folder))


def ask(spark: SparkSession, lake: Lake, statement: str, at: str | None = None) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in answer(spark, statement, lake, at, 100).rows.to_pylist()]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM silver.candles",
        "SELECT * FROM silver.candles_versions ORDER BY known_from",
        "SELECT secid, close, known_from FROM candles",
        "WITH day AS (SELECT * FROM gold.dim_date) SELECT c.secid FROM candles c JOIN day USING (trade_date)",
        "VALUES (1)",
    ],
)
def test_both_engines_give_the_same(spark: SparkSession, lake: Lake, statement: str) -> None:
    """A statement that both know gives the same rows and columns."""
    here = answer_here(statement, lake, None, 100).rows
    assert ask(spark, lake, statement) == [tuple(row.values()) for row in here.to_pylist()]


def test_a_former_version_is_read(spark: SparkSession, lake: Lake) -> None:
    """By number or time; what is not there is refused."""
    statement = "SELECT close FROM candles"
    assert ask(spark, lake, statement, "0") == [(300.0,)]
    assert ask(spark, lake, statement, "2999-01-01") == [(301.5,)]
    with pytest.raises(SqlRefused, match=r"^silver\.candles has no version 7: its newest is 1$"):
        ask(spark, lake, statement, "7")


def test_names_and_columns_are_listed(spark: SparkSession, lake: Lake) -> None:
    """SHOW TABLES, DESCRIBE, SHOW COLUMNS and EXPLAIN are taken."""
    assert {"candles", "candles_versions"} <= {row[1] for row in ask(spark, lake, "SHOW TABLES IN silver")}
    current = [name for name in CANDLES.names if name != "known_till"]
    assert [row[0] for row in ask(spark, lake, "DESCRIBE silver.candles")] == current
    assert [row[0] for row in ask(spark, lake, "SHOW COLUMNS IN silver.candles")] == current
    assert "Plan" in ask(spark, lake, "EXPLAIN SELECT * FROM candles")[0][0]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT transform(array(1, 2), x -> x + 1)", [([2, 3],)]),
        ("SELECT explode(array(1, 2))", [(1,), (2,)]),
        ("SELECT sum(id) FROM range(5)", [(10,)]),
        ("FROM candles |> WHERE close > 1 |> SELECT close", [(301.5,)]),
        ("SELECT x FROM candles LATERAL VIEW explode(array(1, 2)) t AS x", [(1,), (2,)]),
        ("SELECT * FROM VALUES (1, 'a') AS t(n, k) PIVOT (sum(n) FOR k IN ('a'))", [(1,)]),
        ("SELECT rank() OVER w FROM candles WINDOW w AS (ORDER BY close)", [(1,)]),
        ("SELECT '${env:HOME}', '${spark.driver.memory}'", [("${env:HOME}", "${spark.driver.memory}")]),
    ],
)
def test_statements_that_are_taken(
    spark: SparkSession, lake: Lake, statement: str, expected: list[tuple[Any, ...]]
) -> None:
    """Spark's own SQL is there; variables of the environment are text."""
    assert ask(spark, lake, statement) == expected


def test_limits_and_what_is_not_there(spark: SparkSession, lake: Lake) -> None:
    """So many rows as asked for come; a table that was never made is named; too large an answer is refused."""
    found = answer(spark, "SELECT id FROM range(50)", lake, None, 3)
    assert (found.rows.to_pylist(), found.is_truncated) == ([{"id": 0}, {"id": 1}, {"id": 2}], True)
    with pytest.raises(LakeEmpty, match=r"\(silver\.splits is not there\): run lakehouse demo or lakehouse ingest$"):
        ask(spark, lake, "SELECT * FROM splits")
    with pytest.raises(LakehouseError, match=r"^the answer is larger than 1 MiB: narrow it with WHERE or LIMIT$"):
        answer(spark, "SELECT repeat('x', 2000000)", lake, None, 3, 1 << 20)


@pytest.mark.parametrize(("statement", "message"), STATEMENTS, ids=[shown[0][:60] for shown in STATEMENTS])
def test_hostile_texts_are_refused(spark: SparkSession, lake: Lake, statement: str, message: str) -> None:
    """No text reaches a file, a program, Java, a setting or the environment, and none writes; the message is a line."""
    leaks = sorted(Path("/tmp").glob("sql-leak*"))
    with pytest.raises(SqlRefused, match=message) as refused:
        ask(spark, lake, statement)
    assert "\n" not in str(refused.value)
    assert sorted(Path("/tmp").glob("sql-leak*")) == leaks


def test_the_command_runs_it_in_a_process_that_ends_in_time(lake: Lake) -> None:
    """`--spark` prints what the command prints, and what never ends is stopped with all that it started."""
    done = CliRunner().invoke(sql, ["SELECT secid, close FROM candles", "--spark", "--json", "--data", lake.url])
    assert (done.exception, json.loads(done.stdout)) == (None, [{"secid": "SBER", "close": 301.5}])
    endless = "SELECT count(*) FROM range(100000000000) a JOIN range(1000000) b ON a.id % 7 = b.id % 5"
    with pytest.raises(SqlFailed, match=r"^the statement took longer than 15 s and was stopped: narrow it with WHERE$"):
        run_sql(endless, lake, timeout_s=15, spark_master="local[1]")
    assert not [line for line in processes() if re.search("lakehouse-sql-", line)]


def processes() -> list[str]:
    """Return the command lines of all processes."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found.append((folder / "cmdline").read_text())
        except OSError:
            continue  # it ended meanwhile
    return found
