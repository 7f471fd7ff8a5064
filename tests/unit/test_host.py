"""The functions without AWS answer as an API should."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from chalice.app import Chalice
from starlette.types import ASGIApp

from functions import context
from functions.app import app
from functions.gateway import Api
from functions.host import asgi_app
from functions.operation import Call, operation
from functions.requests import address_of


def ask(app: Api, path: str, headers: dict[bytes, bytes], *parts: bytes) -> tuple[int, Any]:
    """Send a request whose body comes in *parts*; return status and document."""
    return asyncio.run(_ask(asgi_app(app), path, headers, *parts))


async def _ask(application: ASGIApp, path: str, headers: dict[bytes, bytes], *parts: bytes) -> tuple[int, Any]:
    sent: list[Any] = []
    waiting = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})
    scope = {
        "type": "http",
        "method": "POST" if parts else "GET",
        "path": path,
        "query_string": b"",
        "headers": list(headers.items()),
        "client": ("192.0.2.7", 4711),
    }

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_what_reads_waits_for_nothing_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many statements of SQL or stores are waited for, a page of candles is read meanwhile."""
    small, is_over = Api("small"), threading.Event()

    @small.route("/wait")
    @operation(None, "wait", holds_connection=False)
    def wait(_: Call) -> object:
        return {"is_over": is_over.wait(600)}

    @small.route("/read")
    @operation(None, "read")
    def read(_: Call) -> object:
        return {}

    async def answered() -> Any:
        application = asgi_app(small, threads=2)
        waits = [asyncio.create_task(_ask(application, "/wait", {})) for _ in range(8)]
        await asyncio.sleep(0)
        try:
            return await asyncio.wait_for(_ask(application, "/read", {}), 300)
        finally:
            is_over.set()
            assert await asyncio.gather(*waits) == [(200, {"is_over": True})] * 8

    monkeypatch.delenv("LAKEHOUSE_DATABASE_URL", raising=False)
    for kept in (context.settings, context.api_pool):
        kept.cache_clear()
    status, said = asyncio.run(answered())
    assert (status, said["detail"]) == (400, "LAKEHOUSE_DATABASE_URL is not set: functions need a database")


def test_an_unknown_path_is_not_found() -> None:
    """A path that no route has is 404 in the API's own words, with a token or without."""
    for headers in ({}, {b"authorization": b"Bearer x"}):
        status, document = ask(app, "/v1/nothing", headers)
        assert (status, document["code"]) == (404, "not_found")


def test_a_body_too_large_is_refused_when_it_was_sent() -> None:
    """A client that says no length and sends too much hears why; what it sent is not kept."""
    status, document = ask(app, "/v1/ingest", {}, *[b"x" * (1 << 16)] * 40)
    assert (status, document["code"]) == (413, "too_large")


def test_a_client_cannot_name_its_own_address() -> None:
    """The address that logins are throttled by is the connection's, whatever the client's headers say."""
    small = Api("small")

    @small.route("/where")
    @operation(None, "say where from", holds_connection=False)
    def where(call: Call) -> object:
        return {"address": call.address}

    claims = {b"x-lakehouse-address": b"10.0.0.1", b"x-forwarded-for": b"10.0.0.1"}
    assert ask(small, "/where", claims) == (200, {"address": "192.0.2.7"})


def test_behind_api_gateway_the_address_is_the_gateways() -> None:
    """On AWS no header of ours is believed: a client could send it."""
    small = Chalice("small")

    @small.route("/where")
    def where() -> dict[str, str]:
        assert small.current_request is not None
        return {"address": address_of(small.current_request)}

    event = {
        "requestContext": {"resourcePath": "/where", "httpMethod": "GET", "identity": {"sourceIp": "192.0.2.7"}},
        "headers": {"x-lakehouse-address": "10.0.0.1"},
        "multiValueQueryStringParameters": None,
        "pathParameters": {},
        "stageVariables": {},
        "body": None,
    }
    assert json.loads(small(event, None)["body"]) == {"address": "192.0.2.7"}
