"""Reading a request: who asks, from where, and its parameters, each checked."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any
from unicodedata import category
from urllib.parse import unquote

from chalice.app import Request
from psycopg import Connection

from lakehouse.access import audit, sessions, tokens
from lakehouse.access.roles import NotAllowed, NotLoggedIn, Role, User, require
from lakehouse.access.sessions import Session
from lakehouse.access.throttle import PLACE_LIFETIME
from lakehouse.logs import asked_by
from lakehouse.market.errors import BadInput

SESSION, DEVICE = "lakehouse_session", "lakehouse_device"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_PARAMETER_CHARACTERS = 1_000
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def token_of(request: Request) -> str:
    """Return the session's token, from the header ``Authorization: Bearer`` or the cookie; empty without one."""
    return bearer_of(request) or cookie_of(request.headers, SESSION)


def cookie_of(headers: Mapping[str, str], name: str) -> str:
    """Return what a cookie of ours holds, SESSION or DEVICE; empty without it."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(cookie_name(headers, name))
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def cookie_name(headers: Mapping[str, str], name: str) -> str:
    """Return how a cookie is called: behind TLS a browser takes one with the prefix from this very host alone."""
    return f"__Host-{name}" if is_secure(headers) else name


def is_secure(headers: Mapping[str, str]) -> bool:
    """Return whether the request came by TLS: the gateway says so, ours (proxy.py) or Amazon's."""
    return headers.get("x-forwarded-proto") == "https"


def set_cookie(headers: Mapping[str, str], name: str, value: str, max_age_s: int | None = None) -> str:
    """Return the header Set-Cookie for a cookie of ours; without *max_age_s* it goes when the browser closes."""
    age = "" if max_age_s is None else f"; Max-Age={max_age_s}"
    secure = "; Secure" if is_secure(headers) else ""
    return f"{cookie_name(headers, name)}={value}; Path=/{age}{secure}; HttpOnly; SameSite=Lax"


def login_cookies(headers: Mapping[str, str], session: Session) -> list[str]:
    """Return the headers Set-Cookie of a login: the session, and by what a new browser is known at the next one."""
    cookies = [set_cookie(headers, SESSION, session.token)]
    if session.device:
        cookies.append(set_cookie(headers, DEVICE, session.device, int(PLACE_LIFETIME.total_seconds())))
    return cookies


def bearer_of(request: Request) -> str:
    """Return the token in the header ``Authorization: Bearer``; empty without one."""
    kind, _, token = str(request.headers.get("authorization", "")).partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def user_with(conn: Connection[Any], request: Request, role: Role, action: str = "") -> User:
    """
    Return who asks, with at least *role*; what is refused of an *action* is put on the audit record.

    Raises:
        NotLoggedIn, NotAllowed: see access/roles.py.
    """
    user = _user_of(conn, request)
    asked_by(user.name if user else "")
    try:
        if user and user.is_read_only and request.method not in _READING:
            raise NotAllowed(f"{user.via} of {user.name} may only read: {request.method} needs another one")
        return require(user, role)
    except (NotAllowed, NotLoggedIn):
        if action:
            audit.record(conn, user, action, "", {}, "refused", address_of(request))
        raise


def _user_of(conn: Connection[Any], request: Request) -> User | None:
    """Return whose session or API token the request carries; a token is believed as Bearer alone."""
    bearer = bearer_of(request)
    if bearer.startswith(tokens.PREFIX):
        return tokens.resolve(conn, bearer)
    token = token_of(request)
    return sessions.resolve(conn, token) if token else None


def address_of(request: Request) -> str:
    """Return the address the request came from."""
    # Of the gateway, ours or Amazon's: a header of the client would get around the throttle
    return str(request.context.get("identity", {}).get("sourceIp", ""))


def no_others(request: Request, *names: str) -> None:
    """Raise BadInput when a request has a parameter that is none of *names*: one misspelt would change the answer."""
    for name in request.query_params or {}:
        if name not in names:
            known = f"the parameters are {', '.join(names)}" if names else "this path takes none"
            raise BadInput(f"there is no parameter {_shown(name)}: {known}")


def text_of(request: Request, name: str, default: str | None = None) -> str:
    """Return the parameter *name*; raise BadInput when it is missing and has no default, or can be no parameter."""
    parameters = request.query_params
    found = parameters.getlist(name) if parameters and name in parameters else []
    if len(found) > 1:
        raise BadInput(f"the parameter {name} is given {len(found)} times")
    if not found or found[0] == "":
        if default is None:
            raise BadInput(f"the parameter {name} is missing")
        return default
    text = str(found[0])
    if len(text) > MAX_PARAMETER_CHARACTERS:
        raise BadInput(f"the parameter {name} is longer than {MAX_PARAMETER_CHARACTERS:,} characters")
    if any(category(character) in ("Cc", "Cs") for character in text):
        raise BadInput(f"the parameter {name} holds characters that cannot be printed: {_shown(text)}")
    return text


def is_text(text: str) -> bool:
    """Return whether the database can hold *text*: JSON has ways to write NUL and halves of surrogate pairs."""
    return "\0" not in text and not any(category(character) == "Cs" for character in text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


def shown_path(part: str) -> str:
    """Return a part of the path for a message: gateways differ in what they leave percent-encoded."""
    return repr(unquote(part))[1:-1][:40]


def choice_of(request: Request, name: str, choices: Sequence[str]) -> str:
    """Return the parameter *name*, one of *choices*, the first by default."""
    found = text_of(request, name, choices[0])
    if found not in choices:
        raise BadInput(f"{name} {_shown(found)} is not one of {', '.join(choices)}")
    return found


def date_of(request: Request, name: str) -> dt.date | None:
    """Return the Moscow date in the parameter *name*, None without it."""
    found = text_of(request, name, "")
    if not found:
        return None
    if not _DATE.fullmatch(found):
        raise BadInput(f"{name} {_shown(found)} is not a date: write YYYY-MM-DD")
    try:
        return dt.date.fromisoformat(found)
    except ValueError:
        raise BadInput(f"{name}: there is no day {found}") from None


def integer_of(request: Request, name: str, default: int, least: int, most: int) -> int:
    """Return the whole number in the parameter *name*, within its bounds."""
    found = text_of(request, name, str(default))
    if not found.isascii() or not found.isdigit() or len(found) > 18 or not least <= int(found) <= most:
        raise BadInput(f"{name} {_shown(found)} is not a whole number from {least} to {most}")
    return int(found)
