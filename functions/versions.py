"""
Answers that change only with the published data: their ETag, and 304 for a client that has them already.

The tag is weak: a proxy may compress the answer, and another version of the platform may write it otherwise, but it
says the same. It is the same for all addresses: a client compares it with what it kept of the same address.
"""

from __future__ import annotations

from typing import Any

from chalice.app import Request, Response
from psycopg import Connection

from lakehouse.serving import queries

# It may be kept by who asked alone, and is asked for again each time: the session may be over, the data moved
_HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}


def version_headers(of: queries.Publication | queries.CandlePage) -> dict[str, str]:
    """Return the headers of an answer whose rows are of this version of the data, or of a newer one."""
    # A database that was made anew counts from the beginning
    published = f"{of.published_at.timestamp():.6f}" if of.published_at else ""
    return {"ETag": f'W/"{of.data_version}-{published}"', **_HEADERS}


def not_modified(conn: Connection[Any], request: Request) -> Response | None:
    """Return 304 if the client has what is published now; by RFC 9110, 13.1.2."""
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if known == [""]:
        return None
    headers = version_headers(queries.publication(conn))
    if known == ["*"] or headers["ETag"].removeprefix("W/") in known:
        return Response("", status_code=304, headers=dict(headers))
    return None
