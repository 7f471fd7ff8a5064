"""The audit record, for admins: ``GET /v1/audit``."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from functools import partial
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from functions.models import DIGITS, Answered, Parameters
from functions.operation import Call, operation
from lakehouse.access import audit
from lakehouse.access.roles import Role
from lakehouse.market.moscow import parse_instant


def _instant(value: Any, *, is_end: bool) -> Any:
    with suppress(ValueError, TypeError):
        return parse_instant(value, is_end=is_end)
    return value  # whose fault Pydantic tells


def _with_zone(time: dt.datetime) -> dt.datetime:
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


_ZONED = AfterValidator(_with_zone)
Since = Annotated[dt.datetime, BeforeValidator(partial(_instant, is_end=False)), _ZONED]
Till = Annotated[dt.datetime, BeforeValidator(partial(_instant, is_end=True)), _ZONED]


class AuditQuery(Parameters):
    user: Annotated[str, Field(description="Whose; `-` for nobody's", max_length=64)] = ""
    action: Annotated[str, Field(examples=["ingest"], max_length=64)] = ""
    since: Annotated[
        Since | None,
        Field(description="From this instant on, UTC unless it says otherwise; a date is that day's start in Moscow"),
    ] = None
    till: Annotated[
        Till | None, Field(description="Up to this instant, inclusive; a date is that day's end in Moscow")
    ] = None
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
