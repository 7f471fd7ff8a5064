"""The inner side of `process`: a line of JSON in, a line of JSON and the rows out."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from lakehouse.lifeline import end_with_parent
from lakehouse.market.errors import LakehouseError
from lakehouse.serving.lake_sql.forms import csv_text, json_document
from lakehouse.serving.lake_sql.process import SqlFailed, SqlRefused, too_large


@dataclass(frozen=True)
class Found:
    """The rows of a statement; instants are UTC. *is_truncated* when there were more than its limit."""

    rows: pa.Table
    is_truncated: bool


def serve(answer: Callable[[Mapping[str, Any]], Found]) -> None:
    """Answer the request on standard input by *answer*, which gets it as JSON has it (`Question`, and `lake`)."""
    request = json.loads(sys.stdin.buffer.readline())
    end_with_parent()
    _die_first()
    began = time.monotonic()
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # whatever else writes there, such as a JVM
        out.writelines(_answer(answer, request, began))


def _answer(
    answer: Callable[[Mapping[str, Any]], Found], request: Mapping[str, Any], began: float
) -> Sequence[bytes | pa.Buffer]:
    try:
        found = answer(request)
        reached = ""
        if found.is_truncated:
            reached = f"there are more than {request['row_limit']:,} rows: only these are shown"
        seconds = round(time.monotonic() - began, 3)
        body = _body(found.rows, request, reached, seconds)
    except LakehouseError as error:
        return _error(str(error), "refused" if isinstance(error, SqlRefused) else "failed")
    except MemoryError:
        return _error("the answer needs more memory than a statement may take: narrow it with WHERE or LIMIT", "failed")
    head = {"rows": len(found.rows), "reached": reached, "seconds": seconds, "bytes": len(body)}
    return json.dumps(head).encode() + b"\n", body


def _error(message: str, kind: str) -> Sequence[bytes]:
    return (json.dumps({"error": message, "kind": kind}).encode() + b"\n",)


def _body(rows: pa.Table, request: Mapping[str, Any], reached: str, seconds: float) -> bytes | pa.Buffer:
    if request["form"] == "json":
        return _text(json_document(rows, reached, seconds), request["answer_bytes"])
    if request["form"] == "csv":
        return _text(csv_text(rows), request["answer_bytes"])
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, rows.schema) as writer:
        writer.write_table(rows)
    return stream.getvalue()


def _text(pieces: Iterable[str], answer_bytes: int) -> bytes:
    # Text is larger than Arrow: one byte of a control character is six of JSON, one bit of a boolean five
    text = bytearray()
    for piece in pieces:
        text += piece[: answer_bytes + 1].encode(errors="replace")
        if len(text) > answer_bytes:
            raise SqlFailed(too_large(answer_bytes))
    return bytes(text)


def _die_first() -> None:
    """Let the kernel end this process before any other, if the machine's or the container's memory runs out."""
    with contextlib.suppress(OSError):  # macOS has no /proc
        Path("/proc/self/oom_score_adj").write_text("1000")
