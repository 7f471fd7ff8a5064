"""Reading a request: who asks, from where, and its parameters and body, each checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any
from unicodedata import category
from urllib.parse import unquote

from chalice.app import Request
from psycopg import Connection
from pydantic import BaseModel, ValidationError

from functions.answers import document
from lakehouse.access import audit, tokens
from lakehouse.access.roles import NotAllowed, NotLoggedIn, Role, User, require, require_session
from lakehouse.access.sessions import Session
from lakehouse.access.throttle import PLACE_LIFETIME
from lakehouse.logs import asked_by
from lakehouse.market.errors import BadInput
from lakehouse.market.faults import told

SESSION, DEVICE = "lakehouse_session", "lakehouse_device"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_PARAMETER_CHARACTERS = 1_000
# Where the next page begins. Left out for being empty it would bring the first page again, and no script would notice
_CONTINUING = frozenset({"token", "before"})


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


def user_with(
    conn: Connection[Any], request: Request, role: Role, action: str = "", *, by_session: bool = False
) -> User:
    """
    Return who asks, with at least *role*; what is refused of an *action* is put on the audit record.

    Args:
        by_session: Refuse an API token.

    Raises:
        NotLoggedIn, NotAllowed: see access/roles.py.
    """
    user = tokens.asker(conn, bearer_of(request), cookie_of(request.headers, SESSION))
    asked_by(user.name if user else "")
    try:
        if user and user.is_read_only and request.method not in _READING:
            raise NotAllowed(f"{user.via} of {user.name} may only read: {request.method} needs another one")
        found = require(user, role)
        return require_session(found) if by_session else found
    except (NotAllowed, NotLoggedIn):
        if action:
            audit.record_refused(conn, user, action, address_of(request))
        raise


def address_of(request: Request) -> str:
    """Return the address the request came from."""
    # Of the gateway, ours or Amazon's: a header of the client would get around the throttle
    return str(request.context.get("identity", {}).get("sourceIp", ""))


def read_parameters(request: Request, model: type[BaseModel] | None) -> Any:
    """Return the parameters of a request; raise BadInput for one that is none: one misspelt would change the answer."""
    names = fields_of(model) if model else ()
    texts: dict[str, str] = {}
    for name in request.query_params or {}:
        if name not in names:
            known = f"the parameters are {', '.join(names)}" if names else "this path takes none"
            raise BadInput(f"there is no parameter {_shown(name)}: {known}")
        if text := _text(request, name):
            texts[name] = text
        elif name in _CONTINUING:
            raise BadInput(
                f"the parameter {name} is empty: the page that gave none was the last one; leave it out for the first"
            )
    return _valid(model, texts) if model else None


def read_body(request: Request, model: type[Any] | None) -> Any:
    """
    Return the body of a request as *model*: bytes, a dict, or a model of Pydantic; None takes no body but ``{}``.

    Raises:
        BadInput: if it is none.
    """
    raw = request.raw_body
    if model is bytes:
        return raw.encode() if isinstance(raw, str) else raw
    found = document(raw)
    if model is None and found:
        raise BadInput("this takes no body: leave it out, or send {}")
    if model is None or model is dict:
        return found
    return model.parse(found) if hasattr(model, "parse") else _valid(model, found)


def fields_of(model: type[BaseModel]) -> Sequence[str]:
    """Return the names of a model's fields as requests write them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _valid(model: type[BaseModel], found: dict[str, Any]) -> BaseModel:
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise BadInput(told(error, fields_of(model))) from None


def _text(request: Request, name: str) -> str:
    parameters = request.query_params
    found = parameters.getlist(name) if parameters else []
    if len(found) > 1:
        raise BadInput(f"the parameter {name} is given {len(found)} times")
    text = str(found[0])
    if len(text) > MAX_PARAMETER_CHARACTERS:
        raise BadInput(f"the parameter {name} is longer than {MAX_PARAMETER_CHARACTERS:,} characters")
    if any(category(character) in ("Cc", "Cs") for character in text):
        raise BadInput(f"the parameter {name} holds characters that cannot be printed: {_shown(text)}")
    return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


def shown_path(part: str) -> str:
    """Return a part of the path for a message: gateways differ in what they leave percent-encoded."""
    return repr(unquote(part))[1:-1][:40]
