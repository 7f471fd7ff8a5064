"""The audit record, for admins: ``GET /v1/audit``."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import AfterValidator, Field

from functions.models import DIGITS, Answered, Parameters
from functions.operation import Call, operation
from lakehouse.access import audit
from lakehouse.access.roles import Role


def _with_zone(time: dt.datetime) -> dt.datetime:
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


Time = Annotated[dt.datetime, AfterValidator(_with_zone)]


class AuditQuery(Parameters):
    user: Annotated[str, Field(description="Whose; `-` for nobody's", max_length=64)] = ""
    action: Annotated[str, Field(examples=["ingest"], max_length=64)] = ""
    since: Annotated[Time | None, Field(description="From this instant on, UTC unless it says otherwise")] = None
    till: Annotated[Time | None, Field(description="Before this instant")] = None
    before: Annotated[int | None, Field(ge=1, description="`next` of the page before"), DIGITS] = None
    limit: Annotated[int, Field(ge=1, le=audit.MAX_ENTRIES), DIGITS] = 100


class Audit(Answered):
    entries: list[audit.Entry]
    next: Annotated[int | None, Field(description="What to ask the next page with, as `before`; null at the end")]


@operation(Role.ADMIN, "read the audit record", parameters=AuditQuery, answers={200: Audit})
def read_audit(call: Call) -> object:
    """Return what was done, by whom, from where and with what result, the newest first."""
    asked = vars(call.parameters)
    found = audit.read(call.conn, **asked)
    return {"entries": found, "next": found[-1].entry_id if len(found) == asked["limit"] else None}
