"""
Sessions: opaque tokens of 32 random bytes, of which the database holds the SHA-256.

A session ends twelve hours after its login, two hours after it was last used, at logout, when it is revoked, and with a
new password of its user.
"""

from __future__ import annotations

import datetime as dt
import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection
from psycopg.pq import TransactionStatus
from psycopg.rows import class_row

from lakehouse.access import audit, throttle
from lakehouse.access.hashing import token_hash
from lakehouse.access.roles import NoSuch, Role, User
from lakehouse.access.users import check_password, set_password
from lakehouse.market.errors import LakehouseError, NotNow

LIFETIME, IDLE = dt.timedelta(hours=12), dt.timedelta(hours=2)
_NOTED = dt.timedelta(minutes=1)  # a session's use is written down no more often
_IS_LIVE = (
    "revoked_at IS NULL AND expires_at > now() AND disabled_at IS NULL "
    f"AND seen_at > now() - interval '{IDLE.seconds} seconds'"
)
_SHOWN_PROGRAM = 200  # characters


class LoginFailed(LakehouseError):
    """Name or password is wrong; which of them is not said."""


@dataclass(frozen=True)
class Session:
    """
    A session that has just begun; the token is known to nobody else.

    Attributes:
        device: What to keep in the browser's cookie, so that it is known at the next login; empty if it was.
    """

    token: str = field(repr=False)
    user: User
    expires_at: dt.datetime
    device: str = field(repr=False, default="")


@dataclass(frozen=True)
class LiveSession:
    """A session as its user and admins see it."""

    session_id: str
    user: str
    created_at: dt.datetime
    seen_at: dt.datetime
    expires_at: dt.datetime
    address: str
    program: str


def login(
    conn: Connection[Any], name: str, password: str, address: str, *, device: str = "", program: str = ""
) -> Session:
    """
    Begin a session; the audit record says so, and of an existing user also that it failed.

    Args:
        device: The cookie that the browser got at a login before.
        program: What the browser calls itself.

    Raises:
        LoginFailed: if name or password is wrong.
        TooManyAttempts: see throttle.py; whether there is such a user or not.
        NotNow: when many log in at this moment.
    """
    name = name.strip().lower()
    attempt, user, password_hash = _checked(conn, name, password, address, device, "login")
    with conn.transaction():
        token, expires_at = _begin(conn, user, LIFETIME, address, program, password_hash)
        new_device = throttle.succeed(conn, attempt, user.user_id)
        audit.record(conn, user, "login", user.name, {}, "done", address)
    return Session(token, user, expires_at, new_device)


def change_password(
    conn: Connection[Any], user: User, present: str, new: str, address: str, *, token: str, device: str = ""
) -> None:
    """
    Give *user* a new password of their own choice: all their sessions end but the one of *token*.

    The audit record says so. Raises as `login` does when *present* is not the present password, and BadInput when the
    new one is too short or too long.
    """
    attempt, _, _ = _checked(conn, user.name, present, address, device, "set password")
    with conn.transaction():
        set_password(conn, user.name, new, keep=token_hash(token))
        throttle.succeed(conn, attempt, user.user_id)
        audit.record(conn, user, "set password", user.name, {}, "done", address)


def mint(conn: Connection[Any], user: User, lifetime: dt.timedelta) -> str:
    """Begin a session of *user* without a password, for the platform's own calls; return its token."""
    token, _ = _begin(conn, user, lifetime, "", "the platform itself")
    return token


def resolve(conn: Connection[Any], token: str) -> User | None:
    """Return the user whose session *token* is, in the role of now; None when it is over, was revoked, or never was."""
    row = conn.execute(
        f"""
        SELECT user_id, name, role, seen_at < now() - %s FROM lake.session JOIN lake.app_user USING (user_id)
        WHERE token_hash = %s AND {_IS_LIVE}
        """,  # noqa: S608
        (_NOTED, token_hash(token)),
    ).fetchone()
    if row is None:
        return None
    if row[3]:
        # Whoever writes it down at the same moment does it for us
        conn.execute(
            """
            UPDATE lake.session SET seen_at = now() WHERE token_hash IN (
                SELECT token_hash FROM lake.session WHERE token_hash = %s FOR UPDATE SKIP LOCKED)
            """,
            (token_hash(token),),
        )
    return User(row[0], row[1], Role(row[2]))


def logout(conn: Connection[Any], token: str, address: str = "") -> None:
    """End a session; the audit record says so. Ending it twice, or one that never was, is harmless."""
    with conn.transaction():
        user = resolve(conn, token)
        conn.execute(
            "UPDATE lake.session SET revoked_at = now() WHERE token_hash = %s AND revoked_at IS NULL",
            (token_hash(token),),
        )
        if user is not None:
            audit.record(conn, user, "logout", user.name, {}, "done", address)


def list_sessions(conn: Connection[Any], user_name: str | None = None) -> list[LiveSession]:
    """Return the sessions that go on, of one user or of all, the newest first."""
    with conn.cursor(row_factory=class_row(LiveSession)) as cursor:
        return cursor.execute(
            f"""
            SELECT session_id::text, u.name AS user, s.created_at, seen_at, expires_at, address, program
            FROM lake.session s JOIN lake.app_user u USING (user_id)
            WHERE {_IS_LIVE} AND (%(name)s::text IS NULL OR u.name = %(name)s) ORDER BY s.created_at DESC, session_id
            """,  # noqa: S608
            {"name": user_name},
        ).fetchall()


def session_id_of(conn: Connection[Any], token: str) -> str | None:
    """Return which of the sessions a token's is."""
    row = conn.execute(
        "SELECT session_id::text FROM lake.session WHERE token_hash = %s", (token_hash(token),)
    ).fetchone()
    return row[0] if row else None


def end_session(conn: Connection[Any], session_id: str, user_name: str | None = None) -> str:
    """
    Revoke a session, if *user_name* is given only one of that user; return whose it was.

    Raises NoSuch when there is none.
    """
    row = conn.execute(
        f"""
        UPDATE lake.session s SET revoked_at = now() FROM lake.app_user u
        WHERE s.user_id = u.user_id AND session_id = %(id)s AND {_IS_LIVE}
            AND (%(name)s::text IS NULL OR u.name = %(name)s)
        RETURNING u.name
        """,  # noqa: S608
        {"id": _parsed_id(session_id), "name": user_name},
    ).fetchone()
    if row is None:
        raise NoSuch(f"there is no session {session_id[:40]!r}: it may be over already")
    return str(row[0])


def _checked(
    conn: Connection[Any], name: str, password: str, address: str, device: str, action: str
) -> tuple[throttle.Attempt, User, str]:
    """Return the attempt, and the user whose password it is with the hash that it fitted."""
    if conn.info.transaction_status != TransactionStatus.IDLE:
        raise RuntimeError("a login needs a connection outside a transaction: its failure must be kept")
    attempt = throttle.count(conn, throttle.attempt_of(conn, name, address, device))
    try:
        found = check_password(conn, name, password, is_known=bool(attempt.place))
    except NotNow:
        throttle.forget(conn, attempt)
        raise
    if found is None:
        # Both write, a stranger's failure and a user's: neither takes longer
        with conn.transaction():
            throttle.confirm(conn, attempt)
            audit.record_failed_login(conn, attempt.name, action, address)
        raise LoginFailed("name or password is wrong")
    return attempt, *found


def _begin(
    conn: Connection[Any], user: User, lifetime: dt.timedelta, address: str, program: str, password_hash: str = ""
) -> tuple[str, dt.datetime]:
    """Make a session, unless the user was removed or the password changed since it was looked at."""
    token = secrets.token_urlsafe(32)
    conn.execute("DELETE FROM lake.session WHERE expires_at < now()")
    row = conn.execute(
        """
        INSERT INTO lake.session (token_hash, user_id, expires_at, address, program)
        SELECT %(hash)s, user_id, now() + %(lifetime)s, %(address)s, %(program)s FROM (
            SELECT user_id FROM lake.app_user
            WHERE user_id = %(user)s AND disabled_at IS NULL AND %(password)s IN ('', password_hash)
            FOR SHARE) u
        RETURNING expires_at
        """,
        {
            "hash": token_hash(token),
            "lifetime": lifetime,
            "address": address,
            "program": _printable(program)[:_SHOWN_PROGRAM],
            "user": user.user_id,
            "password": password_hash,
        },
    ).fetchone()
    if row is None:
        raise LoginFailed("name or password is wrong")
    return token, row[0]


def _parsed_id(text: str) -> uuid.UUID | None:
    """Return a session's id, None for what can be none: Python reads more ways of writing one than PostgreSQL."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)
