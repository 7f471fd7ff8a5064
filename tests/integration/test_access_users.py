"""Users in PostgreSQL."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from lakehouse.access import audit, sessions
from lakehouse.access.roles import NotAllowed, NotLoggedIn, Role, require
from lakehouse.access.users import (
    check_password,
    create_user,
    ensure_admin,
    list_users,
    remove_user,
    set_password,
    set_role,
)
from lakehouse.database.connection import connect
from lakehouse.market.errors import BadInput

pytestmark = pytest.mark.postgres
PASSWORD = "correct horse battery"


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn, "lakehouse_app") as opened:
        yield opened


def test_the_first_start_makes_one_admin(conn: Connection[Any]) -> None:
    """The password is given once; later starts make nobody."""
    password = ensure_admin(conn)
    assert password is not None
    found = check_password(conn, "admin", password)
    assert found is not None
    assert found[0].role == Role.ADMIN
    assert ensure_admin(conn) is None
    assert [user.name for user in list_users(conn)] == ["admin"]
    assert [(entry.user, entry.action, entry.target) for entry in audit.read(conn)] == [
        ("first start", "add user", "admin")
    ]


def test_passwords_are_kept_as_argon2id(conn: Connection[Any]) -> None:
    """The database never holds a password, and equal passwords look different."""
    create_user(conn, "anna", PASSWORD, "viewer")
    create_user(conn, "boris", PASSWORD, Role.VIEWER)
    hashes = [row[0] for row in conn.execute("SELECT password_hash FROM lake.app_user")]
    assert all(text.startswith("$argon2id$") for text in hashes)
    assert len(set(hashes)) == 2


def test_names_do_not_depend_on_case(conn: Connection[Any]) -> None:
    """Anna and anna are one user."""
    create_user(conn, " Anna ", PASSWORD, "viewer")
    assert check_password(conn, "ANNA", PASSWORD) is not None
    with pytest.raises(BadInput, match="there is a user anna already: choose another name"):
        create_user(conn, "aNNa", PASSWORD, "viewer")


@pytest.mark.parametrize("name", ["", "a b", "-a", "a" * 65, "анна", "a\0b", "a/b"])
def test_a_strange_name_is_refused(conn: Connection[Any], name: str) -> None:
    """A name is a short plain word."""
    with pytest.raises(BadInput, match="a user's name is 1 to 64 of a-z"):
        create_user(conn, name, PASSWORD, "viewer")


def test_a_weak_password_is_refused(conn: Connection[Any]) -> None:
    """A password of fewer than 10 characters is none, nor is a book."""
    with pytest.raises(BadInput, match="has 10 to 1000 characters, this one has 9"):
        create_user(conn, "anna", "123456789", "viewer")
    with pytest.raises(BadInput, match="this one has 1001"):
        create_user(conn, "anna", "x" * 1001, "viewer")


def test_an_unknown_role_is_refused(conn: Connection[Any]) -> None:
    """Roles are those three."""
    with pytest.raises(BadInput, match="there is no role root: choose viewer, analyst, admin"):
        create_user(conn, "anna", PASSWORD, "root")


def test_a_new_password_ends_the_sessions(conn: Connection[Any]) -> None:
    """Who knew the old password is out."""
    user = create_user(conn, "anna", PASSWORD, "viewer")
    token = sessions.mint(conn, user, dt.timedelta(hours=1))
    set_password(conn, "anna", "another one, longer")
    assert sessions.resolve(conn, token) is None
    assert check_password(conn, "anna", PASSWORD) is None
    found = check_password(conn, "anna", "another one, longer")
    assert found is not None
    assert found[0] == user


def test_a_new_role_counts_at_once(conn: Connection[Any]) -> None:
    """A session carries the role that its user has now."""
    user = create_user(conn, "anna", PASSWORD, "viewer")
    token = sessions.mint(conn, user, dt.timedelta(hours=1))
    set_role(conn, "anna", "analyst")
    resolved = sessions.resolve(conn, token)
    assert resolved is not None
    assert resolved.role == Role.ANALYST


def test_a_removed_user_is_out_and_may_come_back(conn: Connection[Any]) -> None:
    """Removing ends sessions and log-ins; made again, the user has the new password and role only."""
    user = create_user(conn, "anna", PASSWORD, "analyst")
    token = sessions.mint(conn, user, dt.timedelta(hours=1))
    remove_user(conn, "anna")
    assert list_users(conn) == []
    assert sessions.resolve(conn, token) is None
    assert check_password(conn, "anna", PASSWORD) is None
    again = create_user(conn, "anna", "another one, longer", "viewer")
    assert again.role == Role.VIEWER
    assert sessions.resolve(conn, token) is None


def test_the_last_admin_stays(conn: Connection[Any]) -> None:
    """There is always somebody who can make users."""
    ensure_admin(conn)
    with pytest.raises(BadInput, match="admin is the last admin: make another one first"):
        remove_user(conn, "Admin")
    with pytest.raises(BadInput, match="admin is the last admin"):
        set_role(conn, "admin", "viewer")
    create_user(conn, "anna", PASSWORD, "admin")
    remove_user(conn, "admin")
    assert [user.name for user in list_users(conn)] == ["anna"]


def test_two_admins_cannot_remove_each_other_at_once(dsn: str, conn: Connection[Any]) -> None:
    """Nor demote, nor one of each: one of the two stays."""
    changes: list[Callable[[Connection[Any], str], None]] = [remove_user, lambda c, name: set_role(c, name, "viewer")]

    def change(how: Callable[[Connection[Any], str], None], name: str) -> bool:
        with connect(dsn, "lakehouse_app") as own:
            try:
                how(own, name)
            except BadInput:
                return False
        return True

    with ThreadPoolExecutor(2) as threads:
        for first, second in itertools.product(changes, repeat=2):
            for name in ("anna", "boris"):
                _make_admin(conn, name)
            done = [threads.submit(change, first, "anna"), threads.submit(change, second, "boris")]
            assert sum(each.result() for each in done) == 1
            assert [user.role for user in list_users(conn)].count(Role.ADMIN) == 1


def _make_admin(conn: Connection[Any], name: str) -> None:
    try:
        set_role(conn, name, Role.ADMIN)
    except BadInput:
        create_user(conn, name, PASSWORD, Role.ADMIN)


def test_whoever_is_not_there_is_said_so(conn: Connection[Any]) -> None:
    """Changing a user who does not exist is an error, not a success."""
    with pytest.raises(BadInput, match="there is no user nobody"):
        set_password(conn, "nobody", PASSWORD)
    with pytest.raises(BadInput, match="there is no user nobody"):
        set_role(conn, "nobody", "viewer")
    with pytest.raises(BadInput, match="there is no user nobody"):
        remove_user(conn, "nobody")


def test_roles_are_ordered(conn: Connection[Any]) -> None:
    """A role may do what the lesser ones may, and no more; nobody may do nothing."""
    assert sorted([Role.ADMIN, Role.VIEWER, Role.ANALYST]) == [Role.VIEWER, Role.ANALYST, Role.ADMIN]
    anna = create_user(conn, "anna", PASSWORD, "analyst")
    assert require(anna, Role.VIEWER) is anna
    assert require(anna, Role.ANALYST) is anna
    with pytest.raises(NotAllowed, match="this needs the role admin, and anna is analyst: ask an admin"):
        require(anna, Role.ADMIN)
    with pytest.raises(NotLoggedIn, match="log in first"):
        require(None, Role.VIEWER)


def test_the_audit_record_is_only_added_to(conn: Connection[Any]) -> None:
    """The application can write the record of what was done, and can neither change nor delete it."""
    anna = create_user(conn, "anna", PASSWORD, "admin")
    audit.record(conn, anna, "cancel", "job 1", {"windows": 3}, "cancelled", "127.0.0.1")
    audit.record(conn, None, "ingest", "", {}, "refused", "")
    audit.record(conn, "command line", "users", "boris", {}, "done")
    rows = conn.execute("SELECT user_name, action, target, detail, outcome, address FROM lake.audit ORDER BY audit_id")
    assert rows.fetchall() == [
        ("anna", "cancel", "job 1", {"windows": 3}, "cancelled", "127.0.0.1"),
        ("", "ingest", "", {}, "refused", ""),
        ("command line", "users", "boris", {}, "done", None),
    ]
    for statement in ("DELETE FROM lake.audit", "UPDATE lake.audit SET outcome = ''", "TRUNCATE lake.audit"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for table audit"):
            conn.execute(statement)


def test_the_audit_record_is_read_by_page_user_action_and_time(conn: Connection[Any]) -> None:
    """The newest first; a page goes on where the last one ended."""
    anna = create_user(conn, "anna", PASSWORD, "admin")
    for number in range(5):
        audit.record(conn, anna, "cancel", f"job {number}", {}, "cancelled", "127.0.0.1")
    audit.record(conn, replace(anna, via="token report"), "ingest", "SBER", {}, "queued", None)
    audit.record(conn, None, "ingest", "", {}, "refused", "")
    page = audit.read(conn, limit=3)
    assert [entry.target for entry in page] == ["", "SBER", "job 4"]
    assert (page[1].user, page[1].via, page[1].address) == ("anna", "token report", "")
    assert [entry.target for entry in audit.read(conn, limit=3, before=page[-1].entry_id)] == [
        "job 3",
        "job 2",
        "job 1",
    ]
    assert [entry.target for entry in audit.read(conn, action="ingest")] == ["", "SBER"]
    assert len(audit.read(conn, user="anna")) == 6
    assert [entry.outcome for entry in audit.read(conn, user="-")] == ["refused"]
    assert audit.read(conn, since=page[0].at + dt.timedelta(seconds=1)) == []
    assert audit.read(conn, till=page[-1].at - dt.timedelta(hours=1)) == []
    assert (
        len(audit.read(conn, since=page[-1].at - dt.timedelta(hours=1), till=page[0].at + dt.timedelta(hours=1))) == 7
    )
