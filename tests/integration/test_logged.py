"""What the functions write into their log, as a process: who asked what, and never a secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from lakehouse.database.runner import EmbeddedPostgres
from tests.functions_api import Api, served_functions
from tests.hostile_requests import JSON, Hostile

pytestmark = pytest.mark.postgres
STORAGE_TOKEN = "the token of a store"


@pytest.fixture(scope="module")
def api(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    more = {"LAKEHOUSE_LOG_LEVEL": "debug", "LAKEHOUSE_LOG_FORMAT": "json", "LAKEHOUSE_STORAGE_TOKEN": STORAGE_TOKEN}
    with served_functions(postgres, tmp_path_factory.mktemp("logged"), more=more) as served:
        yield served


def lines(api: Api) -> list[dict[str, Any]]:
    return [json.loads(line) for line in api.logged().decode().splitlines()]


def test_each_request_leaves_one_line(api: Api) -> None:
    """With its id, which the answer has as well, the user, the operation, the status and the time it took."""
    asked = Hostile("GET", b"/v1/jobs/77", 404, "", role="admin", headers=(b"X-Request-Id: mine.1",))
    status, headers, _ = api.ask_whole(asked)
    assert (status, headers["x-request-id"]) == (404, "mine.1")
    (line,) = [line for line in lines(api) if line.get("request_id") == "mine.1"]
    assert line["milliseconds"] > 0
    assert {name: line[name] for name in ("event", "user", "operation", "status")} == {
        "event": "http.answered",
        "user": "admin",
        "operation": "GET /v1/jobs/{job_id}",
        "status": 404,
    }


def test_what_is_secret_stands_in_no_line(api: Api) -> None:
    """Passwords that are right and wrong, tokens, and the database's own; whatever is refused or breaks."""
    login = b'{"user": "admin", "password": "%s"}'
    tries = [
        Hostile("POST", b"/v1/login", 200, "", login % b"a long password", headers=(JSON,)),
        Hostile("POST", b"/v1/login", 401, "", login % b"another password", headers=(JSON,)),
        Hostile("POST", b"/v1/login", 400, "", b'{"user": "admin", "password": 12345678', headers=(JSON,)),
        Hostile("POST", b"/v1/events/storage", 401, "", b"{}", headers=(JSON, b"Authorization: Bearer a-wrong-token")),
        Hostile(
            *("POST", b"/v1/events/storage", 400, "", b"{}"),
            headers=(JSON, b"Authorization: Bearer " + STORAGE_TOKEN.encode()),
        ),
        Hostile("GET", b"/v1/candles?secid=NOPE", 400, "", role="viewer"),
    ]
    answers = [api.ask(each) for each in tries]
    api.conn.execute("ALTER TABLE gold.publication RENAME TO gone")
    try:
        assert api.ask(Hostile("GET", b"/v1/candles?secid=SBER", 500, "", role="viewer"))[0] == 500
    finally:
        api.conn.execute("ALTER TABLE gold.gone RENAME TO publication")
    said = api.logged().decode()
    assert "UndefinedTable" in said
    secrets = ["a long password", "another password", "12345678", "a-wrong-token", STORAGE_TOKEN]
    secrets += [*api.tokens.values(), json.loads(answers[0][1])["token"], str(conninfo_to_dict(api.dsn)["password"])]
    assert [secret for secret in secrets if secret in said] == []
    assert all(isinstance(line["event"], str) for line in lines(api))
