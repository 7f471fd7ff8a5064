"""Logging in and out."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from chalice.app import Response
from pydantic import Field

from functions.answers import answer
from functions.models import Answered, Body, Nothing
from functions.operation import Call, operation
from functions.requests import DEVICE, SESSION, cookie_of, login_cookies, set_cookie, token_of
from lakehouse.access import sessions
from lakehouse.access.roles import Role


class Login(Body):
    user: Annotated[str, Field(examples=["admin"])]
    password: str


class LoggedIn(Answered):
    user: str
    role: Literal["viewer", "analyst", "admin"]
    token: Annotated[str, Field(description="For the header `Authorization: Bearer`; the cookie holds the same")]
    expires_at: dt.datetime


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
