"""``GET /v1/health``: live, ready, degraded and why; open to all."""

from __future__ import annotations

from typing import Annotated, Literal

import psycopg
import structlog
from chalice.app import Response
from pydantic import Field

from functions import context
from functions.answers import answer
from functions.models import Answered, Parameters
from functions.operation import Call, operation
from lakehouse.database.outage import why_away
from lakehouse.operations import health

log = structlog.get_logger()

_PATIENCE_S = 2.0


class Probe(Parameters):
    probe: Annotated[
        Literal["live", "ready"] | None,
        Field(description="live: whether this process answers; ready: whether data can be asked for; all by default"),
    ] = None


class ReasonTold(Answered):
    code: Annotated[str, Field(examples=["no_worker"])]
    message: str


class HealthTold(Answered):
    status: Annotated[
        Literal["ok", "degraded", "unavailable"], Field(description="degraded: it serves, but not all is well")
    ]
    live: bool
    ready: Annotated[bool, Field(description="whether data can be asked for")]
    reasons: list[ReasonTold]
    source: Annotated[str, Field(description="exchange, recorded or simulator")]
    data_version: int | None


class Live(Answered):
    status: Literal["ok"]
    live: bool


@operation(
    None,
    "read the platform's health",
    parameters=Probe,
    answers={200: (HealthTold, Live), 503: HealthTold},
    holds_connection=False,
)
def read_health(call: Call) -> Response:
    """Answer 503 when data cannot be asked for; to the probe `live` never, as a new start would not help."""
    if call.parameters.probe == "live":
        return answer({"status": "ok", "live": True})
    settings = context.settings()
    try:
        with context.api_pool().connection(timeout=_PATIENCE_S) as conn:
            found = health.look(settings, conn)
    except psycopg.OperationalError as error:
        # Everybody may ask, and what the driver says names the server's address
        log.warning("functions.database_unavailable", error=why_away(context.dsn()) or " ".join(str(error).split()))
        found = health.away(settings)
    except psycopg.ProgrammingError:
        found = health.unprepared(settings)
    return answer(found.document(), 200 if found.is_ready else 503, {"Cache-Control": "no-store"})
