"""
Answers that change only with the published data: their ETag, and 304 for a client that has them already.

The tag is weak: a proxy may compress the answer, and another version of the platform may write it otherwise, but it
says the same. It is the same for all addresses: a client compares it with what it kept of the same address.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from chalice.app import Request, Response
from psycopg import Connection

from lakehouse.serving import queries

# It may be kept by who asked alone, and is asked for again each time: the session may be over, the data moved
_HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}


def version_headers(data_version: int, published_at: dt.datetime | None) -> dict[str, str | list[str]]:
    """Return the headers of an answer whose rows are of this version of the data, or of a newer one."""
    # A database that was made anew counts from the beginning
    published = f"{published_at.timestamp():.6f}" if published_at else ""
    return {"ETag": f'W/"{data_version}-{published}"', **_HEADERS}


def not_modified(conn: Connection[Any], request: Request) -> Response | None:
    """Return 304 if the client has what is published now; by RFC 9110, 13.1.2."""
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if known == [""]:
        return None
    found = queries.publication(conn)
    headers = version_headers(found.data_version, found.published_at)
    if known == ["*"] or str(headers["ETag"]).removeprefix("W/") in known:
        return Response("", status_code=304, headers=headers)
    return None
