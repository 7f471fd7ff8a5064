"""
The process that runs one statement for `lakehouse sql --spark`: as `duckdb_child`, for what DuckDB cannot hold.

The statement sees views in the session's catalog, which live and end with the process.
"""

from __future__ import annotations

import os
from collections.abc import Container, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import PySparkException

from lakehouse.engines.address import TableAddress, is_s3
from lakehouse.engines.delta import literal
from lakehouse.engines.spark import reach_s3, start_spark
from lakehouse.market.errors import LakehouseError
from lakehouse.market.table import Table
from lakehouse.serving.lake_sql.answering import Found, serve
from lakehouse.serving.lake_sql.process import ANSWER_BYTES, SqlFailed, SqlRefused, too_large
from lakehouse.serving.lake_sql.spark_statement import lock_down, spark_message, tables_named
from lakehouse.serving.lake_sql.tables import LakeEmpty, no_data, open_tables
from lakehouse.serving.lake_sql.views import VIEWS, View
from lakehouse.silver.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


_TABLES = "lake_tables"  # a database of the session's catalog


def main() -> None:
    """Run the statement that standard input holds."""
    os.environ["JDK_JAVA_OPTIONS"] = "-XX:+ExitOnOutOfMemoryError"  # else the rows are waited for in vain
    serve(_answered)


def _answered(request: Mapping[str, Any]) -> Found:
    engine, lake = request["engine"], Lake(**request["lake"])
    spark = start_spark(engine["master"], with_s3=is_s3(lake.url), work_dir=engine["work_dir"])
    if is_s3(lake.url):
        reach_s3(spark, lake.url, lake.options)
    return answer(
        spark,
        request["statement"],
        lake,
        request["at"],
        request["row_limit"],
        request["answer_bytes"],
        request["hidden"],
    )


def answer(
    spark: SparkSession,
    text: str,
    lake: Lake,
    at: str | None,
    row_limit: int,
    answer_bytes: int = ANSWER_BYTES,
    hidden: Container[str] = (),
) -> Found:
    """Return the rows of a statement, *row_limit* at most."""
    session = spark.newSession()
    lock_down(session)
    named = tables_named(session, text)
    opened = open_tables(lake, named, at, hidden)
    for table, delta in opened.tables:
        of_version = f"{_registered(spark, lake.at(table), table)} VERSION AS OF {delta.version()}"
        for view in VIEWS:
            if view.table is table and (named is None or view.bare in named):
                _create_view(spark, session, view, of_version)
    try:
        return _fetch(session.sql(text), row_limit, answer_bytes)
    except PySparkException as error:
        if opened.missing and named is not None and error.getCondition() == "TABLE_OR_VIEW_NOT_FOUND":
            raise LakeEmpty(no_data(lake, opened)) from error
        raise SqlRefused(spark_message(error)) from error
    except Py4JJavaError as error:
        first = str(error.java_exception).partition("\n")[0]
        raise LakehouseError(f"Spark failed at the statement: {first[:300]}") from error
    except (Py4JError, EOFError, OSError) as error:
        raise LakehouseError(
            "Spark ended at the statement, which most likely needs more memory: narrow it with WHERE or LIMIT"
        ) from error


def _registered(spark: SparkSession, address: TableAddress, table: Table) -> str:
    """Return the name of a table in the catalog, which no statement may use: views find nothing by its path."""
    name = f"{_TABLES}.{table.name.replace('.', '_')}_{sha256(address.url.encode()).hexdigest()[:16]}"
    spark.sql(f"CREATE DATABASE IF NOT EXISTS {_TABLES}")
    spark.sql(f"CREATE TABLE IF NOT EXISTS {name} USING delta LOCATION {literal(address.spark_path)}")
    return name


def _create_view(spark: SparkSession, session: SparkSession, view: View, of_version: str) -> None:
    spark.sql(f"CREATE DATABASE IF NOT EXISTS {view.name.partition('.')[0]}")
    spark.sql(f"CREATE OR REPLACE VIEW {view.name} AS {view.select(of_version)}")
    session.sql(f"CREATE OR REPLACE TEMPORARY VIEW {view.bare} AS SELECT * FROM {view.name}")  # noqa: S608 - declared


def _fetch(found: DataFrame, row_limit: int, answer_bytes: int) -> Found:
    rows = found.limit(row_limit + 1).toArrow()
    if rows.nbytes > answer_bytes:
        raise SqlFailed(too_large(answer_bytes))
    return Found(rows.slice(0, row_limit), len(rows) > row_limit)


if __name__ == "__main__":
    main()
