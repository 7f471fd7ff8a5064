"""Reading a request: who asks, from where, and its parameters, each checked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any

from chalice.app import Request
from psycopg import Connection

from lakehouse.access import audit, sessions
from lakehouse.access.roles import NotAllowed, NotLoggedIn, Role, require
from lakehouse.access.users import User
from lakehouse.market.errors import BadInput

COOKIE = "lakehouse_session"


def token_of(request: Request) -> str:
    """Return the session's token, from the header ``Authorization: Bearer`` or the cookie; empty without one."""
    kind, _, token = str(request.headers.get("authorization", "")).partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    try:
        cookie = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def user_with(conn: Connection[Any], request: Request, role: Role, action: str = "") -> User:
    """
    Return who asks, with at least *role*; what is refused of an *action* is put on the audit record.

    Raises:
        NotLoggedIn, NotAllowed: see access/roles.py.
    """
    token = token_of(request)
    user = sessions.resolve(conn, token) if token else None
    try:
        return require(user, role)
    except (NotAllowed, NotLoggedIn):
        if action:
            audit.record(conn, user, action, "", {}, "refused", address_of(request))
        raise


def address_of(request: Request) -> str:
    """Return the address the request came from."""
    source: dict[str, Any] = request.context.get("identity", {})
    return str(request.headers.get("x-lakehouse-address") or source.get("sourceIp", ""))


def text_of(request: Request, name: str, default: str | None = None) -> str:
    """Return the parameter *name*; raise BadInput when it is missing and has no default."""
    parameters: dict[str, str] = dict(request.query_params or {})
    found = parameters.get(name)
    if found is None or found == "":
        if default is None:
            raise BadInput(f"the parameter {name} is missing")
        return default
    return str(found)


def choice_of(request: Request, name: str, choices: Sequence[str]) -> str:
    """Return the parameter *name*, one of *choices*, the first by default."""
    found = text_of(request, name, choices[0])
    if found not in choices:
        raise BadInput(f"{name} {found!r} is not one of {', '.join(choices)}")
    return found


def date_of(request: Request, name: str) -> dt.date | None:
    """Return the Moscow date in the parameter *name*, None without it."""
    found = text_of(request, name, "")
    if not found:
        return None
    try:
        return dt.date.fromisoformat(found)
    except ValueError:
        raise BadInput(f"{name} {found!r} is not a date: write YYYY-MM-DD") from None


def integer_of(request: Request, name: str, default: int, least: int, most: int) -> int:
    """Return the whole number in the parameter *name*, within its bounds."""
    found = text_of(request, name, str(default))
    if not found.isascii() or not found.isdigit() or not least <= int(found) <= most:
        raise BadInput(f"{name} {found!r} is not a whole number from {least} to {most}")
    return int(found)
