"""``GET /v1/quarantine`` and ``GET /v1/quality``: rows that were refused, and dates that do not add up."""

from __future__ import annotations

from typing import Any

from chalice.app import Request, Response
from psycopg import Connection

from functions.answers import answer
from functions.requests import choice_of, integer_of, no_others, text_of
from lakehouse.bronze import doubts
from lakehouse.market.instrument import parse_secid
from lakehouse.serving.quarantine import DEFAULT_LIMIT, MAX_LIMIT, quarantined, rule_counts


def read_quarantine(conn: Connection[Any], request: Request) -> Response:
    """Answer with a page of the rows in quarantine, newest fetch first."""
    no_others(request, "table", "secid", "rule", "limit", "token")
    rows, token = quarantined(
        conn,
        table=text_of(request, "table", "") or None,
        secid=_secid_of(request),
        rule=text_of(request, "rule", "") or None,
        limit=integer_of(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT),
        token=text_of(request, "token", "") or None,
    )
    return answer({"rows": rows, "next": token})


def read_quality(conn: Connection[Any], request: Request) -> Response:
    """Answer with the counts of rows in quarantine, and the dates whose volumes differ or cannot be proved."""
    no_others(request, "secid", "state", "limit")
    state = choice_of(request, "state", ("all", doubts.DIFFERS, doubts.NOT_PROVABLE))
    limit = integer_of(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    return answer(
        {
            "quarantine": rule_counts(conn),
            "volume_counts": doubts.gap_counts(conn),
            "volume_gaps": doubts.gaps(
                conn, secid=_secid_of(request), state=None if state == "all" else state, limit=limit
            ),
        }
    )


def _secid_of(request: Request) -> str | None:
    text = text_of(request, "secid", "")
    return parse_secid(text) if text else None
