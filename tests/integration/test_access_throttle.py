"""Guessers are kept out, and nobody can lock out another."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from psycopg import Connection

from lakehouse.access import throttle
from lakehouse.access.hashing import fits
from lakehouse.access.roles import User
from lakehouse.access.sessions import LoginFailed, Session, login
from lakehouse.access.throttle import TooManyAttempts, network_of
from lakehouse.access.users import create_user, set_password
from lakehouse.database.connection import connect
from lakehouse.market.errors import NotNow

pytestmark = pytest.mark.postgres
PASSWORD = "correct horse battery"
HOME, OFFICE = "203.0.113.7", "198.51.100.1"


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn, "lakehouse_app") as opened:
        yield opened


@pytest.fixture
def anna(conn: Connection[Any]) -> User:
    return create_user(conn, "anna", PASSWORD, "analyst")


def fail(conn: Connection[Any], name: str, address: str, device: str = "") -> None:
    """Count a login as `login` does before it looks at the password; without the 50 ms of looking."""
    throttle.count(conn, throttle.attempt_of(conn, name, address, device))


def entered(conn: Connection[Any], address: str, device: str = "") -> Session:
    return login(conn, "anna", PASSWORD, address, device=device)


def refused(conn: Connection[Any], name: str, address: str, device: str = "") -> int:
    """Return in how many seconds to try again."""
    with pytest.raises(TooManyAttempts, match="too many failed logins: try again in") as caught:
        login(conn, name, PASSWORD, address, device=device)
    return caught.value.retry_after_s


def test_a_guesser_with_many_addresses_is_stopped_and_the_user_is_not(conn: Connection[Any], anna: User) -> None:
    """From where anna has logged in before she gets in during the attack, and the guesser nowhere else."""
    entered(conn, HOME)
    for number in range(throttle.MAX_OF_NAME):
        fail(conn, "anna", f"10.0.0.{number}")
    assert 3000 < refused(conn, "anna", "10.0.1.1") <= 3600
    assert entered(conn, HOME).user == anna


def test_a_neighbour_behind_the_same_address_locks_out_no_known_browser(conn: Connection[Any], anna: User) -> None:
    """The address is known by anna's login; her browser has a count of its own, by its cookie."""
    browser = entered(conn, OFFICE).device
    for _ in range(throttle.MAX_OF_PLACE):
        fail(conn, "anna", OFFICE)
    assert 200 < refused(conn, "anna", OFFICE) <= 300
    assert entered(conn, OFFICE, browser).user == anna
    assert entered(conn, "192.0.2.99", browser).user == anna


def test_who_tries_many_names_locks_out_nobody_known_at_that_address(conn: Connection[Any], anna: User) -> None:
    """Stuffed credentials are stopped for the address; a colleague who logs in from there goes on."""
    entered(conn, OFFICE)
    for number in range(throttle.MAX_OF_NETWORK):
        fail(conn, f"name{number}", OFFICE)
    assert 200 < refused(conn, "boris", OFFICE) <= 300
    assert entered(conn, OFFICE).user == anna
    with pytest.raises(LoginFailed):
        login(conn, "boris", PASSWORD, HOME)


def test_one_user_who_fails_keeps_no_other_out(conn: Connection[Any], anna: User) -> None:
    """Behind one address the next one logs in for the first time."""
    for _ in range(throttle.MAX_OF_PLACE):
        fail(conn, "boris", OFFICE)
    refused(conn, "boris", OFFICE)
    assert entered(conn, OFFICE).user == anna


def test_a_browsers_cookie_is_of_one_user_and_counts_too(conn: Connection[Any], anna: User) -> None:
    """It takes nobody around the limits: not a guesser at another name, nor one who stole it."""
    browser = entered(conn, HOME).device
    create_user(conn, "boris", PASSWORD, "viewer")
    for _ in range(throttle.MAX_OF_PLACE):
        fail(conn, "anna", "10.0.0.1", browser)
        fail(conn, "boris", "10.0.0.1", browser)
    refused(conn, "anna", "10.0.0.2", browser)
    refused(conn, "boris", "10.0.0.1", browser)
    assert entered(conn, HOME).user == anna


def test_a_browser_is_given_its_cookie_once(conn: Connection[Any], anna: User) -> None:
    """The database holds its hash; a cookie that is nobody's is replaced."""
    first = entered(conn, HOME, "made up").device
    assert len(first) >= 43
    assert entered(conn, HOME, first).device == ""
    places = {place for (place,) in conn.execute("SELECT place FROM lake.login_place")}
    assert places == {HOME, throttle.device_hash(first)}
    assert first not in repr(places)


def test_a_new_password_makes_every_place_unknown(conn: Connection[Any], anna: User) -> None:
    """Whoever had the old one had logged in from somewhere too."""
    browser = entered(conn, HOME).device
    set_password(conn, "anna", "another one, longer")
    assert conn.execute("SELECT count(*) FROM lake.login_place").fetchone() == (0,)
    assert login(conn, "anna", "another one, longer", HOME, device=browser).device


def test_a_place_is_forgotten_after_ninety_days(conn: Connection[Any], anna: User) -> None:
    """And a user has twenty of them at most."""
    for number in range(21):
        entered(conn, f"10.0.{number}.1")
    assert conn.execute("SELECT count(*) FROM lake.login_place").fetchone() == (20,)
    conn.execute("UPDATE lake.login_place SET seen_at = now() - interval '91 days'")
    assert throttle.attempt_of(conn, "anna", "10.0.20.1", "").place == ""


def test_refused_attempts_leave_no_row_and_old_ones_go(conn: Connection[Any], anna: User) -> None:
    """Whoever goes on trying fills no disk."""
    for _ in range(throttle.MAX_OF_PLACE):
        fail(conn, "anna", HOME)
    for _ in range(20):
        refused(conn, "anna", HOME)
    assert conn.execute("SELECT count(*) FROM lake.login_attempt").fetchone() == (throttle.MAX_OF_PLACE,)
    conn.execute("UPDATE lake.login_attempt SET at = at - interval '61 minutes'")
    fail(conn, "boris", HOME)
    assert conn.execute("SELECT name FROM lake.login_attempt").fetchall() == [("boris",)]


def test_attempts_at_once_from_many_addresses_count_each(dsn: str, conn: Connection[Any], anna: User) -> None:
    """Of eighty at the same moment fifty are looked at."""

    def attempt(number: int) -> bool:
        with connect(dsn, "lakehouse_app") as own:
            try:
                fail(own, "anna", f"10.0.0.{number}")
            except TooManyAttempts:
                return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(attempt, range(80))) == throttle.MAX_OF_NAME


def test_a_flood_of_logins_is_turned_away_uncounted(dsn: str, conn: Connection[Any], anna: User) -> None:
    """Two passwords are looked at at a time and few wait: who is turned away has not failed, who is known gets in."""

    def guess(number: int) -> type[Exception]:
        with connect(dsn, "lakehouse_app") as own, pytest.raises((LoginFailed, NotNow)) as caught:
            login(own, f"name{number}", "wrong", f"10.0.{number}.1")
        return caught.type

    entered(conn, HOME)
    with ThreadPoolExecutor(30) as threads:
        guessing = [threads.submit(guess, number) for number in range(60)]
        while not all(each.done() for each in guessing):
            assert entered(conn, HOME).user == anna
    outcomes = [each.result() for each in guessing]
    assert outcomes.count(NotNow) > 0
    counted = conn.execute("SELECT count(*) FROM lake.login_attempt").fetchone()
    assert counted == (outcomes.count(LoginFailed),)
    assert not fits("anything", None)


def test_a_login_waits_for_its_lock_for_seconds(dsn: str, conn: Connection[Any], anna: User) -> None:
    """Whoever holds it and never lets go: connections of the pool come back."""
    with connect(dsn) as other:
        other.execute("SELECT pg_advisory_lock(7305148223)")
        began = time.monotonic()
        with pytest.raises(NotNow, match=r"^logins are not being counted at present, so none is taken: "):
            entered(conn, HOME)
        assert time.monotonic() - began > 2
    assert entered(conn, HOME).user == anna


def test_failed_logins_of_users_are_on_the_record(conn: Connection[Any], anna: User) -> None:
    """With the address; a name that nobody has stays out, which may be a password in the wrong field."""
    for name in ("Anna ", "my secret password"):
        with pytest.raises(LoginFailed):
            login(conn, name, "wrong", HOME)
    entered(conn, HOME)
    found = conn.execute("SELECT user_name, action, target, outcome, address FROM lake.audit ORDER BY audit_id")
    assert found.fetchall() == [("", "login", "anna", "refused", HOME), ("anna", "login", "anna", "done", HOME)]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_an_address_counts_as_what_one_customer_has(address: str, network: str) -> None:
    """Of IPv6 everyone has 2**64 addresses."""
    assert network_of(address) == network
