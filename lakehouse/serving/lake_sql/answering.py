"""The inner side of `process`: a line of JSON in, a line of JSON and the rows out."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lakehouse.lifeline import end_with_parent
from lakehouse.market.errors import LakehouseError
from lakehouse.serving.lake_sql.forms import csv_text, json_document
from lakehouse.serving.lake_sql.process import SqlRefused


@dataclass(frozen=True)
class Found:
    """The rows of a statement; instants are UTC. *is_truncated* when there were more than its limit."""

    rows: pa.Table
    is_truncated: bool


def serve(answer: Callable[[Mapping[str, Any]], Found]) -> None:
    """Answer the request on standard input by *answer*, which gets it as JSON has it (`Question`, and `lake`)."""
    request = json.loads(sys.stdin.buffer.readline())
    end_with_parent()
    began = time.monotonic()
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # whatever else writes there, such as a JVM
        out.write(_answer(answer, request, began))


def _answer(answer: Callable[[Mapping[str, Any]], Found], request: Mapping[str, Any], began: float) -> bytes:
    try:
        found = answer(request)
        reached = ""
        if found.is_truncated:
            reached = f"there are more than {request['row_limit']:,} rows: only these are shown"
        seconds = round(time.monotonic() - began, 3)
        body = _body(found.rows, request["form"], reached, seconds)
    except LakehouseError as error:
        kind = "refused" if isinstance(error, SqlRefused) else "failed"
        return json.dumps({"error": str(error), "kind": kind}).encode() + b"\n"
    head = {"rows": len(found.rows), "reached": reached, "seconds": seconds, "bytes": len(body)}
    return json.dumps(head).encode() + b"\n" + body


def _body(rows: pa.Table, form: str, reached: str, seconds: float) -> bytes:
    if form == "json":
        return json_document(rows, reached, seconds).encode(errors="replace")
    if form == "csv":
        return csv_text(rows).encode(errors="replace")
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, rows.schema) as writer:
        writer.write_table(rows)
    return stream.getvalue()
