"""Users and their roles, and the question whether one suffices."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import total_ordering

from lakehouse.market.errors import BadInput, LakehouseError


class NotLoggedIn(LakehouseError):
    """Nobody is logged in, or the session is over."""


class NotAllowed(LakehouseError):
    """The user's role does not reach."""


class NoSuch(BadInput):
    """There is no such user, session or token, or none of who asks."""


@total_ordering
class Role(Enum):
    """What a user may do, ordered: each role may do all that the ones before it may."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    ADMIN = "admin"

    def __str__(self) -> str:
        return self.value

    def __lt__(self, other: Role) -> bool:
        order = list(Role)
        return order.index(self) < order.index(other)


@dataclass(frozen=True)
class User:
    """
    Somebody who can log in.

    Attributes:
        role: What they may do now: with an API token at most what the token may.
        via: ``token NAME`` when an API token asks for them; empty for a session.
        is_read_only: Whether that token may change nothing.
    """

    user_id: int
    name: str
    role: Role
    via: str = ""
    is_read_only: bool = False


def require(user: User | None, role: Role) -> User:
    """Return *user*, who has at least *role*; raise NotLoggedIn or NotAllowed."""
    if user is None:
        raise NotLoggedIn("log in first: there is no session, or it is over")
    if user.role < role:
        raise NotAllowed(f"this needs the role {role}, and {user.name} is {user.role}: ask an admin")
    return user


def require_session(user: User) -> User:
    """Return *user*, who is logged in; raise NotAllowed for an API token: one that leaked must not make itself more."""
    if user.via:
        raise NotAllowed(f"an API token cannot do this, and this is {user.via}: log in")
    return user
