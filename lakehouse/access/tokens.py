"""
API tokens: for programs, which have no browser and keep no password.

``lh_`` and 32 random bytes; the prefix lets scanners of repositories and logs find one that leaked. Shown once, the
database holds the SHA-256.
"""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from lakehouse.access import sessions
from lakehouse.access.hashing import token_hash
from lakehouse.access.roles import NoSuch, Role, User
from lakehouse.market.errors import BadInput

PREFIX = "lh_"
DAYS, MAX_DAYS = 90, 365
MAX_TOKENS = 50  # of a user
_NOTED = dt.timedelta(minutes=1)  # a token's use is written down no more often
_COLUMNS = "token_id, u.name, t.name, t.role, u.role, is_read_only, t.created_at, expires_at, used_at"
_IS_LIVE = "revoked_at IS NULL AND expires_at > now() AND disabled_at IS NULL"


@dataclass(frozen=True)
class Token:
    """
    A token as its owner and admins see it.

    Attributes:
        role: What it may do now: its own role, or its owner's if that is less.
    """

    token_id: int
    user: str
    name: str
    role: Role
    is_read_only: bool
    created_at: dt.datetime
    expires_at: dt.datetime
    used_at: dt.datetime | None

    @property
    def target(self) -> str:
        """What the audit record calls it."""
        return f"{self.name} of {self.user}"

    @property
    def detail(self) -> dict[str, Any]:
        """What the audit record says of it."""
        is_read_only = {"is_read_only": True} if self.is_read_only else {}
        return {"token_id": self.token_id, "role": str(self.role), **is_read_only, "expires": f"{self.expires_at:%F}"}


@dataclass(frozen=True)
class NewToken:
    """A token that was just made; its text is known to nobody else."""

    text: str = field(repr=False)
    info: Token


def make_token(
    conn: Connection[Any],
    user: User,
    name: str,
    *,
    role: Role | None = None,
    days: int = DAYS,
    read_only: bool = False,
) -> NewToken:
    """
    Make a token for *user*, with at most the user's role, which it has by default.

    Raises BadInput for a name that is in use or cannot be, a role above the user's, or days beyond 1 to 365.
    """
    name, role = _parsed_name(name), role or user.role
    if role > user.role:
        raise BadInput(f"a token for {user.name} can be {user.role} at most, not {role}")
    if not 1 <= days <= MAX_DAYS:
        raise BadInput(f"a token lives 1 to {MAX_DAYS} days, not {days}")
    text = PREFIX + secrets.token_urlsafe(32)
    with conn.transaction():
        # The owner's row is locked: nobody removes them, nor makes another token for them, meanwhile
        owner = "SELECT user_id FROM lake.app_user WHERE user_id = %s AND disabled_at IS NULL FOR NO KEY UPDATE"
        if conn.execute(owner, (user.user_id,)).fetchone() is None:
            raise NoSuch(f"there is no user {user.name}")
        conn.execute("DELETE FROM lake.api_token WHERE user_id = %s AND expires_at < now()", (user.user_id,))
        live = [token.name for token in list_tokens(conn, user.name)]
        if name in live:
            raise BadInput(f"{user.name} has a token {name!r} already: choose another name, or revoke that one")
        if len(live) >= MAX_TOKENS:
            raise BadInput(f"{user.name} has {len(live)} tokens already: revoke one first")
        row = conn.execute(
            """
            INSERT INTO lake.api_token (token_hash, user_id, name, role, is_read_only, expires_at)
            VALUES (%s, %s, %s, %s, %s, now() + %s) RETURNING token_id
            """,
            (token_hash(text), user.user_id, name, role.value, read_only, dt.timedelta(days=days)),
        ).fetchone()
        made = next(token for token in list_tokens(conn, user.name) if row and token.token_id == row[0])
    return NewToken(text, made)


def resolve(conn: Connection[Any], text: str) -> User | None:
    """Return whom a token asks for, in the lesser of its role and theirs; None when it is over, or never was."""
    row = conn.execute(
        f"""
        SELECT token_id, user_id, u.name, t.name, t.role, u.role, is_read_only,
            used_at IS NULL OR used_at < now() - %s
        FROM lake.api_token t JOIN lake.app_user u USING (user_id) WHERE token_hash = %s AND {_IS_LIVE}
        """,  # noqa: S608
        (_NOTED, token_hash(text)),
    ).fetchone()
    if row is None:
        return None
    if row[7]:
        # Whoever writes it down at the same moment does it for us
        conn.execute(
            """
            UPDATE lake.api_token SET used_at = now() WHERE token_id IN (
                SELECT token_id FROM lake.api_token WHERE token_id = %s FOR UPDATE SKIP LOCKED)
            """,
            (row[0],),
        )
    return User(row[1], row[2], min(Role(row[4]), Role(row[5])), f"token {row[3]}", row[6])


def asker(conn: Connection[Any], bearer: str, cookie: str) -> User | None:
    """Return whose API token or session a request carries; a token is believed as Bearer alone, no page can send it."""
    if bearer.startswith(PREFIX):
        return resolve(conn, bearer)
    return sessions.resolve(conn, bearer or cookie) if bearer or cookie else None


def list_tokens(conn: Connection[Any], user_name: str | None = None) -> list[Token]:
    """Return the tokens that are good, of one user or of all, the newest first."""
    rows = conn.execute(
        f"""
        SELECT {_COLUMNS} FROM lake.api_token t JOIN lake.app_user u USING (user_id)
        WHERE {_IS_LIVE} AND (%(name)s::text IS NULL OR u.name = %(name)s) ORDER BY token_id DESC
        """,  # noqa: S608
        {"name": user_name},
    )
    return [_token(row) for row in rows]


def revoke_token(conn: Connection[Any], token_id: int, user_name: str | None = None) -> Token:
    """
    End a token, if *user_name* is given only one of that user; return what it was.

    Raises NoSuch when there is none.
    """
    row = conn.execute(
        f"""
        UPDATE lake.api_token t SET revoked_at = now() FROM lake.app_user u
        WHERE t.user_id = u.user_id AND token_id = %(id)s AND {_IS_LIVE}
            AND (%(name)s::text IS NULL OR u.name = %(name)s)
        RETURNING {_COLUMNS}
        """,  # noqa: S608
        {"id": token_id, "name": user_name},
    ).fetchone()
    if row is None:
        raise NoSuch(f"there is no token {token_id}: it may be over already")
    return _token(row)


def _token(row: TupleRow) -> Token:
    token_id, user, name, role, owners, *rest = row
    return Token(token_id, user, name, min(Role(role), Role(owners)), *rest)


def _parsed_name(text: str) -> str:
    name = text.strip()
    if not 1 <= len(name) <= 60 or not name.isprintable():
        raise BadInput("a token's name is 1 to 60 characters that can be printed: say where it is used")
    return name
