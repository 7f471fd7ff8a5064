"""Users, their passwords and their sessions: ``/v1/users``, ``/v1/password`` and ``/v1/sessions``."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal
from urllib.parse import unquote

from pydantic import Field

from functions.models import Answered, Body, Nothing, Parameters
from functions.operation import Call, operation
from functions.requests import DEVICE, cookie_of, token_of
from lakehouse.access import sessions, users
from lakehouse.access.hashing import MAX_PASSWORD, MIN_PASSWORD
from lakehouse.access.roles import NotAllowed, Role, User

RoleName = Literal["viewer", "analyst", "admin"]
Password = Annotated[str, Field(description=f"{MIN_PASSWORD} to {MAX_PASSWORD} characters")]
_NO_USER = {404: "there is no such user"}
_NAME = {"name": "The user's name"}


class NewUser(Body):
    user: Annotated[str, Field(description="a-z, 0-9 and . _ @ -; capitals are folded", examples=["anna"])]
    password: Password
    role: RoleName = "viewer"


class NewRole(Body):
    role: RoleName


class NewPassword(Body):
    password: Password


class OwnPassword(Body):
    present: Annotated[str, Field(description="The present password")]
    new: Password


class UserShown(Answered):
    user: str
    role: RoleName


class Users(Answered):
    users: list[UserShown]


class Whose(Parameters):
    of: Annotated[Literal["me", "all"], Field(description="Of all users: admins alone")] = "me"


class SessionShown(Answered):
    session_id: str
    user: str
    created_at: dt.datetime
    seen_at: Annotated[dt.datetime, Field(description="When it was last used, to the minute")]
    expires_at: dt.datetime
    address: str
    program: Annotated[str, Field(description="What the browser calls itself")]
    is_this: Annotated[bool, Field(description="Whether the request came by it")]


class Sessions(Answered):
    sessions: list[SessionShown]


@operation(Role.ADMIN, "list users", answers={200: Users})
def read_users(call: Call) -> object:
    """Return who can log in, by name."""
    return {"users": [_shown(user) for user in users.list_users(call.conn)]}


@operation(Role.ADMIN, "add a user", action="add user", by_session=True, body=NewUser, answers={201: UserShown})
def add_user(call: Call) -> object:
    """Add a user; a removed one of this name comes back with the new password and role."""
    made = users.create_user(call.conn, call.body.user, call.body.password, call.body.role)
    call.audit(made.name, {"role": str(made.role)}, "done")
    return _shown(made)


@operation(
    Role.ADMIN,
    "change a user's role",
    action="set role",
    by_session=True,
    path=_NAME,
    body=NewRole,
    answers={200: UserShown},
    refuses=_NO_USER,
)
def change_role(call: Call) -> object:
    """Give a user another role, which counts at once. The last admin stays one."""
    user = users.user_named(call.conn, unquote(call.path["name"]))
    users.set_role(call.conn, user.name, call.body.role)
    call.audit(user.name, {"role": call.body.role, "was": str(user.role)}, "done")
    return {"user": user.name, "role": call.body.role}


@operation(
    Role.ADMIN,
    "remove a user",
    action="remove user",
    by_session=True,
    path=_NAME,
    answers={200: Nothing},
    refuses=_NO_USER,
)
def remove_user(call: Call) -> object:
    """End a user's sessions and tokens, and let them log in no more. The last admin stays."""
    user = users.user_named(call.conn, unquote(call.path["name"]))
    users.remove_user(call.conn, user.name)
    call.audit(user.name, {"role": str(user.role)}, "done")
    return {}


@operation(
    Role.ADMIN,
    "set a user's password",
    action="set password",
    by_session=True,
    path=_NAME,
    body=NewPassword,
    answers={200: Nothing},
    refuses=_NO_USER,
)
def set_password(call: Call) -> object:
    """Give a user who lost it a new password; their sessions end."""
    user = users.user_named(call.conn, unquote(call.path["name"]))
    users.set_password(call.conn, user.name, call.body.password)
    call.audit(user.name, {}, "done")
    return {}


@operation(
    Role.VIEWER,
    "change one's own password",
    action="set password",
    by_session=True,
    is_atomic=False,
    body=OwnPassword,
    answers={200: Nothing},
    refuses={429: "too many wrong passwords"},
)
def change_password(call: Call) -> object:
    """Change the password of who asks: all their other sessions end, tokens stay."""
    token, device = token_of(call.request), cookie_of(call.request.headers, DEVICE)
    given, address = call.body, call.address
    sessions.change_password(call.conn, call.user, given.present, given.new, address, token=token, device=device)
    return {}


@operation(Role.VIEWER, "list sessions", parameters=Whose, answers={200: Sessions})
def read_sessions(call: Call) -> object:
    """Return the sessions that go on, the newest first: one's own, or those of all for an admin."""
    mine = sessions.session_id_of(call.conn, token_of(call.request))
    found = sessions.list_sessions(call.conn, owner_of(call))
    return {"sessions": [{**vars(each), "is_this": each.session_id == mine} for each in found]}


@operation(
    Role.VIEWER,
    "end a session",
    action="end session",
    by_session=True,
    path={"session_id": "The session's id"},
    answers={200: Nothing},
    refuses={404: "there is no such session"},
)
def end_session(call: Call) -> object:
    """Revoke a session of one's own; an admin anyone's."""
    ended = unquote(call.path["session_id"])
    user = sessions.end_session(call.conn, ended, within_reach(call))
    call.audit(user, {"session_id": ended}, "done")
    return {}


def owner_of(call: Call) -> str | None:
    """Return whose things are asked for, None for all users'; raise NotAllowed when they are not the asker's to see."""
    if call.parameters.of == "me":
        return call.user.name
    if call.user.role < Role.ADMIN:
        raise NotAllowed(f"of=all needs the role {Role.ADMIN}, and {call.user.name} is {call.user.role}: leave it out")
    return None


def within_reach(call: Call) -> str | None:
    """Return whose things the asker may end: their own, or all users' (None) as an admin."""
    return None if call.user.role is Role.ADMIN else call.user.name


def _shown(user: User) -> dict[str, str]:
    return {"user": user.name, "role": str(user.role)}
