"""
How long PostgreSQL keeps what is only of interest for a while; the audit record it keeps for ever.

What anything still needs stays, however old: jobs that go on, dead letters, the newest run of each step.
"""

# ruff: noqa: S608 - the text is made of constants
from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import Connection


@dataclass(frozen=True)
class Rule:
    """Rows of *what* are kept for *days* days; *statements* remove older ones than ``%(before)s``, the last counts."""

    what: str
    days: int
    statements: tuple[LiteralString, ...]


_OLD_JOBS: LiteralString = (
    "SELECT job_id FROM lake.job WHERE state IN ('done', 'failed', 'cancelled') AND finished_at < %(before)s"
)
RULES = (
    Rule(
        "sandbox runs",
        90,
        (
            "DELETE FROM lake.sandbox_run_end WHERE run_id IN"
            " (SELECT run_id FROM lake.sandbox_run WHERE began_at < %(before)s)",
            "DELETE FROM lake.sandbox_run WHERE began_at < %(before)s",
        ),
    ),
    Rule(
        "jobs",
        180,
        (
            f"UPDATE lake.schedule_run SET job_id = NULL WHERE job_id IN ({_OLD_JOBS})",
            f"DELETE FROM lake.job_window WHERE job_id IN ({_OLD_JOBS})",
            f"DELETE FROM lake.job WHERE job_id IN ({_OLD_JOBS})",
        ),
    ),
    Rule(
        "runs of steps",
        180,
        (
            """
            DELETE FROM lake.step_run s WHERE started_at < %(before)s AND EXISTS (
                SELECT FROM lake.step_run n WHERE n.step = s.step AND n.finished_at IS NOT NULL
                    AND n.started_at > s.started_at)
            """,
        ),
    ),
    Rule(
        "messages",
        30,
        (
            """
            DELETE FROM procrastinate_jobs j WHERE status IN ('succeeded', 'cancelled', 'aborted') AND NOT EXISTS (
                SELECT FROM procrastinate_events e WHERE e.job_id = j.id AND e.at >= %(before)s)
            """,
        ),
    ),
    Rule(
        "sessions",
        7,
        ("DELETE FROM lake.session WHERE expires_at < %(before)s OR revoked_at < %(before)s",),
    ),
    Rule(
        "tokens",
        180,
        ("DELETE FROM lake.api_token WHERE expires_at < %(before)s OR revoked_at < %(before)s",),
    ),
    Rule("login attempts", 7, ("DELETE FROM lake.login_attempt WHERE at < %(before)s",)),
    Rule("known places of logins", 180, ("DELETE FROM lake.login_place WHERE seen_at < %(before)s",)),
    Rule("leases of requests", 1, ("DELETE FROM lake.request_lease WHERE expires_at < %(before)s",)),
)


def remove_old(conn: Connection[Any]) -> dict[str, int]:
    """Remove what is older than its rule keeps it, each rule in a transaction; return how many rows, by rule."""
    removed = {}
    for rule in RULES:
        before = dt.datetime.now(dt.UTC) - dt.timedelta(rule.days)
        with conn.transaction():
            for statement in rule.statements:
                count = conn.execute(statement, {"before": before}).rowcount
        removed[rule.what] = count
    return removed
