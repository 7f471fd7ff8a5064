"""
Sessions: opaque tokens of 32 random bytes, of which the database holds the SHA-256.

Failed logins count per name and address. A login writes its attempt down as failed before it looks at the password,
so that many at once count as well, and clears the count when the password is right.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import secrets
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection
from psycopg.pq import TransactionStatus

from lakehouse.access.roles import Role, User
from lakehouse.access.users import check_password
from lakehouse.market.errors import LakehouseError

LIFETIME = dt.timedelta(hours=12)
MAX_FAILURES = 5
FAILURE_WINDOW = dt.timedelta(minutes=5)


class LoginFailed(LakehouseError):
    """Name or password is wrong; which of them is not said."""


class TooManyAttempts(LakehouseError):
    """This name failed too often from this address."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many failed logins: try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Session:
    """A session that has just begun; the token is known to nobody else."""

    token: str = field(repr=False)
    user: User
    expires_at: dt.datetime


def login(conn: Connection[Any], name: str, password: str, address: str) -> Session:
    """
    Begin a session.

    Raises:
        LoginFailed: if name or password is wrong.
        TooManyAttempts: after 5 failures in 5 minutes of this name from this address, whether there is such a user or
            not.
    """
    if conn.info.transaction_status != TransactionStatus.IDLE:
        raise RuntimeError("a login needs a connection outside a transaction: its failure must be kept")
    name = name.strip().lower()
    key = (_countable(name), address)
    _count_attempt(conn, key)
    user = check_password(conn, name, password)
    if user is None:
        raise LoginFailed("name or password is wrong")
    conn.execute("DELETE FROM lake.login_attempt WHERE name = %s AND address = %s", key)
    token, expires_at = _begin(conn, user, LIFETIME)
    return Session(token, user, expires_at)


def mint(conn: Connection[Any], user: User, lifetime: dt.timedelta) -> str:
    """Begin a session of *user* without a password, for the platform's own calls; return its token."""
    token, _ = _begin(conn, user, lifetime)
    return token


def resolve(conn: Connection[Any], token: str) -> User | None:
    """Return the user whose session *token* is, in the role of now; None when it expired, was revoked, or never was."""
    row = conn.execute(
        """
        SELECT user_id, name, role FROM lake.session JOIN lake.app_user USING (user_id)
        WHERE token_hash = %s AND revoked_at IS NULL AND expires_at > now() AND disabled_at IS NULL
        """,
        (_hashed(token),),
    ).fetchone()
    return User(row[0], row[1], Role(row[2])) if row else None


def logout(conn: Connection[Any], token: str) -> None:
    """End a session; ending it twice, or one that never was, is harmless."""
    conn.execute(
        "UPDATE lake.session SET revoked_at = now() WHERE token_hash = %s AND revoked_at IS NULL", (_hashed(token),)
    )


def _begin(conn: Connection[Any], user: User, lifetime: dt.timedelta) -> tuple[str, dt.datetime]:
    token = secrets.token_urlsafe(32)
    conn.execute("DELETE FROM lake.session WHERE expires_at < now()")
    row = conn.execute(
        "INSERT INTO lake.session (token_hash, user_id, expires_at) VALUES (%s, %s, now() + %s) RETURNING expires_at",
        (_hashed(token), user.user_id, lifetime),
    ).fetchone()
    if row is None:
        raise RuntimeError("INSERT ... RETURNING gave no row")
    return token, row[0]


def _count_attempt(conn: Connection[Any], key: tuple[str, str]) -> None:
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", ("login\n{}\n{}".format(*key),))
        conn.execute("DELETE FROM lake.login_attempt WHERE at < now() - %s", (FAILURE_WINDOW,))
        row = conn.execute(
            """
            SELECT count(*), extract(epoch FROM min(at) + %s - now())::float8 FROM (
                SELECT at FROM lake.login_attempt WHERE name = %s AND address = %s AND NOT ok
                ORDER BY at DESC LIMIT %s)
            """,
            (FAILURE_WINDOW, *key, MAX_FAILURES),
        ).fetchone()
        if row and row[0] >= MAX_FAILURES:
            raise TooManyAttempts(max(1, math.ceil(row[1])))
        conn.execute("INSERT INTO lake.login_attempt (name, address, ok) VALUES (%s, %s, false)", key)


def _countable(name: str) -> str:
    """Return *name* as attempts are counted: any text that the database takes, of bounded length."""
    return name[:64].replace("\0", "").encode("utf-8", "replace").decode()


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
