"""The schedules: the tick that runs what is due, ``GET /v1/schedules`` and ``PUT /v1/schedules/{name}``."""

from __future__ import annotations

import datetime as dt
import json
from typing import Annotated, Any

from psycopg import Connection
from pydantic import Field

from functions import context
from functions.models import Answered, Body
from functions.operation import Call, operation
from lakehouse.access.roles import Role
from lakehouse.jobs import claiming, schedules
from lakehouse.market.errors import BadInput
from lakehouse.market.moscow import to_utc
from lakehouse.ports import direct


class ScheduleChange(Body):
    at: Annotated[str, Field(description="Moscow time, HH:MM; of an hourly schedule :MM", examples=["04:15"])] = ""
    weekday: Annotated[str, Field(description="Of a weekly schedule", examples=["Sunday"])] = ""
    is_on: bool = True


class ScheduleShown(Answered):
    name: str
    does: str
    every: str
    at: str
    weekday: str | None
    when: str
    is_on: bool
    next_due_at: dt.datetime | None
    last_due_at: dt.datetime | None
    last_began_at: dt.datetime | None
    last_outcome: str | None
    last_has_failed: bool
    last_job_id: int | None


class Schedules(Answered):
    schedules: list[ScheduleShown]


def tick() -> None:
    """
    Find messages of dead workers, queue what is due by the schedules, and wake functions for whatever waits.

    Whoever else does the same at this moment, nothing is done twice.
    """
    with context.pool().connection() as conn:
        # Elsewhere the platform's own worker does it, which knows when the database was away
        if context.wakes() is not None:
            claiming.put_back_dead(conn, "io")
            claiming.give_up_unwritten(conn, "io")
        if (now := clock_time(conn)) is not None:
            schedules.run_due(conn, now)
    context.wake()


def clock_time(conn: Connection[Any]) -> dt.datetime | None:
    """
    Return the time of the clock that runs the schedules: the database's, of a simulator the simulator's own.

    None: the simulator does not answer. The exchange itself is not asked each minute what time it is.
    """
    chosen = context.settings()
    if chosen.source == "exchange":
        row = conn.execute("SELECT now()").fetchone()
        return row[0] if row else None
    try:
        with direct().open(f"{chosen.iss_url.removesuffix('/iss')}/_simulator/clock", timeout=5) as answer:
            return to_utc(dt.datetime.fromisoformat(json.load(answer)["now"]))
    except OSError:
        return None


@operation(Role.ANALYST, "list schedules", answers={200: Schedules})
def read_schedules(call: Call) -> object:
    """Return when things are done, and how they went last."""
    return {"schedules": schedules.overview(call.conn)}


@operation(
    Role.ADMIN,
    "change a schedule",
    action="schedule",
    path={"name": "The schedule's name"},
    body=ScheduleChange,
    answers={200: ScheduleShown},
)
def change_schedule(call: Call) -> object:
    """Change when something is done, or whether; what is left out stays as it is."""
    name, wanted = call.path["name"], call.body.model_dump(exclude_unset=True)
    if not wanted:
        raise BadInput('the body must be {"at": "HH:MM", "weekday": "Sunday", "is_on": true}, or some of that')
    schedules.change(call.conn, name, by=call.user.name, **wanted)
    call.audit(name, wanted, "done")
    return next(each for each in schedules.overview(call.conn) if each["name"] == name)
