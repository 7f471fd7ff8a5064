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

from chalice.app import Chalice
from chalice.config import Config
from chalice.local import ForbiddenError, LocalChalice, LocalGateway, LocalGatewayException

MAX_BODY_BYTES = 1 << 20
_TIMEOUT_S = 60

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def wsgi_app(app: Chalice) -> Wsgi:
    """Return *app* as a WSGI callable for a server with many threads."""
    if not isinstance(app, LocalChalice):
        app.__class__ = type("HostedChalice", (LocalChalice, app.__class__), {"_THREAD_LOCAL": threading.local()})
    gateway = LocalGateway(app, Config(config_from_disk={"lambda_timeout": _TIMEOUT_S}))

    def respond(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, headers, body = _respond(gateway, environ)
        reason = HTTPStatus(status).phrase
        start_response(f"{status} {reason}", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    return respond


def _respond(gateway: LocalGateway, environ: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > MAX_BODY_BYTES:
        return 413, [_JSON], b'{"code":"too_large","message":"the body is larger than 1 MiB"}'
    query = environ.get("QUERY_STRING")
    path = environ["PATH_INFO"] + (f"?{query}" if query else "")
    body = environ["wsgi.input"].read(length) if length else b""
    try:
        answer = gateway.handle_request(environ["REQUEST_METHOD"], path, _headers(environ), body)
    except ForbiddenError:
        # What API Gateway says of a path that no route has; there are no authorizers here that could forbid one.
        return 404, [_JSON], b'{"code":"not_found","message":"there is no such path under /v1"}'
    except LocalGatewayException as error:
        return error.CODE, list(error.headers.items()), _gateway_error(error)
    return answer["statusCode"], _answer_headers(answer), _answer_body(answer)


_JSON = ("Content-Type", "application/json")


def _headers(environ: dict[str, Any]) -> dict[str, str]:
    headers = {name[5:].replace("_", "-").title(): value for name, value in environ.items() if name.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        headers["Content-Type"] = environ["CONTENT_TYPE"]
    headers["X-Lakehouse-Address"] = environ.get("REMOTE_ADDR", "")  # ours: what a client sent under the name is gone
    return headers


def _gateway_error(error: LocalGatewayException) -> bytes:
    return bytes(error.body or b"")


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
