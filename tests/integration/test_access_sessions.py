"""Sessions: log-in, expiry, revocation, throttling."""

from __future__ import annotations

import datetime as dt
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from psycopg import Connection

from lakehouse.access.roles import Role, User
from lakehouse.access.sessions import LoginFailed, login, logout, mint, resolve
from lakehouse.access.throttle import TooManyAttempts
from lakehouse.access.users import create_user
from lakehouse.database.connection import connect

pytestmark = pytest.mark.postgres
PASSWORD = "correct horse battery"
HERE = "127.0.0.1"


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn, "lakehouse_app") as opened:
        yield opened


@pytest.fixture
def anna(conn: Connection[Any]) -> User:
    return create_user(conn, "anna", PASSWORD, Role.ANALYST)


def test_a_login_begins_a_session_of_twelve_hours(conn: Connection[Any], anna: User) -> None:
    """The token of a session finds its user, until it expires."""
    session = login(conn, " Anna", PASSWORD, HERE)
    assert session.user == anna
    assert resolve(conn, session.token) == anna
    left = session.expires_at - dt.datetime.now(dt.UTC)
    assert dt.timedelta(hours=11, minutes=59) < left <= dt.timedelta(hours=12)
    conn.execute("UPDATE lake.session SET expires_at = now() - interval '1 second'")
    assert resolve(conn, session.token) is None


def test_tokens_are_not_in_the_database(conn: Connection[Any], anna: User) -> None:
    """Whoever reads the table of sessions cannot use them."""
    session = login(conn, "anna", PASSWORD, HERE)
    row = conn.execute("SELECT token_hash FROM lake.session").fetchone()
    assert row is not None
    assert len(row[0]) == 32
    assert session.token.encode() not in row[0]
    assert session.token not in repr(session)


def test_a_logout_ends_one_session(conn: Connection[Any], anna: User) -> None:
    """The other sessions of the user go on."""
    first, second = login(conn, "anna", PASSWORD, HERE), login(conn, "anna", PASSWORD, HERE)
    logout(conn, first.token)
    logout(conn, first.token)
    assert resolve(conn, first.token) is None
    assert resolve(conn, second.token) == anna


@pytest.mark.parametrize("token", ["", "x", "ы" * 50, "a\0b", "\udce4"])
def test_a_made_up_token_finds_nobody(conn: Connection[Any], anna: User, token: str) -> None:
    """Any text may come as a token."""
    assert resolve(conn, token) is None


def test_a_minted_session_is_short(conn: Connection[Any], anna: User) -> None:
    """The platform's own call gets a session of the length that it asks for."""
    assert resolve(conn, mint(conn, anna, dt.timedelta(minutes=1))) == anna
    assert resolve(conn, mint(conn, anna, dt.timedelta(0))) is None


@pytest.mark.parametrize("name", ["anna", "nobody", "a\0b", "x" * 1000, "анна", ""])
def test_a_failure_does_not_tell_whether_the_name_exists(conn: Connection[Any], anna: User, name: str) -> None:
    """A wrong password and a wrong name read alike, and are throttled alike."""
    for _ in range(5):
        with pytest.raises(LoginFailed, match=r"^name or password is wrong$"):
            login(conn, name, "wrong", HERE)
    with pytest.raises(TooManyAttempts, match=r"^too many failed logins: try again in (29\d|300) s$") as caught:
        login(conn, name, "wrong", HERE)
    assert 290 <= caught.value.retry_after_s <= 300


def test_a_throttled_name_waits_with_the_right_password_too(conn: Connection[Any], anna: User) -> None:
    """After five failures nothing is tried from this address until the time is over; other addresses go on."""
    _fail(conn, "anna", 5)
    with pytest.raises(TooManyAttempts, match="try again in"):
        login(conn, "ANNA", PASSWORD, HERE)
    assert login(conn, "anna", PASSWORD, "10.0.0.1").user == anna
    conn.execute("UPDATE lake.login_attempt SET at = at - interval '5 minutes'")
    assert login(conn, "anna", PASSWORD, HERE).user == anna


def test_a_success_clears_the_count(conn: Connection[Any], anna: User) -> None:
    """Four slips, then the right password: the next slip is the first."""
    _fail(conn, "anna", 4)
    login(conn, "anna", PASSWORD, HERE)
    _fail(conn, "anna", 4)
    assert login(conn, "anna", PASSWORD, HERE).user == anna


def test_attempts_at_once_count_as_well(dsn: str, anna: User) -> None:
    """Of twenty guesses at the same time five are looked at."""

    def guess(number: int) -> type[Exception]:
        with connect(dsn, "lakehouse_app") as conn, pytest.raises((LoginFailed, TooManyAttempts)) as caught:
            login(conn, "anna", f"guess {number}", HERE)
        return caught.type

    with ThreadPoolExecutor(20) as threads:
        outcomes = list(threads.map(guess, range(20)))
    assert outcomes.count(LoginFailed) == 5


def test_a_stranger_waits_as_long_as_a_user(conn: Connection[Any], anna: User) -> None:
    """An unknown name costs a whole password check."""

    def seconds(name: str) -> float:
        begin = time.process_time()
        with pytest.raises(LoginFailed, match="wrong"):
            login(conn, name, "wrong", f"{time.monotonic()}")
        return time.process_time() - begin

    known = statistics.median(seconds("anna") for _ in range(7))
    unknown = statistics.median(seconds("nobody") for _ in range(7))
    assert unknown > known / 2


def test_a_login_refuses_to_run_in_a_transaction(conn: Connection[Any], anna: User) -> None:
    """A failure that is rolled back with its caller would not count."""
    with conn.transaction(), pytest.raises(RuntimeError, match="outside a transaction: its failure must be kept"):
        login(conn, "anna", PASSWORD, HERE)


def _fail(conn: Connection[Any], name: str, times: int) -> None:
    for _ in range(times):
        with pytest.raises(LoginFailed, match="wrong"):
            login(conn, name, "wrong", HERE)
