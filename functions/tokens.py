"""API tokens: ``/v1/tokens``."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from pydantic import Field

from functions.accounts import RoleName, Whose, owner_of, within_reach
from functions.answers import answer
from functions.models import Answered, Body, Nothing
from functions.operation import Call, operation
from lakehouse.access import tokens
from lakehouse.access.roles import NoSuch, Role


class NewToken(Body):
    name: Annotated[str, Field(description="Where it is used", examples=["nightly report"])]
    role: Annotated[RoleName | None, Field(description="At most one's own, which it is by default")] = None
    days: Annotated[int, Field(ge=1, le=tokens.MAX_DAYS, description="How long it lives")] = tokens.DAYS
    is_read_only: Annotated[bool, Field(description="Whether it may change nothing")] = False


class TokenShown(Answered):
    token_id: int
    user: str
    name: str
    role: Annotated[RoleName, Field(description="What it may do now: the lesser of its own and its owner's")]
    is_read_only: bool
    created_at: dt.datetime
    expires_at: dt.datetime
    used_at: Annotated[dt.datetime | None, Field(description="To the minute")]


class TokenMade(TokenShown):
    token: Annotated[str, Field(description="For the header `Authorization: Bearer`; shown this once")]


class Tokens(Answered):
    tokens: list[TokenShown]


@operation(Role.VIEWER, "list API tokens", parameters=Whose, answers={200: Tokens})
def read_tokens(call: Call) -> object:
    """Return the tokens that are good, the newest first: one's own, or those of all for an admin."""
    return {"tokens": [_shown(each) for each in tokens.list_tokens(call.conn, owner_of(call))]}


@operation(
    Role.VIEWER, "make an API token", action="make token", by_session=True, body=NewToken, answers={201: TokenMade}
)
def make_token(call: Call) -> object:
    """Make a token of one's own, for a program: with at most one's own role, read-only if asked."""
    given, role = call.body, Role(call.body.role) if call.body.role else None
    made = tokens.make_token(call.conn, call.user, given.name, role=role, days=given.days, read_only=given.is_read_only)
    call.audit(made.info.target, made.info.detail, "done")
    return answer({**_shown(made.info), "token": made.text}, 201, {"Cache-Control": "no-store"})


@operation(
    Role.VIEWER,
    "revoke an API token",
    action="revoke token",
    by_session=True,
    path={"token_id": "The token's number"},
    answers={200: Nothing},
    refuses={404: "there is no such token"},
)
def revoke_token(call: Call) -> object:
    """End a token of one's own; an admin anyone's."""
    text = call.path["token_id"]
    if not (text.isascii() and text.isdigit() and len(text) < 18):
        raise NoSuch("there is no such token: its number is in the list")
    ended = tokens.revoke_token(call.conn, int(text), within_reach(call))
    call.audit(ended.target, ended.detail, "done")
    return {}


def _shown(token: tokens.Token) -> dict[str, Any]:
    return {**vars(token), "role": str(token.role)}
