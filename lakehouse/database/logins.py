"""Who may log in to PostgreSQL besides the owner: members of the app's role, and of the readers'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg import Connection, sql

WEB_LOGIN = "lakehouse_web"
READER_LOGIN = "lakehouse_reader"
_READERS = 20  # connections of the one login; the others' are for the platform
# What each is a member of, and all it may do; the migrations make those roles
ROLE_BY_LOGIN = {WEB_LOGIN: "lakehouse_app", READER_LOGIN: "lakehouse_read"}


def set_logins(conn: Connection[Any], password_by_login: Mapping[str, str]) -> None:
    """
    Make the logins of `ROLE_BY_LOGIN` that are named, or give those that are there the passwords given here.

    The server gets the passwords hashed, so none stands in its log. Readers get few connections, and statements that
    end by themselves unless they ask for more time; what their sorts put on disk only a superuser can bound.
    """
    with conn.transaction():
        for login, password in password_by_login.items():
            role, name = sql.Identifier(ROLE_BY_LOGIN[login]), sql.Identifier(login)
            found = conn.execute("SELECT FROM pg_roles WHERE rolname = %s", (login,)).fetchone()
            if found is None:
                conn.execute(sql.SQL("CREATE ROLE {} IN ROLE {}").format(name, role))
            hashed = conn.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()
            conn.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(hashed)))
            if login == READER_LOGIN:
                _bound(conn, name)


def _bound(conn: Connection[Any], name: sql.Identifier) -> None:
    conn.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(name, sql.Literal(_READERS)))
    conn.execute(sql.SQL("ALTER ROLE {} SET statement_timeout = '10min'").format(name))
    if conn.info.parameter_status("is_superuser") == "on":
        conn.execute(sql.SQL("ALTER ROLE {} SET temp_file_limit = '4GB'").format(name))
