"""The record of who changed what; rows are only ever added (the app's database role may do nothing else)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from lakehouse.access.roles import User


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
    name = user.name if isinstance(user, User) else user or ""
    conn.execute(
        "INSERT INTO lake.audit (user_name, action, target, detail, outcome, address) VALUES (%s, %s, %s, %s, %s, %s)",
        (name, action, target, Jsonb(dict(detail)), outcome, address),
    )
