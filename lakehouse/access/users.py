"""Users, their roles and their passwords."""

from __future__ import annotations

import re
import secrets
from typing import Any

from psycopg import Connection

from lakehouse.access import audit
from lakehouse.access.hashing import fits, hashed
from lakehouse.access.roles import NoSuch, Role, User
from lakehouse.market.errors import BadInput

FIRST_ADMIN = "admin"
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}", re.ASCII)
_LOCK = 7_305_148_222  # any number: one process at a time makes the first admin or takes one away


def create_user(conn: Connection[Any], name: str, password: str, role: Role | str) -> User:
    """
    Make a user; a removed one of this name comes back with the new password and role.

    Names are kept in lower case. Raises BadInput for a name, password or role that cannot be, and for a name in use.
    """
    name, password_hash, role = _parsed_name(name), hashed(password), _parsed_role(role)
    row = conn.execute(
        """
        INSERT INTO lake.app_user AS u (name, password_hash, role) VALUES (%s, %s, %s)
        ON CONFLICT (name) DO UPDATE
            SET password_hash = excluded.password_hash, role = excluded.role, created_at = now(), disabled_at = NULL
            WHERE u.disabled_at IS NOT NULL
        RETURNING user_id
        """,
        (name, password_hash, role.value),
    ).fetchone()
    if row is None:
        raise BadInput(f"there is a user {name} already: choose another name, or set that one's password or role")
    return User(row[0], name, role)


def set_password(conn: Connection[Any], name: str, password: str, keep: bytes = b"") -> None:
    """
    Give a user a new password; raise NoSuch when there is no such user.

    All their sessions end but the one whose token has the hash *keep*, and no browser or network is known as theirs.
    API tokens stay.
    """
    name, password_hash = _folded(name), hashed(password)
    with conn.transaction():
        row = conn.execute(
            "UPDATE lake.app_user SET password_hash = %s WHERE name = %s AND disabled_at IS NULL RETURNING user_id",
            (password_hash, name),
        ).fetchone()
        _end_sessions(conn, name, row, keep)


def set_role(conn: Connection[Any], name: str, role: Role | str) -> None:
    """Give a user another role, which counts at once; raise BadInput when it would leave no admin."""
    name, role = _folded(name), _parsed_role(role)
    with conn.transaction():
        if role != Role.ADMIN:
            _refuse_last_admin(conn, name)
        row = conn.execute(
            "UPDATE lake.app_user SET role = %s WHERE name = %s AND disabled_at IS NULL RETURNING user_id",
            (role.value, name),
        ).fetchone()
        if row is None:
            raise NoSuch(f"there is no user {name}")


def remove_user(conn: Connection[Any], name: str) -> None:
    """End a user's sessions and tokens, and let them log in no more; raise BadInput when it would leave no admin."""
    name = _folded(name)
    with conn.transaction():
        _refuse_last_admin(conn, name)
        row = conn.execute(
            "UPDATE lake.app_user SET disabled_at = now() WHERE name = %s AND disabled_at IS NULL RETURNING user_id",
            (name,),
        ).fetchone()
        _end_sessions(conn, name, row)
        conn.execute("DELETE FROM lake.api_token WHERE user_id = %s", row)


def list_users(conn: Connection[Any]) -> list[User]:
    """Return all users who can log in, by name."""
    rows = conn.execute("SELECT user_id, name, role FROM lake.app_user WHERE disabled_at IS NULL ORDER BY name")
    return [User(user_id, name, Role(role)) for user_id, name, role in rows]


def user_named(conn: Connection[Any], name: str) -> User:
    """Return the user of a name; raise NoSuch when there is none."""
    for user in list_users(conn):
        if user.name == _folded(name):
            return user
    raise NoSuch(f"there is no user {name!r}")


def ensure_admin(conn: Connection[Any]) -> str | None:
    """Make the user ``admin`` unless there is an admin; return the password if it was made now, to be shown once."""
    with conn.transaction():
        if _admins(conn):
            return None
        password = secrets.token_urlsafe(15)
        create_user(conn, FIRST_ADMIN, password, Role.ADMIN)
        audit.record(conn, "first start", "add user", FIRST_ADMIN, {"role": str(Role.ADMIN)}, "done")
    return password


def check_password(
    conn: Connection[Any], name: str, password: str, *, is_known: bool = False
) -> tuple[User, str] | None:
    """Return the user whose name and password these are, with the hash that fitted, else None, in the same time."""
    row = None
    name = _folded(name)
    if _NAME.fullmatch(name):
        row = conn.execute(
            "SELECT user_id, name, role, password_hash FROM lake.app_user WHERE name = %s AND disabled_at IS NULL",
            (name,),
        ).fetchone()
    if not fits(password, row[3] if row else None, is_known=is_known) or row is None:
        return None
    return User(row[0], row[1], Role(row[2])), row[3]


def _parsed_name(text: str) -> str:
    name = _folded(text)
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"a user's name is 1 to 64 of a-z, 0-9 and . _ @ -, beginning with a letter or digit; was {text!r}"
        )
    return name


def _folded(name: str) -> str:
    return name.strip().lower()


def _parsed_role(role: Role | str) -> Role:
    try:
        return Role(role)
    except ValueError:
        raise BadInput(f"there is no role {role}: choose {', '.join(map(str, Role))}") from None


def _admins(conn: Connection[Any]) -> list[str]:
    """Return the names of all admins, which nobody else makes fewer before the transaction ends."""
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    rows = conn.execute("SELECT name FROM lake.app_user WHERE role = 'admin' AND disabled_at IS NULL")
    return [name for (name,) in rows]


def _refuse_last_admin(conn: Connection[Any], name: str) -> None:
    if _admins(conn) == [name]:
        raise BadInput(f"{name} is the last admin: make another one first")


def _end_sessions(conn: Connection[Any], name: str, row: tuple[int] | None, keep: bytes = b"") -> None:
    if row is None:
        raise NoSuch(f"there is no user {name}")
    conn.execute(
        "UPDATE lake.session SET revoked_at = now() WHERE user_id = %s AND token_hash <> %s AND revoked_at IS NULL",
        (*row, keep),
    )
    conn.execute("DELETE FROM lake.login_place WHERE user_id = %s", row)
