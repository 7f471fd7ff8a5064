"""Who asks: the user of a request, by the session cookie that pages and functions share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from psycopg import Connection
from psycopg_pool import ConnectionPool

from functions.requests import SESSION, cookie_of
from lakehouse.access import sessions
from lakehouse.access.roles import User

Pool = ConnectionPool[Connection[Any]]


class Asking(Protocol):
    """A request, as FastAPI has it or as Gradio hands it to a callback."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers by name."""

    @property
    def client(self) -> Any:
        """Who sent it, with ``host``, or None."""


def user_of(pool: Pool, request: Asking) -> User | None:
    """Return the user whose session the request carries; None without one, or when it is over."""
    token = cookie_of(request.headers, SESSION)
    if not token:
        return None
    with pool.connection() as conn:
        return sessions.resolve(conn, token)


def address_of(request: Asking) -> str:
    """Return the address the request came from, empty where the server does not know it."""
    return request.client.host if request.client else ""
