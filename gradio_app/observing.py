"""What every request to the web process leaves behind: an id, a line in the log, and its place in the metrics."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterable

import structlog
from chalice.app import Chalice
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lakehouse.logs import Asked, asking, request_id

log = structlog.get_logger()

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TEMPLATE = re.compile(r"\\{\w+\\}")

Naming = Callable[[str, str], str]


class HttpMetrics:
    """Requests to this process, counted in it: it lives long, and is one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the process tells when it began
        self.requests = Counter(
            "lakehouse_http_requests",
            "Requests to the web process, by operation and class of status.",
            ("operation", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "lakehouse_http_request_duration_seconds",
            "Seconds until the answer to a request began.",
            ("operation",),
            buckets=_SECONDS,
            registry=registry,
        )


class Observed:
    """
    ASGI middleware around all others.

    A request keeps the id that it brings in ``X-Request-Id``, if it is well-formed, and gets one otherwise; the answer
    names it, and so does every line that is logged meanwhile.
    """

    def __init__(self, app: ASGIApp, metrics: HttpMetrics, operation_of: Naming) -> None:
        self.app, self.metrics, self.operation_of = app, metrics, operation_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, and write down what came of it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        asked = Asked(request_id(given.decode("latin-1")) or uuid.uuid4().hex)
        operation = self.operation_of(scope["method"], scope["path"])
        began, status, seconds = time.perf_counter(), 500, 0.0

        async def send_named(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], time.perf_counter() - began
                message["headers"] = [*message["headers"], (b"x-request-id", asked.request_id.encode())]
            await send(message)

        with asking(asked):
            try:
                await self.app(scope, receive, send_named)
            finally:
                seconds = seconds or time.perf_counter() - began
                self.metrics.requests.labels(operation, f"{status // 100}xx").inc()
                self.metrics.seconds.labels(operation).observe(seconds)
                log.info(
                    "http.answered",
                    user=asked.user,
                    operation=operation,
                    status=status,
                    milliseconds=round(seconds * 1000, 1),
                )


def naming(functions: Chalice, pages: Iterable[str]) -> Naming:
    """
    Return what names the operation of a request: its method and the template of its path.

    What is no operation of ours is named by its kind, so that nobody can make names without end.
    """
    exact = {f"/api{path}" for path in functions.routes if "{" not in path} | {"/metrics", "/login", "/logout", *pages}
    templates = [
        (re.compile(_TEMPLATE.sub("[^/]+", re.escape(f"/api{path}"))), f"/api{path}")
        for path in functions.routes
        if "{" in path
    ]

    def operation_of(method: str, path: str) -> str:
        method = method if method in _METHODS else "OTHER"
        if path in exact:
            return f"{method} {path}"
        if path.startswith("/api/"):
            found = next((template for pattern, template in templates if pattern.fullmatch(path)), None)
            return f"{method} {found}" if found else "unknown"
        if path.startswith(("/static/", "/assets/", "/favicon", "/theme", "/manifest")):
            return "files"
        return "callbacks" if path.startswith("/gradio_api/") else "other"

    return operation_of
