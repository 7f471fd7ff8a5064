"""Every operation, route and callback, asked by every role and by nobody, against the table written by hand."""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
import pytest
from psycopg import Connection

from functions.app import app as functions_app
from infra import access
from lakehouse.access.roles import Role, User
from lakehouse.access.sessions import mint
from lakehouse.access.tokens import make_token
from lakehouse.access.users import create_user
from lakehouse.database.connection import connect
from lakehouse.database.runner import EmbeddedPostgres
from tests.access_matrix import ANSWERED, ASKING, NOT_THERE, REFUSED, Expected, read_matrix
from tests.browser.running import web_process
from tests.functions_api import Api
from tests.killing import copied_database

pytestmark = pytest.mark.postgres

MATRIX = read_matrix()
OPERATIONS = {f"{method} {path}": declared for method, path, declared in access.operations(functions_app)}
NO_ROLE = ("this needs the role", "log in first")


@dataclass(frozen=True)
class Web:
    """A web process, and who may ask it."""

    address: str
    conn: Connection[Any]
    users: Mapping[str, User]
    tokens: Mapping[str, str]

    def stored(self) -> str:
        """Return what may not change of all tables; when a token was used may be written down."""
        self.conn.execute("UPDATE lake.api_token SET used_at = NULL")
        return Api(0, "", self.conn, {}, bytes).stored()

    def headers_of(self, who: str) -> dict[str, str]:
        """Return what *who* sends: a session just begun in a cookie, as browsers do, or a token, as programs do."""
        if who == "nobody":
            return {}
        if who in self.tokens:
            return {"Authorization": f"Bearer {self.tokens[who]}"}
        return {"Cookie": f"lakehouse_session={mint(self.conn, self.users[who], dt.timedelta(minutes=5))}"}

    @contextmanager
    def asked(self, request: str, headers: Mapping[str, str], body: bytes | None = None) -> Iterator[HTTPResponse]:
        """Give the answer to ``METHOD path``; what streams without end is left after its head."""
        method, path = request.split(" ", 1)
        connection = HTTPConnection(self.address, timeout=300)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **headers})
            yield connection.getresponse()
        finally:
            connection.close()

    def status(self, request: str, headers: Mapping[str, str], body: bytes | None = None) -> int:
        """Return the status of the answer."""
        with self.asked(request, headers, body) as answer:
            return answer.status

    def call_back(self, number: int, inputs: list[Any], headers: Mapping[str, str]) -> str:
        """Call a page's callback as a script would; return all that came of it."""
        session = uuid.uuid4().hex
        call = {"data": inputs, "fn_index": number, "session_hash": session, "event_data": {}}
        with self.asked("POST /gradio_api/queue/join", headers, json.dumps(call).encode()) as answer:
            if answer.status != 200:
                return NO_ROLE[1] if answer.status == 401 else f"status {answer.status}"
        with self.asked(f"GET /gradio_api/queue/data?session_hash={session}", headers) as answer:
            return answer.read().decode()

    def refusals(self) -> list[tuple[Any, ...]]:
        """Return user and action of what was refused, as the audit record has it."""
        return self.conn.execute(
            "SELECT user_name, action FROM lake.audit WHERE outcome = 'refused' ORDER BY audit_id"
        ).fetchall()


@pytest.fixture(scope="module")
def web(postgres: EmbeddedPostgres, migrated_database: str, open_folder: Path) -> Iterator[Web]:
    """A web process over an empty platform with a user of each role."""
    with (
        copied_database(postgres.dsn, migrated_database) as dsn,
        connect(dsn) as conn,
        pytest.MonkeyPatch.context() as environment,
    ):
        users = {str(role): create_user(conn, str(role), "a long password", role) for role in Role}
        tokens = {who: make_token(conn, users["admin"], who, read_only=who == "reading").text for who in ASKING[4:]}
        environment.setenv("LAKEHOUSE_STORAGE_TOKEN", "which the object store alone knows")
        with web_process(dsn, open_folder / "matrix") as url:
            yield Web(urlsplit(url).netloc, conn, users, tokens)


def filled(request: str) -> str:
    """Return a route with something in each place of its path that is not there."""
    return re.sub(r"\{[^}]*\}", "999999", request)


def mark_of(status: int) -> str:
    """Return the mark of an answer's status."""
    assert status < 500 or status == 501, status
    return REFUSED if status in (401, 403) else NOT_THERE if status == 404 else ANSWERED


@pytest.mark.parametrize("route", MATRIX["api"])
def test_an_operation_answers_whom_it_must_and_changes_nothing_for_others(web: Web, route: str) -> None:
    """Who may not ask gets 401 or 403, nothing is stored, and what would have been an action is on the record."""
    expected, declared = MATRIX["api"][route], OPERATIONS[route]
    request, before = filled(route.replace(" ", " /api", 1)), len(web.refusals())
    headers = {who: web.headers_of(who) for who in ASKING}
    content = {"Content-Type": declared.content_type}
    stored = web.stored()

    refused = {who: web.status(request, headers[who] | content, b"{}") for who in ASKING if expected[who] == REFUSED}
    assert web.stored() == stored
    answered = {who: web.status(request, headers[who] | content, b"{}") for who in ASKING if who not in refused}

    # What a path names is not there (404); that is an answer, too
    assert {who: mark_of(status).replace(NOT_THERE, ANSWERED) for who, status in answered.items()} == allowed(expected)
    assert {who: mark_of(status) for who, status in refused.items()} == dict.fromkeys(refused, REFUSED)
    assert refused.get("nobody", 401) == 401
    if declared.action and declared.role is not None:
        assert [action for _, action in web.refusals()[before:]] == [declared.action] * len(refused)


def allowed(expected: Expected) -> dict[str, str]:
    """Return who is answered."""
    return {who: mark for who, mark in expected.items() if mark == ANSWERED}


@pytest.mark.parametrize("route", MATRIX["web"])
def test_a_route_answers_whom_it_must(web: Web, route: str) -> None:
    """Pages, files and Gradio's endpoints answer whom they must; what no page uses is not there for anyone."""
    expected = MATRIX["web"][route]
    is_file = route.endswith(("/static/{name}", "/static/{path:path}", "/assets/{path:path}"))  # 404: no such file

    content, body = {"Content-Type": "application/x-www-form-urlencoded"}, b"name=viewer&password=a+long+password"

    found = {who: mark_of(web.status(filled(route), web.headers_of(who) | content, body)) for who in ASKING}

    assert {who: ANSWERED if is_file and mark == NOT_THERE else mark for who, mark in found.items()} == expected


@pytest.fixture(scope="module")
def callbacks() -> dict[str, tuple[int, list[Any]]]:
    """Number of each callback and what it is called with, by name."""
    blocks = access.unconnected_pages()
    return {
        callback.__qualname__: (
            number,
            [[] if isinstance(part, gr.CheckboxGroup) else None for part in blocks.fns[number].inputs],
        )
        for number, callback in access.callbacks(blocks)
    }


@pytest.mark.parametrize("name", MATRIX["callbacks"])
def test_a_callback_answers_whom_it_must_and_changes_nothing_for_others(
    web: Web, callbacks: dict[str, tuple[int, list[Any]]], name: str
) -> None:
    """A page that hides a button is no control: called directly, the callback refuses, and the record says so."""
    expected, before, stored = MATRIX["callbacks"][name], len(web.refusals()), web.stored()
    refused = [who for who in ASKING if expected[who] == REFUSED]

    said = {who: web.call_back(*callbacks[name], web.headers_of(who)) for who in refused}
    assert {who: any(text in said[who] for text in NO_ROLE) for who in refused} == dict.fromkeys(refused, True)
    assert web.stored() == stored
    roles = [who for who in refused if who in web.users]
    assert [user for user, _ in web.refusals()[before:]] == roles

    answers = {who: web.call_back(*callbacks[name], web.headers_of(who)) for who in allowed(expected)}
    assert {who: any(text in said for text in NO_ROLE) for who, said in answers.items()} == dict.fromkeys(
        answers, False
    )
    assert all('"msg":"process_completed"' in said for said in answers.values())
