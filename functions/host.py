"""
Serve the functions without AWS: a WSGI callable around Chalice's own local gateway.

Routing and answers are Chalice's. Plain Chalice keeps the current request on the application object, so one process
could serve one request at a time; LocalChalice keeps it per thread.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from chalice.app import Chalice
from chalice.config import Config
from chalice.local import (
    ForbiddenError,
    LambdaEventConverter,
    LocalChalice,
    LocalGateway,
    RouteMatcher,
)

from functions import problems
from functions.gateway import NO_PATH, too_large
from functions.operation import BODY_BYTES

_ADDRESS = "X-Lakehouse-Address"
_DRAINED_BYTES = 16 << 20
_TIMEOUT_S = 60

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def wsgi_app(app: Chalice) -> Wsgi:
    """Return *app* as a WSGI callable for a server with many threads."""
    if not isinstance(app, LocalChalice):
        app.__class__ = type("HostedChalice", (LocalChalice, app.__class__), {"_THREAD_LOCAL": threading.local()})
    gateway = _Gateway(app, Config(config_from_disk={"lambda_timeout": _TIMEOUT_S}))
    gateway.event_converter = _Events(RouteMatcher(list(app.routes)), app.api.binary_types)

    def respond(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, headers, body = _respond(gateway, environ)
        reason = HTTPStatus(status).phrase
        start_response(f"{status} {reason}", [*headers, ("Content-Length", str(len(body)))])
        return [body]

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


def _respond(gateway: LocalGateway, environ: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
    body = _body(environ)
    if body is None:
        return _refusal(413, *too_large(BODY_BYTES))
    if environ["PATH_INFO"].startswith("//"):  # what Chalice's router takes for the name of a server, and skips
        return _refusal(404, *NO_PATH)
    query = environ.get("QUERY_STRING")
    # The server took the percent-encoding off: without it a ? or # of the path would begin another part
    path = quote(environ["PATH_INFO"].encode("latin-1")) + (f"?{query}" if query else "")
    try:
        answer = gateway.handle_request(environ["REQUEST_METHOD"], path, _headers(environ), body)
    except ForbiddenError:
        # What API Gateway says of a path that no route has; there are no authorizers here that could forbid one.
        return _refusal(404, *NO_PATH)
    return answer["statusCode"], _answer_headers(answer), _answer_body(answer)


def _body(environ: dict[str, Any]) -> bytes | None:
    """Return the body, also one whose length nobody said; None if it is larger than is taken."""
    stream, length = environ["wsgi.input"], environ.get("CONTENT_LENGTH")
    if length and length.isascii() and length.isdigit() and len(length) < 18:
        if int(length) <= BODY_BYTES:
            return bytes(stream.read(int(length))) if int(length) else b""
        _drain(stream)
        return None
    if not length and not environ.get("HTTP_TRANSFER_ENCODING"):
        return b""
    found = bytes(stream.read(BODY_BYTES + 1))
    if len(found) <= BODY_BYTES:
        return found
    _drain(stream)
    return None


def _drain(stream: Any) -> None:
    """Read on a little: a client that is cut off while it sends does not hear why."""
    left = _DRAINED_BYTES
    while left > 0 and (part := stream.read(1 << 16)):
        left -= len(part)


def _refusal(status: int, code: str, detail: str) -> tuple[int, list[tuple[str, str]], bytes]:
    return status, [("Content-Type", problems.CONTENT_TYPE)], problems.text(code, detail).encode()


_JSON = ("Content-Type", "application/json")


def _headers(environ: dict[str, Any]) -> dict[str, str]:
    headers = {name[5:].replace("_", "-").title(): value for name, value in environ.items() if name.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        headers["Content-Type"] = environ["CONTENT_TYPE"]
    # Chalice takes them for ASCII when it refuses a path
    headers = {name: value.encode("ascii", "replace").decode() for name, value in headers.items()}
    headers[_ADDRESS] = environ.get("REMOTE_ADDR", "")  # ours: what a client sent under the name is gone
    return headers


def _answer_headers(answer: dict[str, Any]) -> list[tuple[str, str]]:
    headers = [(name, str(value)) for name, value in (answer.get("headers") or {}).items()]
    for name, values in (answer.get("multiValueHeaders") or {}).items():
        headers += [(name, str(value)) for value in values]
    return headers if any(name.lower() == "content-type" for name, _ in headers) else [*headers, _JSON]


def _answer_body(answer: dict[str, Any]) -> bytes:
    body = answer["body"] or b""
    if answer.get("isBase64Encoded"):
        return base64.b64decode(body)
    return body.encode() if isinstance(body, str) else body
