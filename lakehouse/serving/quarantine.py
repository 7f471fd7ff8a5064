"""
Rows in quarantine, as pages and functions list them: rule, payload and where in Bronze they lie.

Light on purpose (psycopg only). They are put into PostgreSQL by `publish_quarantine` after every merge.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.rows import class_row

from lakehouse.market.candle import SILVER
from lakehouse.market.errors import BadInput

DEFAULT_LIMIT = 100
MAX_LIMIT = 1_000


@dataclass(frozen=True)
class QuarantinedRow:
    """
    A row that broke a rule.

    Attributes:
        table: The table of Silver that it did not reach.
        payload: The row as received, JSON.
        source: Bronze object and line: ``key#line.row``.
        fetched_at: When its object was fetched, by the exchange's clock.
    """

    table: str
    engine: str
    market: str
    board: str
    secid: str
    timeframe: str
    rule: str
    payload: str
    source: str
    fetched_at: dt.datetime


@dataclass(frozen=True)
class RuleCount:
    """How many rows of a table broke a rule."""

    table: str
    rule: str
    rows: int


def quarantined(
    conn: Connection[Any],
    *,
    table: str | None = None,
    secid: str | None = None,
    rule: str | None = None,
    limit: int = DEFAULT_LIMIT,
    token: str | None = None,
) -> tuple[list[QuarantinedRow], str | None]:
    """
    Return a page of the rows in quarantine, newest fetch first, and what to ask the next page with (None at the end).

    Raises:
        BadInput: if there is no such table, or the token is none.
    """
    names = [each.name for each in SILVER]
    if table and table not in names and f"silver.{table}" not in names:
        raise BadInput(f"table {table!r} is not one of {', '.join(names)}")
    after = _decoded(token) if token else (None, None)
    parameters = {
        "table": f"silver.{table.removeprefix('silver.')}" if table else None,
        "secid": secid,
        "rule": rule,
        "fetched_at": after[0],
        "source": after[1],
        "limit": limit + 1,
    }
    with conn.cursor(row_factory=class_row(QuarantinedRow)) as cursor:
        rows = cursor.execute(_ROWS, parameters).fetchall()
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], _encoded(rows[limit - 1])


def rule_counts(conn: Connection[Any]) -> list[RuleCount]:
    """Return how many rows are in quarantine, by table and rule; those too many to be listed are counted, too."""
    with conn.cursor(row_factory=class_row(RuleCount)) as cursor:
        return cursor.execute(
            'SELECT table_name AS "table", rule, rows FROM lake.quarantine_count ORDER BY table_name, rule'
        ).fetchall()


_ROWS: LiteralString = """
    SELECT table_name AS "table", engine, market, board, secid, timeframe, rule, payload, source, fetched_at
    FROM lake.quarantine
    WHERE (%(table)s::text IS NULL OR table_name = %(table)s) AND (%(secid)s::text IS NULL OR secid = %(secid)s)
        AND (%(rule)s::text IS NULL OR rule = %(rule)s)
        AND (%(fetched_at)s::timestamptz IS NULL OR fetched_at < %(fetched_at)s
            OR (fetched_at = %(fetched_at)s AND source > %(source)s))
    ORDER BY fetched_at DESC, source LIMIT %(limit)s"""


def _encoded(row: QuarantinedRow) -> str:
    text = json.dumps([row.fetched_at.isoformat(), row.source])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(token: str) -> tuple[dt.datetime, str]:
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        instant, source = json.loads(raw)
        fetched_at = dt.datetime.fromisoformat(instant)
        if fetched_at.tzinfo is None or not isinstance(source, str) or not source.isprintable():
            raise ValueError("not a place in the list")
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise BadInput("the token is not one that this list gave: start again without it") from None
    return fetched_at, source
