"""
The record of what the sandbox ran: a row before each run and one after it, which nobody changes.

A run without a row of its end is going on, or its web process ended before it did: `Run.ended_at` is None then, and who
shows it knows which runs are its own.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from lakehouse.access.roles import User
from lakehouse.database import counters
from lakehouse.market.errors import BadInput

RECORDED_BYTES = 16 << 20  # of a user in 24 hours: rows are kept for 90 days, and nobody shall fill the disk with them
_ROW_BYTES = 1024  # beside program and error


@dataclass(frozen=True)
class Beginning:
    """What is known before a run: code, data (selection, version, rows, bytes, hash) and limits."""

    code: str
    selection: Mapping[str, Any]
    data_version: int
    data_rows: int
    data_bytes: int
    data_sha256: str
    limits: Mapping[str, Any]


@dataclass(frozen=True)
class End:
    """What is known after it: outcome, seconds, bytes at the peak, and what was shown (number, bytes, hash)."""

    status: str
    message: str | None
    error: str | None
    wall_s: float
    cpu_s: float
    peak_bytes: int
    items: int
    result_bytes: int
    result_sha256: str
    is_truncated: bool


@dataclass(frozen=True)
class Run:
    """A run in a list; what follows *data_rows* is None while it has no end."""

    run_id: uuid.UUID
    began_at: dt.datetime
    user_name: str
    first_line: str
    selection: Mapping[str, Any]
    data_rows: int
    ended_at: dt.datetime | None
    status: str | None
    message: str | None
    wall_s: float | None
    cpu_s: float | None
    peak_bytes: int | None


def record_beginning(conn: Connection[Any], user: User, address: str, beginning: Beginning) -> uuid.UUID:
    """
    Write down that a run is about to begin; return the number of the run.

    Raises:
        BadInput: if the user's runs of the last 24 hours fill `RECORDED_BYTES` of the record.
    """
    _refuse_full(conn, user)
    run_id = uuid.uuid4()
    conn.execute(
        """
        INSERT INTO lake.sandbox_run (run_id, user_name, address, code, code_sha256, selection, data_version, data_rows,
            data_bytes, data_sha256, limits)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            run_id,
            user.name,
            address,
            beginning.code,
            hashlib.sha256(beginning.code.encode()).hexdigest(),
            Jsonb(dict(beginning.selection)),
            beginning.data_version,
            beginning.data_rows,
            beginning.data_bytes,
            beginning.data_sha256,
            Jsonb(dict(beginning.limits)),
        ),
    )
    return run_id


def record_end(conn: Connection[Any], run_id: uuid.UUID, end: End) -> None:
    """Write down how a run ended, and count it."""
    counters.add(conn, {("sandbox_runs", end.status): 1, **counters.took("sandbox_seconds", end.wall_s)})
    conn.execute(
        """
        INSERT INTO lake.sandbox_run_end (run_id, status, message, error, wall_s, cpu_s, peak_bytes, items,
            result_bytes, result_sha256, is_truncated)
        VALUES (%(run_id)s, %(status)s, %(message)s, %(error)s, %(wall_s)s, %(cpu_s)s, %(peak_bytes)s, %(items)s,
            %(result_bytes)s, %(result_sha256)s, %(is_truncated)s)
        """,
        {"run_id": run_id, **vars(end)},
    )


def _refuse_full(conn: Connection[Any], user: User) -> None:
    row = conn.execute(
        """
        SELECT coalesce(sum(%s + octet_length(code) + coalesce(octet_length(error), 0)), 0)
        FROM lake.sandbox_run LEFT JOIN lake.sandbox_run_end USING (run_id)
        WHERE user_name = %s AND began_at > now() - interval '24 hours'
        """,
        (_ROW_BYTES, user.name),
    ).fetchone()
    if row is not None and row[0] >= RECORDED_BYTES:
        raise BadInput(
            f"your runs of the last 24 hours fill {RECORDED_BYTES >> 20} MiB of the record, which is the most: try"
            " again tomorrow, or with shorter programs"
        )


def newest(conn: Connection[Any], user: User | None) -> list[Run]:
    """Return the 20 newest runs of a user, or of everybody for None."""
    with conn.cursor(row_factory=class_row(Run)) as cursor:
        return cursor.execute(
            """
            SELECT run_id, began_at, user_name,
                left(split_part(ltrim(code, E' \\n\\r\\t'), E'\\n', 1), 80) AS first_line,
                selection, data_rows, ended_at, status, message, wall_s, cpu_s, peak_bytes
            FROM lake.sandbox_run LEFT JOIN lake.sandbox_run_end USING (run_id)
            WHERE %(name)s::text IS NULL OR user_name = %(name)s
            ORDER BY began_at DESC LIMIT 20
            """,
            {"name": user.name if user else None},
        ).fetchall()
