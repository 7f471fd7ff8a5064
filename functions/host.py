"""
Serve the functions without AWS: an ASGI application around Chalice's own local gateway.

Routing and answers are Chalice's. Plain Chalice keeps the current request on the application object, so one process
could serve one request at a time; LocalChalice keeps it per thread. A request takes a thread when all of its body is
there, and gives it back with the answer, so neither slow clients nor the server's loop are waited for by one.

What only reads the database mostly computes, and threads of one interpreter do that one at a time: more of them make
each wait longer for its turn (benchmarks/load.py). So these requests have few threads, and all others have their own.
"""

from __future__ import annotations

import asyncio
import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from chalice.config import Config
from chalice.local import (
    ForbiddenError,
    LambdaEventConverter,
    LocalChalice,
    LocalGateway,
    RouteMatcher,
)
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from functions import problems
from functions.gateway import NO_PATH, Api, too_large
from functions.operation import BODY_BYTES, operation_of

_ADDRESS = "X-Lakehouse-Address"
_DRAINED_BYTES = 16 << 20
_TIMEOUT_S = 60
_READERS = 4


def asgi_app(app: Api, threads: int = 16) -> ASGIApp:
    """Return *app* as an ASGI application with so many *threads* for what waits, and few for what reads."""
    if not isinstance(app, LocalChalice):
        app.__class__ = type("HostedChalice", (LocalChalice, app.__class__), {"_THREAD_LOCAL": threading.local()})
    gateway = _Gateway(app, Config(config_from_disk={"lambda_timeout": _TIMEOUT_S}))
    gateway.event_converter = _Events(RouteMatcher(list(app.routes)), app.api.binary_types)
    reading = _reading(app)
    readers = ThreadPoolExecutor(min(_READERS, threads), thread_name_prefix="readers")
    others = ThreadPoolExecutor(threads, thread_name_prefix="functions")

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await _body(receive)
        except ClientDisconnect:
            return
        executor = readers if scope["method"] == "GET" and _path(scope) in reading else others
        status, headers, content = await asyncio.get_running_loop().run_in_executor(
            executor, copy_context().run, _respond, gateway, scope, body
        )
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        if status != HTTPStatus.NOT_MODIFIED:  # there it would speak of the answer that the client has
            raw.append((b"content-length", b"%d" % len(content)))
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": content})

    return respond


class _Gateway(LocalGateway):
    """Answers OPTIONS as any method that a path does not take: nothing here may be asked from another origin."""

    def _has_user_defined_options_method(self, lambda_event: dict[str, Any]) -> bool:
        return True


class _Events(LambdaEventConverter):
    """Names the client's address where API Gateway does, in the place of Chalice's constant."""

    def create_lambda_event(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> dict[str, Any]:
        others = {name: value for name, value in headers.items() if name != _ADDRESS}
        event: dict[str, Any] = super().create_lambda_event(method, path, others, body)
        event["requestContext"]["identity"]["sourceIp"] = headers[_ADDRESS]
        return event


def _reading(app: Api) -> frozenset[str]:
    """Return the paths whose GET asks the database and waits for nothing else."""
    views = {path: methods["GET"].view_function for path, methods in app.routes.items() if "GET" in methods}
    return frozenset(path for path, view in views.items() if operation_of(view).holds_connection)


def _path(scope: Scope) -> str:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path


def _respond(gateway: LocalGateway, scope: Scope, body: bytes | None) -> tuple[int, list[tuple[str, str]], bytes]:
    if body is None:
        return _refusal(413, *too_large(BODY_BYTES))
    path = _path(scope)
    if path.startswith("//"):  # what Chalice's router takes for the name of a server, and skips
        return _refusal(404, *NO_PATH)
    query = scope["query_string"].decode("latin-1")
    # The server took the percent-encoding off: without it a ? or # of the path would begin another part
    target = quote(path) + (f"?{query}" if query else "")
    try:
        answer = gateway.handle_request(scope["method"], target, _headers(scope), body)
    except ForbiddenError:
        # What API Gateway says of a path that no route has; there are no authorizers here that could forbid one.
        return _refusal(404, *NO_PATH)
    return answer["statusCode"], _answer_headers(answer), _answer_body(answer)


async def _body(receive: Receive) -> bytes | None:
    """
    Return the body; None if it is larger than is taken.

    Of such a one some more is read: a client that is cut off while it sends does not hear why. What a client that
    went away left unfinished is nobody's request: ClientDisconnect.
    """
    parts: list[bytes] = []
    size = 0
    while size <= _DRAINED_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        size += len(part)
        if size <= BODY_BYTES:
            parts.append(part)
        if not message.get("more_body"):
            break
    return b"".join(parts) if size <= BODY_BYTES else None


def _refusal(status: int, code: str, detail: str) -> tuple[int, list[tuple[str, str]], bytes]:
    return status, [("Content-Type", problems.CONTENT_TYPE)], problems.text(code, detail).encode()


_JSON = ("Content-Type", "application/json")


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1").title()
        # Chalice takes them for ASCII when it refuses a path
        text = value.decode("ascii", "replace").replace("\ufffd", "?")
        headers[name] = f"{headers[name]},{text}" if name in headers else text
    headers[_ADDRESS] = (scope.get("client") or [""])[0]  # ours: what a client sent under the name is gone
    return headers


def _answer_headers(answer: dict[str, Any]) -> list[tuple[str, str]]:
    headers = [(name, str(value)) for name, value in (answer.get("headers") or {}).items()]
    for name, values in (answer.get("multiValueHeaders") or {}).items():
        headers += [(name, str(value)) for value in values]
    is_told = answer["statusCode"] == HTTPStatus.NOT_MODIFIED or any(
        name.lower() == "content-type" for name, _ in headers
    )
    return headers if is_told else [*headers, _JSON]


def _answer_body(answer: dict[str, Any]) -> bytes:
    body = answer["body"] or b""
    if answer.get("isBase64Encoded"):
        return base64.b64decode(body)
    return body.encode() if isinstance(body, str) else body
