"""The schedules: the tick that runs what is due, ``GET /v1/schedules`` and ``PUT /v1/schedules/{name}``."""

from __future__ import annotations

import datetime as dt
import json
import urllib.request
from typing import Any

from psycopg import Connection

from functions import context
from lakehouse.access.roles import User
from lakehouse.jobs import claiming, schedules
from lakehouse.market.errors import BadInput
from lakehouse.market.moscow import to_utc

_FIELDS = {"at": str, "weekday": str, "is_on": bool}


def tick() -> None:
    """
    Find messages of dead workers, queue what is due by the schedules, and wake functions for whatever waits.

    Whoever else does the same at this moment, nothing is done twice.
    """
    with context.pool().connection() as conn:
        # Elsewhere the platform's own worker does it, which knows when the database was away
        if context.wakes() is not None:
            claiming.put_back_dead(conn, "io")
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
        with urllib.request.urlopen(f"{chosen.iss_url.removesuffix('/iss')}/_simulator/clock", timeout=5) as answer:
            return to_utc(dt.datetime.fromisoformat(json.load(answer)["now"]))
    except OSError:
        return None


def change(conn: Connection[Any], name: str, wanted: dict[str, Any], user: User) -> dict[str, Any]:
    """Change a schedule as the body of a request says; return what was changed."""
    if not wanted or any(field not in _FIELDS for field in wanted):
        raise BadInput('the body must be {"at": "HH:MM", "weekday": "Sunday", "is_on": true}, or some of that')
    for field, value in wanted.items():
        if type(value) is not _FIELDS[field]:
            raise BadInput(
                f"{field} must be {'true or false' if field == 'is_on' else 'a text'}, was {str(value)[:40]!r}"
            )
    schedules.change(conn, name, by=user.name, **wanted)
    return wanted
