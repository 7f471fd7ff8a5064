"""Bringing up to date all that is held: by schedule, or when asked."""

from __future__ import annotations

import datetime as dt
from typing import Any

from psycopg import Connection

from lakehouse.bronze.calendars import known_calendar
from lakehouse.bronze.context import FetchContext
from lakehouse.bronze.held import HeldListing, due_listings
from lakehouse.database.outage import connect_patiently
from lakehouse.jobs import schedules
from lakehouse.jobs.queue import IngestRequest, submit_ingest
from lakehouse.market.moscow import to_moscow

_HELD = {"held": True}


def run_increment(context: FetchContext, arguments: dict[str, Any]) -> None:
    """
    Submit an ingest of what is held and due, as the run of a schedule; nothing is asked of the exchange here.

    Without anything due there is no job; nor while the one before goes on, or, of what forms, outside a session.
    """
    now, name = dt.datetime.fromisoformat(arguments["now"]), arguments["schedule"]
    with connect_patiently(context.dsn, "lakehouse_app") as conn, conn.transaction():
        if not schedules.is_open(conn, arguments):
            return
        if name == "forming" and not _is_session(context, conn, now):
            schedules.finish(conn, arguments, "no session: nothing forms")
        elif going_on := _going_on(conn):
            schedules.finish(conn, arguments, f"left out: job {going_on} brings up to date what is held")
        elif not _due(context, conn, now, only_lively=name == "forming"):
            schedules.finish(conn, arguments, "nothing was due")
        else:
            job_id = submit_ingest(conn, IngestRequest.parse(_HELD), f"schedule:{name}")
            schedules.finish(conn, arguments, f"job {job_id}", job_id)


def requests_for_held(context: FetchContext, conn: Connection[Any], now: dt.datetime) -> dict[str, IngestRequest]:
    """Return, for each instrument of which something held is due, the request that brings it up to date."""
    whole = IngestRequest.parse(_HELD)
    return {
        each.listing: whole.model_copy(update={"timeframes": list(each.timeframes)})
        for each in _due(context, conn, now, only_lively=False)
    }


def _due(context: FetchContext, conn: Connection[Any], now: dt.datetime, *, only_lively: bool) -> list[HeldListing]:
    dates: dict[str, dt.date] = {}

    def last_date(engine: str) -> dt.date:
        if engine not in dates:
            dates[engine] = known_calendar(context, conn, engine).last_begun(now)
        return dates[engine]

    return due_listings(conn, last_date, now, only_lively=only_lively)


def _is_session(context: FetchContext, conn: Connection[Any], now: dt.datetime) -> bool:
    """Return whether an engine of what is held trades at *now*, or has ended within the last hour."""
    engines = [row[0] for row in conn.execute("SELECT DISTINCT engine FROM lake.coverage").fetchall()]
    calendars = [known_calendar(context, conn, engine) for engine in engines]
    dates = [to_moscow(now - dt.timedelta(hours=1)).date(), to_moscow(now).date()]
    return any(
        calendar.trades(date) and calendar.begun_at(date) <= now <= calendar.over_at(date) + dt.timedelta(hours=1)
        for calendar in calendars
        for date in dates
    )


def _going_on(conn: Connection[Any]) -> int | None:
    row = conn.execute(
        """
        SELECT max(job_id) FROM lake.job
        WHERE state IN ('queued', 'running', 'cancelling') AND params @> '{"held": true}'
        """
    ).fetchone()
    return row[0] if row else None
