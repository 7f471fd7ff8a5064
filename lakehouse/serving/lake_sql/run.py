"""
Read-only SQL over the lake's Delta tables, without a JVM: DuckDB in a process of its own, with limits.

`silver.candles` are the current rows, `silver.candles_versions` all of them; so for every table that has versions.
Schema names may be left out. The text reaches these tables and nothing else: no file, network, setting or variable.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

import pyarrow as pa

from lakehouse.serving.lake_sql.process import (
    DUCKDB,
    ROW_LIMIT,
    SPARK,
    TIMEOUT_S,
    Answer,
    Question,
    SqlFailed,
    SqlRefused,
    Statement,
)
from lakehouse.silver.lake import Lake

__all__ = ["LakeAnswer", "SqlFailed", "SqlRefused", "run_sql"]


@dataclass(frozen=True)
class LakeAnswer:
    """The rows of a statement; instants are UTC. *reached* says which limit cut them off, empty if none did."""

    rows: pa.Table
    reached: str


def run_sql(
    statement: str,
    lake: Lake,
    *,
    at: str | None = None,
    row_limit: int = ROW_LIMIT,
    timeout_s: float = TIMEOUT_S,
    spark_master: str | None = None,
) -> LakeAnswer:
    """
    Run one SELECT, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN of DuckDB's SQL; the rest is as in `Question`.

    Args:
        spark_master: Where Spark runs the statement instead, in its own SQL: for what memory cannot hold.

    Raises:
        SqlRefused: if the statement is not run as written; the message names line and column.
        SqlFailed: if it took too long or too much memory, or what it names does not exist yet.
    """
    question = Question(statement, at, row_limit, timeout_s)
    place = {"url": lake.url, "options": dict(lake.options)}
    if spark_master is None:
        return _arrow(Statement(question, place, DUCKDB).run())
    with tempfile.TemporaryDirectory(prefix="lakehouse-sql-") as work_dir:
        return _arrow(Statement(question, place, SPARK, {"master": spark_master, "work_dir": work_dir}).run())


def _arrow(found: Answer) -> LakeAnswer:
    return LakeAnswer(pa.ipc.open_stream(found.body).read_all(), found.reached)
