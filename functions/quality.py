"""``GET /v1/quarantine`` and ``GET /v1/quality``: rows that were refused, dates that do not add up, jumps."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from functions.models import DIGITS, Answered, PageToken, Parameters, Secid
from functions.operation import Call, operation
from lakehouse.access.roles import Role
from lakehouse.bronze import doubts
from lakehouse.serving import jumps
from lakehouse.serving.quarantine import DEFAULT_LIMIT, MAX_LIMIT, QuarantinedRow, RuleCount, quarantined, rule_counts


class QuarantineQuery(Parameters):
    table: Annotated[str | None, Field(examples=["silver.candles"])] = None
    secid: Secid | None = None
    rule: str | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT), DIGITS] = DEFAULT_LIMIT
    token: PageToken = None


class Quarantine(Answered):
    rows: list[QuarantinedRow]
    next: Annotated[str | None, Field(description="What to ask the next page with, as `token`; null at the end")]


class QualityQuery(Parameters):
    secid: Secid | None = None
    state: Literal["all", "differs", "not provable"] = "all"
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT), DIGITS] = DEFAULT_LIMIT


class Quality(Answered):
    quarantine: Annotated[list[RuleCount], Field(description="Of all securities")]
    volume_counts: Annotated[dict[str, int], Field(description="How many dates differ, and are not provable")]
    volume_gaps: list[doubts.VolumeGap]
    jump_count: Annotated[int, Field(description="How many days jump as by a split that is not known")]
    price_jumps: list[jumps.PriceJump]


@operation(Role.ADMIN, "list rows in quarantine", parameters=QuarantineQuery, answers={200: Quarantine})
def read_quarantine(call: Call) -> object:
    """Return a page of the rows in quarantine, newest fetch first."""
    rows, token = quarantined(call.conn, **vars(call.parameters))
    return {"rows": rows, "next": token}


@operation(Role.ADMIN, "read the data's quality", parameters=QualityQuery, answers={200: Quality})
def read_quality(call: Call) -> object:
    """Return the counts of rows in quarantine, dates whose volumes differ or cannot be proved, and jumps of prices."""
    asked: QualityQuery = call.parameters
    state = None if asked.state == "all" else asked.state
    return {
        "quarantine": rule_counts(call.conn),
        "volume_counts": doubts.gap_counts(call.conn, asked.secid),
        "volume_gaps": doubts.gaps(call.conn, secid=asked.secid, state=state, limit=asked.limit),
        "jump_count": jumps.jump_count(call.conn, asked.secid),
        "price_jumps": jumps.jumps(call.conn, secid=asked.secid, limit=asked.limit),
    }
