"""Uploading a page of the exchange that somebody saved, and what became of the files under uploads/."""

from __future__ import annotations

import datetime as dt
from typing import Any

from chalice.app import Request, Response
from psycopg import Connection

from functions import context
from functions.answers import answer, document
from functions.requests import address_of, choice_of, integer_of, is_text, no_others, text_of
from lakehouse.access import audit
from lakehouse.access.roles import User
from lakehouse.bronze import uploads
from lakehouse.bronze.upload_file import upload_key
from lakehouse.bronze.window import Series
from lakehouse.jobs.events import file_uploaded, object_landed
from lakehouse.market.errors import BadInput

# API Gateway hands on as text what is not application/octet-stream: the exchange's CSV is windows-1251. JSON is sent as
# that too: Chalice does not deploy a path that takes both.
CONTENT_TYPES = ["application/octet-stream"]
_FIELDS = ("family", "engine", "market", "board", "secid", "timeframe", "name")


def take_upload(conn: Connection[Any], request: Request, user: User) -> Response:
    """
    Put the request's body under the key that its parameters name, and import it: 201 and the upload.

    Raises:
        BadInput: if it is no page of the series named; nothing is stored.
    """
    no_others(request, *_FIELDS)
    key = upload_key(_series(request), text_of(request, "name"))
    found = uploads.submit(conn, context.store(), key, _bytes(request.raw_body), user.name)
    file_uploaded(conn, context.store(), key)
    audit.record(conn, user, "upload", key, {"rows": found.rows}, found.state, address_of(request))
    return answer(found, 201)


def list_uploads(conn: Connection[Any], request: Request) -> Response:
    """Return the uploads that were looked at last: ``{"uploads": [...]}``."""
    no_others(request, "limit")
    found = uploads.uploads(conn, integer_of(request, "limit", 50, 1, 500))
    return answer({"uploads": [{**vars(each), "fate": each.fate} for each in found]})


def accept_upload(conn: Connection[Any], request: Request, user: User) -> Response:
    """Let the rows of the upload named in ``{"upload_key"}`` revise what is there: 202 and the object's key."""
    body = document(request.raw_body)
    key = body.get("upload_key")
    if not isinstance(key, str) or len(body) > 1 or not is_text(key):
        raise BadInput('the body must be {"upload_key": "uploads/..."}')
    is_real = context.settings().source == "exchange"
    now = dt.datetime.now(dt.UTC) if is_real else None
    object_key = uploads.accept(conn, context.store(), key, user.name, now)
    object_landed(conn, context.store(), object_key)
    audit.record(conn, user, "accept upload", key, {"object_key": object_key}, "accepted", address_of(request))
    return answer({"object_key": object_key}, 202)


def _series(request: Request) -> Series:
    family = choice_of(request, "family", ("candles", "history"))
    place = (text_of(request, "engine", "stock"), text_of(request, "market", "shares"))
    if family == "history":
        if told := [name for name in ("board", "secid", "timeframe") if text_of(request, name, "")]:
            raise BadInput(f"end-of-day rows say themselves what they are of: leave out {', '.join(told)}")
        return Series(family, *place)
    return Series(family, *place, *(text_of(request, name) for name in ("board", "secid", "timeframe")))


def _bytes(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else body
