"""Logging in and out, and whether the platform is there."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

import psycopg
from chalice.app import Response
from pydantic import Field

from functions import context
from functions.answers import answer
from functions.models import Answered, Body
from functions.operation import Call, operation
from functions.requests import DEVICE, SESSION, cookie_of, login_cookies, set_cookie, token_of
from lakehouse.access import sessions
from lakehouse.access.roles import Role
from lakehouse.database.outage import why_away
from lakehouse.serving import queries


class Login(Body):
    user: Annotated[str, Field(examples=["admin"])]
    password: str


class LoggedIn(Answered):
    user: str
    role: Literal["viewer", "analyst", "admin"]
    token: Annotated[str, Field(description="For the header `Authorization: Bearer`; the cookie holds the same")]
    expires_at: dt.datetime


class Nothing(Answered):
    pass


class Healthy(Answered):
    status: Literal["ok"]
    source: Annotated[str, Field(description="exchange, recorded or simulator")]
    data_version: int


class Degraded(Answered):
    status: Literal["degraded"]
    code: str
    detail: str


@operation(None, "read the platform's health", answers={200: Healthy, 503: Degraded}, holds_connection=False)
def health(call: Call) -> object:
    """Return whether the platform answers, and which version of the data it shows."""
    try:
        with context.api_pool().connection(timeout=2) as conn:
            publication = queries.publication(conn)
    except psycopg.OperationalError as error:
        why = why_away(context.dsn()) or str(error)
        return answer({"status": "degraded", "code": "unavailable", "detail": f"the database is away: {why}"}, 503)
    return {"status": "ok", "source": context.settings().source, "data_version": publication.data_version}


@operation(
    None,
    "log in",
    action="login",
    is_atomic=False,
    body=Login,
    body_bytes=16 << 10,
    answers={200: LoggedIn},
    refuses={401: "name or password is wrong", 429: "too many failed logins"},
)
def login(call: Call) -> Response:
    """Begin a session: its token is the answer's, and a cookie's."""
    headers = call.request.headers
    place = {"device": cookie_of(headers, DEVICE), "program": headers.get("user-agent", "")}
    session = sessions.login(call.conn, call.body.user, call.body.password, call.address, **place)
    return answer(
        {
            "user": session.user.name,
            "role": str(session.user.role),
            "token": session.token,
            "expires_at": session.expires_at,
        },
        headers={"Set-Cookie": login_cookies(headers, session), "Cache-Control": "no-store"},
    )


@operation(Role.VIEWER, "log out", action="logout", by_session=True, answers={200: Nothing})
def logout(call: Call) -> Response:
    """End the session that the request carries."""
    sessions.logout(call.conn, token_of(call.request), call.address)
    return answer({}, headers={"Set-Cookie": set_cookie(call.request.headers, SESSION, "", 0)})
