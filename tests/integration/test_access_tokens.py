"""API tokens: for programs, shown once, never more than their owner."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from psycopg import Connection

from lakehouse.access.roles import NotAllowed, Role, User, require_session
from lakehouse.access.tokens import list_tokens, make_token, resolve, revoke_token
from lakehouse.access.users import create_user, remove_user, set_password, set_role
from lakehouse.database.connection import connect
from lakehouse.market.errors import BadInput

pytestmark = pytest.mark.postgres
PASSWORD = "correct horse battery"


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn, "lakehouse_app") as opened:
        yield opened


@pytest.fixture
def anna(conn: Connection[Any]) -> User:
    return create_user(conn, "anna", PASSWORD, Role.ANALYST)


def role_of(conn: Connection[Any], text: str) -> Role | None:
    user = resolve(conn, text)
    return user.role if user else None


def test_a_token_is_shown_once_and_kept_hashed(conn: Connection[Any], anna: User) -> None:
    """It begins with lh_, so that scanners find one that leaked."""
    made = make_token(conn, anna, "nightly report")
    assert made.text.startswith("lh_")
    assert len(made.text) == 46
    assert made.text not in repr(made)
    row = conn.execute("SELECT token_hash FROM lake.api_token").fetchone()
    assert row is not None
    assert len(row[0]) == 32
    assert made.text.encode() not in row[0]


def test_a_token_asks_for_its_owner(conn: Connection[Any], anna: User) -> None:
    """Whoever asks is known by name, with the token by which; its use is noted."""
    made = make_token(conn, anna, "report", role=Role.VIEWER, read_only=True)
    assert resolve(conn, made.text) == User(anna.user_id, "anna", Role.VIEWER, "token report", True)
    (listed,) = list_tokens(conn, "anna")
    assert (listed.token_id, listed.name, listed.role, listed.is_read_only) == (
        made.info.token_id,
        "report",
        Role.VIEWER,
        True,
    )
    assert listed.used_at is not None
    assert made.info.used_at is None


def test_a_token_sinks_with_its_owner(conn: Connection[Any], anna: User) -> None:
    """It never has more than its owner has now, and no more than it was given."""
    full, small = make_token(conn, anna, "full").text, make_token(conn, anna, "small", role=Role.VIEWER).text
    set_role(conn, "anna", Role.VIEWER)
    assert role_of(conn, full) == Role.VIEWER
    set_role(conn, "anna", Role.ADMIN)
    assert (role_of(conn, full), role_of(conn, small)) == (Role.ANALYST, Role.VIEWER)
    create_user(conn, "boris", PASSWORD, Role.ADMIN)
    remove_user(conn, "anna")
    assert resolve(conn, full) is None
    create_user(conn, "anna", PASSWORD, Role.ADMIN)
    assert resolve(conn, full) is None
    assert list_tokens(conn) == []


def test_a_token_ends(conn: Connection[Any], anna: User) -> None:
    """After ninety days unless it says otherwise, or when it is revoked; a new password leaves it."""
    made = make_token(conn, anna, "report")
    left = made.info.expires_at - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=89) < left <= dt.timedelta(days=90)
    set_password(conn, "anna", "another one, longer")
    assert role_of(conn, made.text) == Role.ANALYST
    conn.execute("UPDATE lake.api_token SET expires_at = now()")
    assert resolve(conn, made.text) is None
    again = make_token(conn, anna, "report", days=365)
    assert revoke_token(conn, again.info.token_id, "anna").name == "report"
    assert resolve(conn, again.text) is None
    with pytest.raises(BadInput, match=f"there is no token {again.info.token_id}: it may be over already"):
        revoke_token(conn, again.info.token_id, "anna")


def test_a_user_ends_own_tokens_alone(conn: Connection[Any], anna: User) -> None:
    """An admin, who names no owner, ends anyone's."""
    made = make_token(conn, anna, "report")
    with pytest.raises(BadInput, match="there is no token"):
        revoke_token(conn, made.info.token_id, "boris")
    assert list_tokens(conn, "boris") == []
    assert revoke_token(conn, made.info.token_id).user == "anna"


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\0b", "a\nb"])
def test_a_token_has_a_name(conn: Connection[Any], anna: User, name: str) -> None:
    """By it people find out later what would break."""
    with pytest.raises(BadInput, match="a token's name is 1 to 60 characters that can be printed"):
        make_token(conn, anna, name)


def test_what_a_token_cannot_be_is_said(conn: Connection[Any], anna: User) -> None:
    """More than its owner, longer than a year, the second of a name, the fifty-first."""
    with pytest.raises(BadInput, match="a token for anna can be analyst at most, not admin"):
        make_token(conn, anna, "report", role=Role.ADMIN)
    for days in (0, 366):
        with pytest.raises(BadInput, match=f"a token lives 1 to 365 days, not {days}"):
            make_token(conn, anna, "report", days=days)
    for number in range(50):
        make_token(conn, anna, f"report {number}")
    with pytest.raises(BadInput, match="anna has a token 'report 1' already: choose another name, or revoke"):
        make_token(conn, anna, " report 1 ")
    with pytest.raises(BadInput, match="anna has 50 tokens already: revoke one first"):
        make_token(conn, anna, "report 50")


def test_of_tokens_made_at_once_by_one_name_one_is_made(dsn: str, conn: Connection[Any], anna: User) -> None:
    """Whoever revokes it by its name has revoked all of that name."""

    def make(_: int) -> bool:
        with connect(dsn, "lakehouse_app") as own:
            try:
                make_token(own, anna, "report")
            except BadInput:
                return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(make, range(8))) == 1


@pytest.mark.parametrize("text", ["", "lh_", "lh_x", "ы" * 50, "a\0b", "\udce4"])
def test_a_made_up_token_finds_nobody(conn: Connection[Any], anna: User, text: str) -> None:
    """Any text may come as a token."""
    make_token(conn, anna, "report")
    assert resolve(conn, text) is None


def test_a_token_cannot_make_itself_more(conn: Connection[Any], anna: User) -> None:
    """What a leaked one could keep its finder in by is done by who is logged in."""
    user = resolve(conn, make_token(conn, anna, "report").text)
    assert user is not None
    with pytest.raises(NotAllowed, match="an API token cannot do this, and this is token report: log in"):
        require_session(user)
    assert require_session(anna) is anna
