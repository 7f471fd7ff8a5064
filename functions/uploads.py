"""Uploading a page of the exchange that somebody saved, and what became of the files under uploads/."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import Field

from functions import context
from functions.models import DIGITS, Answered, Body, Parameters, Text
from functions.operation import Call, operation
from lakehouse.access.roles import Role
from lakehouse.bronze import uploads
from lakehouse.bronze.upload_file import upload_key
from lakehouse.bronze.window import Series
from lakehouse.jobs.events import file_uploaded, object_landed
from lakehouse.market.errors import BadInput


class UploadQuery(Parameters):
    """What the file is of; end-of-day rows (`history`) say themselves what they are of."""

    family: Literal["candles", "history"] = "candles"
    engine: str = "stock"
    market: str = "shares"
    board: Annotated[str | None, Field(examples=["TQBR"])] = None
    secid: Annotated[str | None, Field(examples=["SBER"])] = None
    timeframe: Annotated[str | None, Field(examples=["1d"])] = None
    name: Annotated[str, Field(description="The file's name", examples=["page.json"])]


class UploadsQuery(Parameters):
    limit: Annotated[int, Field(ge=1, le=500), DIGITS] = 50


class UploadMade(Answered):
    upload_key: str
    state: Annotated[str, Field(description="imported or refused")]
    error: str
    object_key: str | None
    rows: int
    uploaded_by: str
    seen_at: dt.datetime
    accepted_by: str
    merged_at: dt.datetime | None
    published_at: dt.datetime | None


class UploadShown(UploadMade):
    fate: Annotated[str, Field(description="What became of it, in words")]


class Uploads(Answered):
    uploads: list[UploadShown]


class Acceptance(Body):
    upload_key: Annotated[Text, Field(examples=["uploads/candles/stock/shares/TQBR/SBER/1d/page.json"])]


class Accepted(Answered):
    object_key: str


# API Gateway hands on as text what is not application/octet-stream: the exchange's CSV is windows-1251. JSON is sent as
# that too: Chalice does not deploy a path that takes both.
@operation(
    Role.ADMIN,
    "upload a page of the exchange",
    action="upload",
    is_atomic=False,
    parameters=UploadQuery,
    body=bytes,
    content_type="application/octet-stream",
    answers={201: UploadMade},
)
def take_upload(call: Call) -> object:
    """Put a saved page, JSON or CSV, under the key that its parameters name, and import it; or store nothing."""
    key = upload_key(_series(call.parameters), call.parameters.name)
    with call.conn.transaction():
        found = uploads.submit(call.conn, context.store(), key, call.body, call.user.name)
        call.audit(key, {"rows": found.rows}, found.state)
    # Poked after the commit: a merge that waits already and begins meanwhile would not see the rows
    file_uploaded(call.conn, context.store(), key)
    return found


@operation(Role.ADMIN, "list uploads", parameters=UploadsQuery, answers={200: Uploads})
def list_uploads(call: Call) -> object:
    """Return the uploads that were looked at last."""
    found = uploads.uploads(call.conn, call.parameters.limit)
    return {"uploads": [{**vars(each), "fate": each.fate} for each in found]}


@operation(
    Role.ADMIN,
    "accept an upload",
    action="accept upload",
    is_atomic=False,
    body=Acceptance,
    answers={202: Accepted},
)
def accept_upload(call: Call) -> object:
    """Let the rows of an upload revise what is there."""
    key = call.body.upload_key
    is_real = context.settings().source == "exchange"
    now = dt.datetime.now(dt.UTC) if is_real else None
    with call.conn.transaction():
        object_key = uploads.accept(call.conn, context.store(), key, call.user.name, now)
        call.audit(key, {"object_key": object_key}, "accepted")
    object_landed(call.conn, context.store(), object_key)
    return {"object_key": object_key}


def _series(asked: UploadQuery) -> Series:
    place = (asked.engine, asked.market)
    told = {"board": asked.board, "secid": asked.secid, "timeframe": asked.timeframe}
    if asked.family == "history":
        if said := [name for name, value in told.items() if value]:
            raise BadInput(f"end-of-day rows say themselves what they are of: leave out {', '.join(said)}")
        return Series(asked.family, *place)
    if missing := [name for name, value in told.items() if not value]:
        raise BadInput(f"candles are of a board, a secid and a timeframe: add {', '.join(missing)}")
    return Series(asked.family, *place, *(value or "" for value in told.values()))
