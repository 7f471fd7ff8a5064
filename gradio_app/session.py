"""Who asks: the user of a request, by the session cookie that pages and functions share."""

from __future__ import annotations

from typing import Any

import gradio as gr
from fastapi import Request
from psycopg import Connection
from psycopg_pool import ConnectionPool

from lakehouse.access import audit, roles, sessions
from lakehouse.access.roles import Role
from lakehouse.access.users import User

COOKIE = "lakehouse_session"

Pool = ConnectionPool[Connection[Any]]


def user_of(pool: Pool, request: Request | gr.Request) -> User | None:
    """Return the user whose session the request carries; None without one, or when it is over."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    with pool.connection() as conn:
        return sessions.resolve(conn, token)


def address_of(request: Request | gr.Request) -> str:
    """Return the address the request came from, empty where the server does not know it."""
    return request.client.host if request.client else ""


def require(pool: Pool, request: gr.Request, role: Role, action: str) -> User:
    """
    Return the user of a page's callback, who has at least *role*; what is refused is put on the audit record.

    Every callback calls this: what a page hides is no control. The session is read anew, so a session that was
    revoked, or a role that was taken away, counts at once.
    """
    user = user_of(pool, request)
    try:
        return roles.require(user, role)
    except (roles.NotAllowed, roles.NotLoggedIn) as error:
        with pool.connection() as conn:
            audit.record(conn, user, action, "", {}, "refused", address_of(request))
        raise gr.Error(str(error), print_exception=False) from error
