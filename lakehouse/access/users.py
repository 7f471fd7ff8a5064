"""Users, their roles and their passwords (Argon2id)."""

from __future__ import annotations

import re
import secrets
from typing import Any

from argon2 import PasswordHasher, Type
from argon2.exceptions import VerifyMismatchError
from psycopg import Connection

from lakehouse.access.roles import Role, User
from lakehouse.market.errors import BadInput

FIRST_ADMIN = "admin"
MIN_PASSWORD, MAX_PASSWORD = 10, 1000  # characters
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}", re.ASCII)
_LOCK = 7_305_148_222  # any number: one process at a time makes the first admin or takes one away

# RFC 9106, section 4, second choice: 64 MiB and some 50 ms a try
_HASHER = PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4, hash_len=32, salt_len=16, type=Type.ID)
# What nobody's password has: checking it costs a stranger's login as much time as a user's
_NO_HASH = f"$argon2id$v=19$m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}${'A' * 22}${'A' * 43}"


def create_user(conn: Connection[Any], name: str, password: str, role: Role | str) -> User:
    """
    Make a user; a removed one of this name comes back with the new password and role.

    Names are kept in lower case. Raises BadInput for a name, password or role that cannot be, and for a name in use.
    """
    name, password_hash, role = _parsed_name(name), _hashed(password), _parsed_role(role)
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


def set_password(conn: Connection[Any], name: str, password: str) -> None:
    """Give a user a new password and end all their sessions; raise BadInput when there is no such user."""
    name, password_hash = _folded(name), _hashed(password)
    with conn.transaction():
        row = conn.execute(
            "UPDATE lake.app_user SET password_hash = %s WHERE name = %s AND disabled_at IS NULL RETURNING user_id",
            (password_hash, name),
        ).fetchone()
        _end_sessions(conn, name, row)


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
            raise BadInput(f"there is no user {name}")


def remove_user(conn: Connection[Any], name: str) -> None:
    """End a user's sessions and let them log in no more; raise BadInput when it would leave no admin."""
    name = _folded(name)
    with conn.transaction():
        _refuse_last_admin(conn, name)
        row = conn.execute(
            "UPDATE lake.app_user SET disabled_at = now() WHERE name = %s AND disabled_at IS NULL RETURNING user_id",
            (name,),
        ).fetchone()
        _end_sessions(conn, name, row)


def list_users(conn: Connection[Any]) -> list[User]:
    """Return all users who can log in, by name."""
    rows = conn.execute("SELECT user_id, name, role FROM lake.app_user WHERE disabled_at IS NULL ORDER BY name")
    return [User(user_id, name, Role(role)) for user_id, name, role in rows]


def ensure_admin(conn: Connection[Any]) -> str | None:
    """Make the user ``admin`` unless there is an admin; return the password if it was made now, to be shown once."""
    with conn.transaction():
        if _admins(conn):
            return None
        password = secrets.token_urlsafe(15)
        create_user(conn, FIRST_ADMIN, password, Role.ADMIN)
    return password


def check_password(conn: Connection[Any], name: str, password: str) -> User | None:
    """Return the user whose name and password these are, else None; it takes the same time in any case."""
    row = None
    name = _folded(name)
    if _NAME.fullmatch(name):
        row = conn.execute(
            "SELECT user_id, name, role, password_hash FROM lake.app_user WHERE name = %s AND disabled_at IS NULL",
            (name,),
        ).fetchone()
    try:
        _HASHER.verify(row[3] if row else _NO_HASH, password[: MAX_PASSWORD + 1].encode("utf-8", "replace"))
    except VerifyMismatchError:
        return None
    return User(row[0], row[1], Role(row[2])) if row else None


def _hashed(password: str) -> str:
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise BadInput(
            f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters, this one has {len(password)}: choose another"
        )
    return _HASHER.hash(password.encode("utf-8", "replace"))


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


def _end_sessions(conn: Connection[Any], name: str, row: tuple[int] | None) -> None:
    if row is None:
        raise BadInput(f"there is no user {name}")
    conn.execute("UPDATE lake.session SET revoked_at = now() WHERE user_id = %s AND revoked_at IS NULL", row)
