"""Connections: UTC, a role, and for web processes a pool."""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from psycopg import Connection, sql
from psycopg_pool import ConnectionPool

from lakehouse.database.watching import WatchedConnection

# Who waits at a page or a program is told sooner than a worker
_SILENT_S = 3.0

Role = Literal["lakehouse_owner", "lakehouse_app", "lakehouse_read"]


def connect(dsn: str, role: Role | None = None, autocommit: bool = True) -> Connection[Any]:
    """
    Open a connection that speaks UTC and acts as *role*.

    Keepalives notice a machine that went away, and a server that is frozen is taken for away (watching.py).
    """
    conn = WatchedConnection.connect(
        dsn, autocommit=True, connect_timeout=10, keepalives_idle=30, application_name="lakehouse"
    )
    conn.server = dsn
    _configure(conn, role)
    conn.autocommit = autocommit
    return conn


@contextmanager
def one_moment(conn: Connection[Any]) -> Iterator[None]:
    """
    Let all that is read in the block be of one moment, that of its first statement; nothing can be written.

    What several statements tell must not contradict itself.
    """
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def pool(
    dsn: str, role: Role | None = None, min_size: int = 1, max_size: int = 10, statement_s: float = 0
) -> ConnectionPool[Connection[Any]]:
    """
    Open a pool of such connections; each is checked before it is lent, so a restarted server is survived.

    A statement that takes longer than *statement_s* seconds is ended (0: none is). While the server is away whoever
    wants a connection gets psycopg_pool.PoolTimeout.
    """

    def configure(conn: Connection[Any]) -> None:
        if isinstance(conn, WatchedConnection):
            conn.server, conn.silent_s = dsn, _SILENT_S
        _configure(conn, role, statement_s)

    return ConnectionPool(
        dsn,
        min_size=min_size,
        max_size=max_size,
        connection_class=WatchedConnection,
        kwargs={"autocommit": True, "connect_timeout": 10, "application_name": "lakehouse"},
        configure=configure,
        check=_check,
        timeout=5,
        reconnect_timeout=5,  # the pool looks for the server ever more seldom; it gives up soon, and is asked anew
        open=True,
    )


def _check(conn: Connection[Any]) -> None:
    """
    Raise OperationalError if the server went away.

    A server that ends closes its connections: one that lies idle has something to read only then, or when the server
    tells it something. Only what has something to read is asked, which saves every call a question.
    """
    waiting = select.poll()
    waiting.register(conn.fileno(), select.POLLIN)
    if waiting.poll(0):
        ConnectionPool.check_connection(conn)


def _configure(conn: Connection[Any], role: Role | None, statement_s: float = 0) -> None:
    conn.execute("SET TIME ZONE 'UTC'")
    if statement_s:
        conn.execute("SELECT set_config('statement_timeout', %s, false)", (f"{round(statement_s * 1000)}ms",))
    if role:
        conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
