"""
What is done by the clock: Moscow times, each run once however many look, and what was missed caught up once.

A run is due by the exchange's clock, which the caller tells: the exchange's time is the database's, a simulator has its
own. So a demo's night is its simulator's.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.rows import class_row

from lakehouse.access import audit
from lakehouse.jobs.queue import enqueue, one_line
from lakehouse.market.errors import BadInput
from lakehouse.market.moscow import to_moscow, to_utc

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MEANING = {
    "increment": "bring all that is held up to date, once the exchange has published a day",
    "forming": "read again what forms, while there is trading",
    "reconcile": "find what landed in Bronze and was not heard of",
    "care": "compact the tables, remove files that no version needs and rows that are too old, refresh statistics",
}
# Clocks of several schedulers may differ by so much
_SKEW = dt.timedelta(minutes=5)
_STEP = {"hour": dt.timedelta(hours=1), "day": dt.timedelta(days=1), "week": dt.timedelta(weeks=1)}
_TIME = re.compile(r"([01]\d|2[0-3])?:([0-5]\d)", re.ASCII)


@dataclass(frozen=True)
class Schedule:
    """
    When something is done.

    Attributes:
        every: hour, day or week.
        at: Moscow time; of an hourly schedule the minute counts.
        weekday: Of a weekly schedule, 1 = Monday.
        since: What was due before is not caught up; None until a scheduler first looked.
    """

    name: str
    every: str
    at: dt.time
    weekday: int | None
    is_on: bool
    since: dt.datetime | None

    @property
    def when(self) -> str:
        """When it is done, in words."""
        if self.every == "hour":
            return f"every hour at :{self.at:%M}"
        day = WEEKDAYS[self.weekday - 1] if self.weekday else "day"
        return f"every {day} at {self.at:%H:%M}"

    def last_due(self, now: dt.datetime) -> dt.datetime:
        """Return the latest instant, not after *now*, at which this was due."""
        moscow = to_moscow(now)
        due = moscow.replace(minute=self.at.minute, second=0, microsecond=0)
        if self.every != "hour":
            due = due.replace(hour=self.at.hour)
        if self.weekday:
            due -= dt.timedelta(days=(moscow.isoweekday() - self.weekday) % 7)
        return to_utc(due if due <= moscow else due - _STEP[self.every])

    def next_due(self, now: dt.datetime) -> dt.datetime:
        """Return the first instant after *now* at which this is due."""
        return to_utc(to_moscow(self.last_due(now)) + _STEP[self.every])


@dataclass(frozen=True)
class Run:
    """A run of a schedule; *outcome* is None while it goes on."""

    name: str
    due_at: dt.datetime
    began_at: dt.datetime
    finished_at: dt.datetime | None
    outcome: str | None
    has_failed: bool
    job_id: int | None


def schedules(conn: Connection[Any]) -> list[Schedule]:
    """Return all schedules."""
    with conn.cursor(row_factory=class_row(Schedule)) as cursor:
        return cursor.execute(_SCHEDULES + " ORDER BY every = 'week', every = 'hour', name").fetchall()


def schedule(conn: Connection[Any], name: str) -> Schedule:
    """Return one schedule; raise BadInput when there is none of that name."""
    found = {each.name: each for each in schedules(conn)}
    if name not in found:
        raise BadInput(f"there is no schedule {name[:40]!r}: they are {', '.join(found)}")
    return found[name]


def last_runs(conn: Connection[Any]) -> dict[str, Run]:
    """Return the run of each schedule that was begun last; its outcome tells the state of the job it began."""
    with conn.cursor(row_factory=class_row(Run)) as cursor:
        rows = cursor.execute(
            """
            SELECT DISTINCT ON (r.name) r.name, due_at, began_at, r.finished_at,
                CASE WHEN j.job_id IS NULL THEN outcome ELSE concat('job ', j.job_id, ' ', j.state) END AS outcome,
                has_failed OR coalesce(j.state = 'failed', false) AS has_failed, r.job_id
            FROM lake.schedule_run r LEFT JOIN lake.job j USING (job_id) ORDER BY r.name, began_at DESC, due_at DESC
            """
        ).fetchall()
    return {row.name: row for row in rows}


def late(conn: Connection[Any], patience: dt.timedelta, *, is_real_time: bool) -> list[tuple[str, dt.datetime]]:
    """
    Return the schedules that were due longer than *patience* ago and were not run for it, each with when that was.

    Args:
        is_real_time: Whether the database's clock runs them, else the one that was read last.
    """
    row = conn.execute("SELECT now(), shown_at FROM lake.schedule_clock").fetchone()
    now = dt.datetime.now(dt.UTC) if row is None else row[0] if is_real_time else row[1] or row[0]
    done = dict(conn.execute("SELECT name, max(due_at) FROM lake.schedule_run GROUP BY name").fetchall())
    found = []
    for each in schedules(conn):
        due = each.last_due(now)
        is_missed = each.is_on and each.since is not None and each.since < due and done.get(each.name, each.since) < due
        if is_missed and now - due > patience:
            found.append((each.name, due))
    return found


def run_due(conn: Connection[Any], now: dt.datetime) -> list[str]:
    """
    Queue the step of each schedule that is due at *now* and was not queued for that time; return their names.

    Whoever calls this, and however often, each time that was due is queued once; of several that were missed, the last.
    A clock that goes back runs nothing again.
    """
    conn.execute("UPDATE lake.schedule_clock SET shown_at = %s", (now,))
    return [each.name for each in schedules(conn) if _run_if_due(conn, each.name, now)]


def change(
    conn: Connection[Any],
    name: str,
    *,
    by: str,
    at: str | None = None,
    weekday: str | None = None,
    is_on: bool | None = None,
) -> Schedule:
    """
    Change when a schedule runs, or whether; return it as it is now. What was due before is not caught up.

    Args:
        at: Moscow time as HH:MM, of an hourly schedule :MM.
        weekday: Of a weekly schedule, such as Sunday.

    Raises:
        BadInput: when there is no such schedule, or it cannot be at that time.
    """
    with conn.transaction():
        conn.execute("SELECT FROM lake.schedule WHERE name = %s FOR UPDATE", (name,))
        before = schedule(conn, name)
        time = before.at if at is None else _parsed_time(before, at)
        day = before.weekday if weekday is None else _parsed_weekday(before, weekday)
        # Set anew by whoever looks next, by the clock that runs it
        conn.execute(
            """
            UPDATE lake.schedule SET at = %s, weekday = %s, is_on = coalesce(%s, is_on), since = NULL,
                changed_at = now(), changed_by = %s
            WHERE name = %s
            """,
            (time, day, is_on, by, name),
        )
        return schedule(conn, name)


def is_open(conn: Connection[Any], arguments: Mapping[str, Any]) -> bool:
    """Return whether the run that a step is for has no outcome yet, and lock it: the step may have come again."""
    row = conn.execute(
        "SELECT finished_at IS NULL FROM lake.schedule_run WHERE name = %s AND due_at = %s FOR UPDATE",
        (arguments["schedule"], arguments["due_at"]),
    ).fetchone()
    return row == (True,)


def finish(conn: Connection[Any], arguments: Mapping[str, Any], outcome: str, job_id: int | None = None) -> None:
    """Write down what came of the run that a step was for, in one line, and the job it began."""
    conn.execute(
        """
        UPDATE lake.schedule_run SET finished_at = now(), outcome = %s, job_id = %s, has_failed = false
        WHERE name = %s AND due_at = %s
        """,
        (one_line(outcome), job_id, arguments["schedule"], arguments["due_at"]),
    )


_SCHEDULES: LiteralString = "SELECT name, every, at, weekday, is_on, since FROM lake.schedule"
_KEEP: LiteralString = "DELETE FROM lake.schedule_run WHERE name = %s AND began_at < now() - interval '90 days'"


def _run_if_due(conn: Connection[Any], name: str, now: dt.datetime) -> bool:
    with conn.transaction(), conn.cursor(row_factory=class_row(Schedule)) as cursor:
        found = cursor.execute(_SCHEDULES + " WHERE name = %s FOR UPDATE", (name,)).fetchone()
        if found is None:
            return False
        if found.since is None or found.since > now + _SKEW:  # nobody has looked yet, or the clock was set back
            conn.execute("UPDATE lake.schedule SET since = %s WHERE name = %s", (now, name))
            return False
        due_at = found.last_due(now)
        if not found.is_on or due_at <= found.since:
            return False
        return _begin(conn, name, due_at, now)


def _begin(conn: Connection[Any], name: str, due_at: dt.datetime, now: dt.datetime) -> bool:
    row = conn.execute(
        """
        INSERT INTO lake.schedule_run (name, due_at) SELECT %(name)s, %(due_at)s WHERE NOT EXISTS (
            SELECT FROM lake.schedule_run WHERE name = %(name)s AND due_at BETWEEN %(due_at)s AND %(seen)s)
        ON CONFLICT DO NOTHING RETURNING due_at
        """,
        {"name": name, "due_at": due_at, "seen": now + _SKEW},
    ).fetchone()
    if row is None:
        return False
    conn.execute(_KEEP, (name,))
    arguments = {"schedule": name, "due_at": due_at.isoformat(), "now": now.isoformat()}
    is_queued = enqueue(conn, name, arguments, only_one=True)
    if not is_queued:
        finish(conn, arguments, "left out: the run before it still waits")
    audit.record(
        conn, "schedule", "run schedule", name, {"due_at": due_at.isoformat()}, "queued" if is_queued else "left out"
    )
    return True


def _parsed_time(before: Schedule, text: str) -> dt.time:
    found = _TIME.fullmatch(text.strip())
    if found is None or (found[1] is None) != (before.every == "hour"):
        form = ":MM, the minute of each hour" if before.every == "hour" else "HH:MM, Moscow time"
        raise BadInput(f"{text[:40]!r} is no time for {before.name}: write {form}")
    return dt.time(int(found[1] or 0), int(found[2]))


def _parsed_weekday(before: Schedule, text: str) -> int:
    if before.weekday is None:
        raise BadInput(f"{before.name} runs {before.when}: it has no weekday")
    names = [name.lower() for name in WEEKDAYS]
    if text.strip().lower() not in names:
        raise BadInput(f"{text[:40]!r} is no weekday: write one of {', '.join(WEEKDAYS)}")
    return names.index(text.strip().lower()) + 1


def overview(conn: Connection[Any]) -> list[dict[str, Any]]:
    """Return what people and programs see of all schedules; instants in UTC, *at* in Moscow time."""
    row = conn.execute("SELECT coalesce(shown_at, now()) FROM lake.schedule_clock").fetchone()
    now, runs = (row[0] if row else dt.datetime.now(dt.UTC)), last_runs(conn)
    return [_described(each, runs.get(each.name), now) for each in schedules(conn)]


def _described(each: Schedule, run: Run | None, now: dt.datetime) -> dict[str, Any]:
    return {
        "name": each.name,
        "does": MEANING[each.name],
        "every": each.every,
        "at": f"{each.at:%H:%M}",
        "weekday": WEEKDAYS[each.weekday - 1] if each.weekday else None,
        "when": each.when,
        "is_on": each.is_on,
        "next_due_at": each.next_due(now) if each.is_on else None,
        "last_due_at": run.due_at if run else None,
        "last_began_at": run.began_at if run else None,
        "last_outcome": (run.outcome or "goes on") if run else None,
        "last_has_failed": bool(run and run.has_failed),
        "last_job_id": run.job_id if run else None,
    }
