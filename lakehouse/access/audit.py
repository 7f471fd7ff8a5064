"""The record of who changed what; rows are only ever added (the app's database role may do nothing else)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from lakehouse.access.roles import User

MAX_ENTRIES = 1_000
MAX_REFUSED = 30  # of an action to a user, or to all who are nobody, in an hour


@dataclass(frozen=True)
class Entry:
    """
    One action.

    Attributes:
        user: Whose session or token asked; ``cli:NAME`` at the command line, empty when nobody was logged in.
        via: ``token NAME`` for an API token, else empty.
        target: What was changed.
        outcome: ``done``, ``queued`` or another word for what came of it; ``refused`` when nothing did.
    """

    entry_id: int
    at: dt.datetime
    user: str
    via: str
    action: str
    target: str
    detail: dict[str, Any]
    outcome: str
    address: str


def record(
    conn: Connection[Any],
    user: User | str | None,
    action: str,
    target: str,
    detail: Mapping[str, Any],
    outcome: str,
    address: str | None = None,
) -> None:
    """
    Write down one action, in the caller's transaction if there is one.

    *user* is whose session asked, None when nobody's did, or a word for what is no user (``command line``).
    """
    name, via = (user.name, user.via) if isinstance(user, User) else (user or "", "")
    conn.execute(
        """
        INSERT INTO lake.audit (user_name, via, action, target, detail, outcome, address)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        (name, via, action, target, Jsonb(dict(detail)), outcome, address),
    )


def record_refused(
    conn: Connection[Any],
    user: User | None,
    action: str,
    address: str,
    target: str = "",
    detail: Mapping[str, Any] | None = None,
) -> None:
    """
    Write down that an action was refused to who asked, unless it was `MAX_REFUSED` times within the hour.

    Rows are never taken away, and anyone may ask: without a bound a stranger fills the disk.
    """
    conn.execute(
        """
        INSERT INTO lake.audit (user_name, via, action, target, detail, outcome, address)
        SELECT %(user)s, %(via)s, %(action)s, %(target)s, %(detail)s, 'refused', %(address)s
        WHERE %(most)s > (
            SELECT count(*) FROM lake.audit
            WHERE action = %(action)s AND user_name = %(user)s AND outcome = 'refused'
                AND at > now() - interval '1 hour')
        """,
        {
            "user": user.name if user else "",
            "via": user.via if user else "",
            "action": action,
            "target": target,
            "detail": Jsonb(dict(detail or {})),
            "address": address,
            "most": MAX_REFUSED,
        },
    )


def record_failed_login(conn: Connection[Any], name: str, action: str, address: str) -> None:
    """
    Write down that a user's password was not given right, if there is such a user.

    A name that nobody has is left out: it may be a password in the wrong field, and anyone could fill the record. The
    throttle bounds how many rows a user gets.
    """
    conn.execute(
        """
        INSERT INTO lake.audit (user_name, action, target, detail, outcome, address)
        SELECT '', %s, name, '{}', 'refused', %s FROM lake.app_user WHERE name = %s AND disabled_at IS NULL
        """,
        (action, address, name),
    )


def read(
    conn: Connection[Any],
    *,
    user: str = "",
    action: str = "",
    since: dt.datetime | None = None,
    till: dt.datetime | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Entry]:
    """
    Return what was done, the newest first.

    Args:
        user: Whose; ``-`` for nobody's, all by default.
        since: From this instant on; *till* is up to that one. Both are inclusive.
        before: Only entries with a lesser number: the last one's of the page before.
    """
    with conn.cursor(row_factory=class_row(Entry)) as cursor:
        return cursor.execute(
            """
            SELECT audit_id AS entry_id, at, user_name AS user, via, action, target, detail, outcome,
                coalesce(address, '') AS address
            FROM lake.audit
            WHERE (%(user)s = '' OR user_name = CASE %(user)s WHEN '-' THEN '' ELSE %(user)s END)
                AND (%(action)s = '' OR action = %(action)s)
                AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
                AND (%(till)s::timestamptz IS NULL OR at <= %(till)s)
                AND (%(before)s::bigint IS NULL OR audit_id < %(before)s)
            ORDER BY audit_id DESC LIMIT %(limit)s
            """,
            {
                "user": user,
                "action": action,
                "since": since,
                "till": till,
                "before": before,
                "limit": min(limit, MAX_ENTRIES),
            },
        ).fetchall()
