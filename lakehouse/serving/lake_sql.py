"""
Read-only SQL over the lake's Delta tables, without a JVM: DuckDB in a process of its own, with limits.

`silver.candles` are the current rows, `silver.candles_versions` all of them; so for every table that has versions.
Schema names may be left out. The text reaches these tables and nothing else: no file, network, setting or variable.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import pyarrow as pa

from lakehouse.market.errors import LakehouseError
from lakehouse.serving.lake_sql_statement import SqlRefused

__all__ = ["LakeAnswer", "SqlFailed", "SqlRefused", "run_sql"]

TIMEOUT_S = 60.0
ROW_LIMIT = 10_000


class SqlFailed(LakehouseError):
    """A statement that was run and gave no answer: too long, too large, or there is no data."""


@dataclass(frozen=True)
class LakeAnswer:
    """The rows of a statement; instants are UTC. *is_truncated* when there were more than the limit."""

    rows: pa.Table
    is_truncated: bool


def run_sql(
    statement: str, lake: str, *, at: str | None = None, row_limit: int = ROW_LIMIT, timeout_s: float = TIMEOUT_S
) -> LakeAnswer:
    """
    Run one SELECT, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN.

    Args:
        statement: DuckDB's SQL.
        lake: Root of the Delta tables.
        at: Version of the one table named, or an ISO time (UTC unless it says otherwise); None reads the newest.
        row_limit: Most rows returned.
        timeout_s: Seconds after which the process is killed.

    Raises:
        SqlRefused: if the statement is not run as written; the message names line and column.
        SqlFailed: if it took too long or too much memory, or what it names does not exist yet.
    """
    if not statement.isascii() and any("\ud800" <= character <= "\udfff" for character in statement):
        raise SqlRefused("the statement is not UTF-8 text")
    request = {"statement": statement, "lake": lake, "at": at, "row_limit": row_limit, "timeout_s": timeout_s}
    head, separator, body = _run(json.dumps(request).encode() + b"\n", timeout_s).partition(b"\n")
    if not separator:
        raise SqlFailed("the process of the statement ended without an answer: narrow it with WHERE or LIMIT")
    said = json.loads(head)
    if "error" in said:
        raise (SqlRefused if said["kind"] == "refused" else SqlFailed)(said["error"])
    return LakeAnswer(pa.ipc.open_stream(body).read_all(), said["is_truncated"])


def _run(request: bytes, timeout_s: float) -> bytes:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "lakehouse.serving.lake_sql_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")},
        start_new_session=True,
    )
    try:
        lifeline, process.stdin = process.stdin, None  # stays open while we live: the child ends with it
        if lifeline is not None:
            with contextlib.suppress(BrokenPipeError):  # it ended already: what it said is read below
                lifeline.write(request)
                lifeline.flush()
        answer, said = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise SqlFailed(
            f"the statement took longer than {timeout_s:g} s and was stopped: narrow it with WHERE"
        ) from None
    finally:
        process.kill()
        process.communicate()
        if lifeline is not None:
            lifeline.close()
    if process.returncode:
        raise SqlFailed(_how_it_ended(process.returncode, said))
    return answer


def _how_it_ended(code: int, said: bytes) -> str:
    reason = signal.Signals(-code).name if code < 0 else f"code {code}"
    last = said.decode(errors="replace").strip().splitlines()[-1:]
    return f"the process of the statement ended with {reason}" + "".join(f": {line}" for line in last)
