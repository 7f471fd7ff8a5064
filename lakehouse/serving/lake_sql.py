"""
Read-only SQL over the lake's Delta tables, without a JVM: DuckDB in a process of its own, with limits.

`silver.candles` are the current rows, `silver.candles_versions` all of them; so for every table that has versions.
Schema names may be left out. The text reaches these tables and nothing else: no file, network, setting or variable.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from lakehouse.serving.lake_sql_process import (
    DUCKDB,
    ROW_LIMIT,
    TIMEOUT_S,
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
) -> LakeAnswer:
    """
    Run one SELECT, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN of DuckDB's SQL; the rest is as in `Question`.

    Raises:
        SqlRefused: if the statement is not run as written; the message names line and column.
        SqlFailed: if it took too long or too much memory, or what it names does not exist yet.
    """
    question = Question(statement, at, row_limit, timeout_s)
    found = Statement(question, {"url": lake.url, "options": dict(lake.options)}, DUCKDB).run()
    return LakeAnswer(pa.ipc.open_stream(found.body).read_all(), found.reached)
