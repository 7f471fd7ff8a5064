"""Users, passwords, sessions, tokens and the audit record, by the API and by the command line."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from lakehouse.access import audit, sessions, tokens
from lakehouse.access.roles import Role
from lakehouse.access.users import create_user, list_users, user_named
from lakehouse.cli import main
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.market.moscow import MOSCOW
from tests.functions_api import Api, served_functions
from tests.hostile_requests import Hostile

pytestmark = pytest.mark.postgres
PASSWORD, OTHER = "correct horse battery", "another one, longer"


@pytest.fixture(scope="module")
def served(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with served_functions(postgres, tmp_path_factory.mktemp("access")) as found:
        yield found


@pytest.fixture
def api(served: Api) -> Iterator[Api]:
    """The API with the users admin, analyst and viewer, and anna, an analyst."""
    create_user(served.conn, "anna", PASSWORD, Role.ANALYST)
    yield served
    served.conn.execute("DELETE FROM lake.app_user WHERE name NOT IN ('admin', 'analyst', 'viewer')")
    served.conn.execute("DELETE FROM lake.api_token")


def ask(api: Api, bearer: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Ask as a role, or with the text of a session or a token."""
    headers = (
        b"Content-Type: application/json",
        b"Authorization: Bearer " + api.tokens.get(bearer, bearer).encode(),
    )
    data = b"" if body is None else json.dumps(body).encode()
    status, answer = api.ask(Hostile(method, f"/v1/{path}".encode(), 0, "", role="", headers=headers, body=data))
    return status, json.loads(answer)


def token_for(api: Api, name: str, role: Role, *, read_only: bool = False) -> str:
    user = user_named(api.conn, name)
    return tokens.make_token(api.conn, user, f"{name} {role} {read_only}", role=role, read_only=read_only).text


def entered(api: Api, password: str = PASSWORD) -> str:
    status, body = ask(api, "", "POST", "login", {"user": "anna", "password": password})
    assert status == 200
    return str(body["token"])


def newest(api: Api) -> tuple[str, str, str, str, str]:
    entry = audit.read(api.conn, limit=1)[0]
    return entry.user, entry.via, entry.action, entry.target, entry.outcome


def test_an_admin_keeps_the_users(api: Api) -> None:
    """Adds, promotes, gives a new password, removes; each is on the record, from where."""
    assert ask(api, "admin", "POST", "users", {"user": "Boris@x.org", "password": PASSWORD}) == (
        201,
        {"user": "boris@x.org", "role": "viewer"},
    )
    assert newest(api) == ("admin", "", "add user", "boris@x.org", "done")
    assert audit.read(api.conn, limit=1)[0].address == "127.0.0.1"
    assert ask(api, "admin", "PUT", "users/boris%40x.org", {"role": "analyst"})[0] == 200
    assert newest(api) == ("admin", "", "set role", "boris@x.org", "done")
    assert ask(api, "admin", "PUT", "users/boris@x.org/password", {"password": OTHER}) == (200, {})
    assert newest(api) == ("admin", "", "set password", "boris@x.org", "done")
    assert {"user": "boris@x.org", "role": "analyst"} in ask(api, "admin", "GET", "users")[1]["users"]
    assert ask(api, "", "POST", "login", {"user": "boris@x.org", "password": OTHER})[0] == 200
    assert ask(api, "admin", "DELETE", "users/boris@x.org") == (200, {})
    assert newest(api) == ("admin", "", "remove user", "boris@x.org", "done")
    assert "boris@x.org" not in [user.name for user in list_users(api.conn)]
    for method, path in (("PUT", "users/nobody"), ("DELETE", "users/nobody"), ("DELETE", "users/%00")):
        status, body = ask(api, "admin", method, path, {"role": "viewer"} if method == "PUT" else None)
        assert (status, body["code"]) == (404, "not_found")


def test_the_last_admin_stays_by_the_api_too(api: Api) -> None:
    """Neither removed nor demoted, by nobody."""
    for method, path, body in (("DELETE", "users/admin", None), ("PUT", "users/Admin", {"role": "viewer"})):
        status, problem = ask(api, "admin", method, path, body)
        assert status == 400
        assert "admin is the last admin: make another one first" in problem["detail"]
    assert user_named(api.conn, "admin").role == Role.ADMIN


def test_a_user_changes_the_own_password_and_stays_here(api: Api) -> None:
    """By the present one; the sessions elsewhere end, this one goes on."""
    here, there = entered(api), entered(api)
    status, body = ask(api, here, "POST", "password", {"present": "wrong, wrong", "new": OTHER})
    assert (status, body["code"]) == (401, "login_failed")
    assert ask(api, here, "POST", "password", {"present": PASSWORD, "new": "short"})[0] == 400
    assert ask(api, here, "POST", "password", {"present": PASSWORD, "new": OTHER}) == (200, {})
    assert newest(api) == ("anna", "", "set password", "anna", "done")
    assert ask(api, here, "GET", "instruments")[0] == 200
    assert ask(api, there, "GET", "instruments")[0] == 401
    entered(api, OTHER)


def test_sessions_are_listed_and_ended(api: Api) -> None:
    """Each user sees and ends the own ones, an admin all; a session of another is not there."""
    here, there = entered(api), entered(api)
    mine = ask(api, here, "GET", "sessions")[1]["sessions"]
    assert [(each["user"], each["is_this"]) for each in mine] == [("anna", False), ("anna", True)]
    assert ask(api, here, "GET", "sessions?of=all")[0] == 403
    everyones = ask(api, "admin", "GET", "sessions?of=all")[1]["sessions"]
    assert {"admin", "anna", "viewer"} <= {each["user"] for each in everyones}
    admins = next(each["session_id"] for each in everyones if each["user"] == "admin")
    assert ask(api, here, "DELETE", f"sessions/{admins}")[0] == 404
    assert ask(api, here, "DELETE", f"sessions/{mine[0]['session_id']}") == (200, {})
    assert newest(api) == ("anna", "", "end session", "anna", "done")
    assert ask(api, there, "GET", "sessions")[0] == 401
    assert ask(api, "admin", "DELETE", f"sessions/{mine[1]['session_id']}") == (200, {})
    assert ask(api, here, "GET", "sessions")[0] == 401
    assert ask(api, "admin", "DELETE", "sessions/nonsense")[0] == 404


def test_a_token_is_made_used_and_revoked(api: Api) -> None:
    """It is in the answer once, and who used it is on the record."""
    session = entered(api)
    status, made = ask(api, session, "POST", "tokens", {"name": "report"})
    assert (status, made["user"], made["role"], made["is_read_only"]) == (201, "anna", "analyst", False)
    assert newest(api) == ("anna", "", "make token", "report of anna", "done")
    token = made.pop("token")
    assert ask(api, token, "GET", "jobs")[0] == 200
    (listed,) = ask(api, session, "GET", "tokens")[1]["tokens"]
    assert listed.pop("used_at") is not None
    assert listed == {name: value for name, value in made.items() if name != "used_at"}
    assert ask(api, token, "POST", "ingest", {"instruments": ["SBER"]})[0] == 403
    assert newest(api) == ("anna", "token report", "ingest", "", "refused")
    assert ask(api, "viewer", "DELETE", f"tokens/{made['token_id']}")[0] == 404
    assert ask(api, session, "DELETE", f"tokens/{made['token_id']}") == (200, {})
    assert newest(api) == ("anna", "", "revoke token", "report of anna", "done")
    assert ask(api, token, "GET", "jobs")[0] == 401
    for wrong in ({"name": "x", "role": "admin"}, {"name": "x", "days": 366}, {"name": " "}):
        assert ask(api, session, "POST", "tokens", wrong)[0] == 400


def test_a_token_is_no_cookie(api: Api) -> None:
    """A page of another site can have a browser send cookies, but no header."""
    token = token_for(api, "anna", Role.ANALYST)
    for name in (b"lakehouse_session", b"__Host-lakehouse_session"):
        cookie = (b"Cookie: " + name + b"=" + token.encode(),)
        assert api.ask(Hostile("GET", b"/v1/jobs", 0, "", role="", headers=cookie))[0] == 401


BY_SESSION = [
    ("POST", "users", {"user": "x", "password": PASSWORD}),
    ("PUT", "users/anna", {"role": "admin"}),
    ("DELETE", "users/anna", None),
    ("PUT", "users/anna/password", {"password": OTHER}),
    ("POST", "password", {"present": PASSWORD, "new": OTHER}),
    ("POST", "tokens", {"name": "x"}),
    ("DELETE", "tokens/1", None),
    ("DELETE", "sessions/x", None),
    ("POST", "logout", None),
]


@pytest.mark.parametrize(
    ("method", "path", "body"), BY_SESSION, ids=[f"{method} {path}" for method, path, _ in BY_SESSION]
)
def test_a_token_makes_itself_no_more(api: Api, method: str, path: str, body: object) -> None:
    """Also an admin's: who found it cannot stay when it is revoked."""
    token = token_for(api, "admin", Role.ADMIN)
    ask(api, token, "GET", "users")  # its use is noted
    stored = api.stored()
    status, problem = ask(api, token, method, path, body)
    assert status == 403
    assert "an API token cannot do this, and this is token admin admin False: log in" in problem["detail"]
    assert api.stored() == stored
    assert audit.read(api.conn, limit=1)[0].outcome == "refused"


def test_refusals_do_not_fill_the_record(api: Api) -> None:
    """Rows are never taken away: of each action a stranger gets so many, and a user as many of their own."""
    counted = "SELECT count(*) FROM lake.audit WHERE user_name = %s AND action = 'ingest' AND outcome = 'refused'"
    for bearer, status in (("", 401), ("viewer", 403)):
        asked = {ask(api, bearer, "POST", "ingest", {"instruments": ["SBER"]})[0] for _ in range(audit.MAX_REFUSED + 9)}
        assert asked == {status}
        assert api.conn.execute(counted, (bearer,)).fetchone() == (audit.MAX_REFUSED,)
    assert ask(api, "viewer", "POST", "jobs/1/cancel")[0] == 403
    assert newest(api) == ("viewer", "", "cancel", "", "refused")


def test_a_read_only_token_changes_nothing(api: Api) -> None:
    """Whatever its owner may do."""
    token = token_for(api, "admin", Role.ADMIN, read_only=True)
    assert ask(api, token, "GET", "audit")[0] == 200
    for method, path, body in (
        ("POST", "ingest", {"instruments": ["SBER"]}),
        ("PUT", "schedules/care", {"is_on": False}),
    ):
        status, problem = ask(api, token, method, path, body)
        assert status == 403
        assert "token admin admin True of admin may only read" in problem["detail"]


def test_the_record_is_paged_for_admins(api: Api) -> None:
    """By user, action and time; the next page goes on where this one ended."""
    for number in range(5):
        audit.record(api.conn, "somebody", "try", f"{number}", {}, "done", "10.0.0.1")
    page = ask(api, "admin", "GET", "audit?user=somebody&limit=2")[1]
    assert [entry["target"] for entry in page["entries"]] == ["4", "3"]
    page = ask(api, "admin", "GET", f"audit?user=somebody&limit=4&before={page['next']}")[1]
    assert ([entry["target"] for entry in page["entries"]], page["next"]) == (["2", "1", "0"], None)
    assert len(ask(api, "admin", "GET", "audit?action=try&since=2020-01-01T00:00:00")[1]["entries"]) == 5
    assert ask(api, "admin", "GET", "audit?action=try&till=2020-01-01")[1]["entries"] == []
    today = f"{dt.datetime.now(MOSCOW):%Y-%m-%d}"
    assert len(ask(api, "admin", "GET", f"audit?action=try&since={today}&till={today}")[1]["entries"]) == 5
    assert ask(api, "admin", "GET", "audit?since=yesterday")[0] == 400
    assert ask(api, "analyst", "GET", "audit")[0] == 403


CHANGES = [
    ("POST", "users", {"user": "x", "password": PASSWORD}),
    ("PUT", "users/anna", {"role": "viewer"}),
    ("DELETE", "users/anna", None),
    ("PUT", "users/anna/password", {"password": OTHER}),
    ("POST", "tokens", {"name": "x"}),
    ("POST", "ingest", {"instruments": ["SBER"], "timeframes": ["1d"]}),
    ("PUT", "schedules/care", {"is_on": False}),
    ("POST", "jobs/redrive", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES, ids=[f"{method} {path}" for method, path, _ in CHANGES])
def test_nothing_changes_without_its_entry(api: Api, method: str, path: str, body: object) -> None:
    """A change whose entry cannot be written is not made."""
    stored = api.stored()
    api.conn.execute("ALTER TABLE lake.audit ADD CONSTRAINT full_disk CHECK (false) NOT VALID")
    try:
        assert ask(api, "admin", method, path, body)[0] == 500
    finally:
        api.conn.execute("ALTER TABLE lake.audit DROP CONSTRAINT full_disk")
    assert api.stored() == stored


def test_the_command_line_keeps_tokens_and_shows_the_record(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token is printed alone on standard output, so that a script can take it."""

    def told(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["lakehouse", *arguments])
        main()
        return capsys.readouterr().out

    monkeypatch.setenv("LAKEHOUSE_DATABASE_URL", api.dsn)
    monkeypatch.setenv("COLUMNS", "200")
    token = told("tokens", "make", "anna", "nightly report", "--role", "viewer", "--days", "7", "--read-only").strip()
    assert ask(api, token, "GET", "instruments")[0] == 200
    assert ask(api, token, "GET", "jobs")[0] == 403
    line = next(line for line in told("tokens").splitlines() if "nightly report" in line)
    assert "viewer, only reads" in line
    assert told("tokens", "revoke", line.split()[0]) == "the token nightly report of anna is revoked\n"
    assert ask(api, token, "GET", "instruments")[0] == 401
    assert "revoke token  nightly report of anna  done" in " ".join(told("audit", "--limit", "1").split(" "))
    (entry,) = json.loads(told("audit", "--action", "revoke token", "--limit", "1", "--json"))
    assert (entry["user"][:4], entry["target"], entry["outcome"]) == ("cli:", "nightly report of anna", "done")


def test_a_removed_user_is_out_at_once(api: Api) -> None:
    """With every session and token."""
    session, token = entered(api), token_for(api, "anna", Role.ANALYST)
    assert ask(api, "admin", "DELETE", "users/anna")[0] == 200
    assert [ask(api, each, "GET", "instruments")[0] for each in (session, token)] == [401, 401]
    assert sessions.list_sessions(api.conn, "anna") == []
