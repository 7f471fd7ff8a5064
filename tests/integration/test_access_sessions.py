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

from lakehouse.access import audit
from lakehouse.access.roles import Role, User
from lakehouse.access.sessions import (
    LoginFailed,
    change_password,
    end_session,
    list_sessions,
    login,
    logout,
    mint,
    resolve,
    session_id_of,
)
from lakehouse.access.throttle import TooManyAttempts
from lakehouse.access.users import create_user, remove_user, set_password
from lakehouse.database.connection import connect
from lakehouse.market.errors import BadInput, NotNow

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
    with pytest.raises(TooManyAttempts, match=r"^too many failed logins: try again in (2[5-9]\d|300) s$") as caught:
        login(conn, name, "wrong", HERE)
    assert 250 <= caught.value.retry_after_s <= 300


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
        with connect(dsn, "lakehouse_app") as conn:
            while True:
                with pytest.raises((LoginFailed, TooManyAttempts, NotNow)) as caught:
                    login(conn, "anna", f"guess {number}", HERE)
                if caught.type is not NotNow:
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


def test_a_session_that_is_not_used_ends_after_two_hours(conn: Connection[Any], anna: User) -> None:
    """Its use is written down once a minute at most."""
    used, idle = login(conn, "anna", PASSWORD, HERE), login(conn, "anna", PASSWORD, HERE)
    conn.execute("UPDATE lake.session SET seen_at = now() - interval '119 minutes'")
    assert resolve(conn, used.token) == anna
    conn.execute("UPDATE lake.session SET seen_at = seen_at - interval '1 minute'")
    assert resolve(conn, used.token) == anna
    assert resolve(conn, idle.token) is None
    assert [session.session_id for session in list_sessions(conn)] == [session_id_of(conn, used.token)]


def test_a_sessions_use_waits_for_nobody(dsn: str, conn: Connection[Any], anna: User) -> None:
    """One request that is being answered for long does not hold up the others of its session."""
    session = login(conn, "anna", PASSWORD, HERE)
    conn.execute("UPDATE lake.session SET seen_at = now() - interval '5 minutes'")
    with connect(dsn, "lakehouse_app") as other, other.transaction():
        assert resolve(other, session.token) == anna
        conn.execute("SET lock_timeout = '1s'")
        assert resolve(conn, session.token) == anna


def test_sessions_are_listed_with_whence_they_came(conn: Connection[Any], anna: User) -> None:
    """A user recognises a stranger by it; the token is not shown."""
    boris = create_user(conn, "boris", PASSWORD, Role.VIEWER)
    session = login(conn, "anna", PASSWORD, HERE, program="Firefox\n" + "x" * 300)
    mint(conn, boris, dt.timedelta(minutes=1))
    (listed,) = list_sessions(conn, "anna")
    assert (listed.user, listed.address, listed.program) == ("anna", HERE, "Firefox?" + "x" * 192)
    assert listed.session_id == session_id_of(conn, session.token)
    assert [each.user for each in list_sessions(conn)] == ["boris", "anna"]


def test_a_user_ends_own_sessions_alone(conn: Connection[Any], anna: User) -> None:
    """An admin, who names no user, ends anyone's; one that is over cannot be ended."""
    first, second = login(conn, "anna", PASSWORD, HERE), login(conn, "anna", PASSWORD, HERE)
    first_id, second_id = str(session_id_of(conn, first.token)), str(session_id_of(conn, second.token))
    with pytest.raises(BadInput, match="there is no session"):
        end_session(conn, first_id, "boris")
    assert end_session(conn, first_id, "anna") == "anna"
    assert end_session(conn, second_id) == "anna"
    assert (resolve(conn, first.token), resolve(conn, second.token)) == (None, None)
    for gone in (first_id, f"urn:uuid:{first_id}", "nonsense", "a\0b"):
        with pytest.raises(BadInput, match=r"there is no session '.*': it may be over already"):
            end_session(conn, gone)


def test_a_user_who_changes_the_password_stays_logged_in_here(conn: Connection[Any], anna: User) -> None:
    """The other sessions end; the record has it."""
    here, there = login(conn, "anna", PASSWORD, HERE), login(conn, "anna", PASSWORD, HERE)
    change_password(conn, anna, PASSWORD, "another one, longer", HERE, token=here.token)
    assert resolve(conn, here.token) == anna
    assert resolve(conn, there.token) is None
    entry = audit.read(conn, limit=1)[0]
    assert (entry.user, entry.action, entry.target, entry.outcome) == ("anna", "set password", "anna", "done")


def test_a_stolen_session_does_not_take_the_account(conn: Connection[Any], anna: User) -> None:
    """A new password needs the present one, and guesses at it count as logins do."""
    session = login(conn, "anna", PASSWORD, HERE)
    for _ in range(5):
        with pytest.raises(LoginFailed):
            change_password(conn, anna, "a guess, long", "another one, longer", "10.0.0.1", token=session.token)
    with pytest.raises(TooManyAttempts):
        change_password(conn, anna, PASSWORD, "another one, longer", "10.0.0.1", token=session.token)
    refused = [(entry.action, entry.outcome) for entry in audit.read(conn, user="-")]
    assert refused == [("set password", "refused")] * 5


def test_a_new_password_that_is_none_changes_nothing(conn: Connection[Any], anna: User) -> None:
    """Sessions go on."""
    session, other = login(conn, "anna", PASSWORD, HERE), login(conn, "anna", PASSWORD, HERE)
    with pytest.raises(BadInput, match="a password has 10 to 1000 characters"):
        change_password(conn, anna, PASSWORD, "short", HERE, token=session.token)
    assert resolve(conn, other.token) == anna


@pytest.mark.parametrize("change", ["password", "removal"])
def test_no_session_begins_while_its_password_changes(dsn: str, conn: Connection[Any], anna: User, change: str) -> None:
    """A login that has looked at the old password waits for the change, and then fails."""
    create_user(conn, "boris", PASSWORD, Role.ADMIN)

    def enter() -> None:
        with connect(dsn, "lakehouse_app") as own:
            login(own, "anna", PASSWORD, HERE)

    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as threads, connect(dsn) as watching:
        with connect(dsn) as other, other.transaction():
            if change == "password":
                set_password(other, "anna", "another one, longer")
            else:
                remove_user(other, "anna")
            entering = threads.submit(enter)
            until = time.monotonic() + 300
            while watching.execute(waiting).fetchone() == (0,):
                assert time.monotonic() < until
                time.sleep(0.02)
        with pytest.raises(LoginFailed):
            entering.result()
    assert list_sessions(conn) == []


def _fail(conn: Connection[Any], name: str, times: int) -> None:
    for _ in range(times):
        with pytest.raises(LoginFailed, match="wrong"):
            login(conn, name, "wrong", HERE)
