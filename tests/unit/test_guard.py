"""What passes the guard of the web process, and what each answer carries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, Router
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from gradio_app.guard import Guard, is_own
from gradio_app.session import Pool
from lakehouse.access.roles import Role

OWN, OTHER = "http://127.0.0.1:8000", "http://127.0.0.1:8001"
NO_POOL = cast(Pool, None)  # these paths are open: nobody's session is looked up


def asked(method: str, headers: dict[str, str], scheme: str = "http", host: str = "127.0.0.1:8000") -> Request:
    """Return a request to the platform."""
    raw = [(name.encode(), value.encode()) for name, value in {"host": host, **headers}.items()]
    scope = {"type": "http", "method": method, "scheme": scheme, "path": "/", "query_string": b"", "headers": raw}
    return Request(scope)


@pytest.mark.parametrize(
    ("method", "headers", "is_ours"),
    [
        ("POST", {}, True),  # a program
        ("POST", {"origin": OWN}, True),
        ("POST", {"origin": OWN, "sec-fetch-site": "same-origin"}, True),
        ("POST", {"origin": OTHER}, False),
        ("POST", {"origin": "null"}, False),
        ("POST", {"origin": "https://127.0.0.1:8000"}, False),
        ("POST", {"origin": "http://127.0.0.1:8000.example.org"}, False),
        ("POST", {"origin": OTHER, "sec-fetch-site": "same-site"}, False),
        ("POST", {"origin": OWN, "sec-fetch-site": "same-site"}, False),
        ("POST", {"origin": OWN, "sec-fetch-site": "cross-site"}, False),
        ("POST", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, False),  # a form of another site
        ("DELETE", {"sec-fetch-site": "same-site"}, False),
        ("OPTIONS", {"origin": OTHER, "access-control-request-method": "POST"}, False),
        ("GET", {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, True),  # an address that was typed
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, True),  # a link
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, False),
        ("GET", {"origin": OTHER, "sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, False),
    ],
)
def test_only_our_own_pages_programs_and_links_get_by(method: str, headers: dict[str, str], is_ours: bool) -> None:
    """Another port of the same machine is another origin, whatever is asked of it."""
    assert is_own(asked(method, headers)) is is_ours


@pytest.mark.parametrize(
    ("scheme", "host", "origin", "is_ours"),
    [
        ("https", "lake.example.org", "https://lake.example.org", True),
        ("https", "lake.example.org:443", "https://lake.example.org", True),
        ("https", "Lake.Example.org", "https://lake.example.org", True),
        ("https", "lake.example.org", "http://lake.example.org", False),  # whoever sits on the line
        ("https", "lake.example.org:443", "https://lake.example.org:8443", False),
        ("http", "lake.example.org:80", "http://lake.example.org", True),
    ],
)
def test_the_origin_is_scheme_host_and_port(scheme: str, host: str, origin: str, is_ours: bool) -> None:
    """The port that a scheme has anyway may be said or not."""
    assert is_own(asked("POST", {"origin": origin}, scheme, host)) is is_ours


def fail(_: Request) -> Response:
    """Fail as nobody foresaw."""
    raise RuntimeError("password of the database: secret")


def break_off(_: Request) -> Response:
    """Fail in the middle of an answer."""

    def parts() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("secret")

    return StreamingResponse(parts(), media_type="text/plain")


def guarded(scheme: str = "http") -> TestClient:
    """Return a client of a small application behind the guard."""
    routes = [
        Route("/api/v1/candles", lambda _: PlainTextResponse("", headers={"cache-control": "private, no-cache"})),
        Route("/api/v1/fail", fail),
        Route("/api/v1/broken", break_off),
        Route("/login", lambda _: HTMLResponse(""), methods=["GET", "POST"]),
        Route("/static/app.css", lambda _: PlainTextResponse("", headers={"access-control-allow-origin": "*"})),
        Route("/assets/index-Ab0_-9xY.js", lambda _: PlainTextResponse("")),
    ]
    return TestClient(Guard(Router(routes), NO_POOL, {"/": Role.VIEWER}), base_url=f"{scheme}://testserver")


@pytest.mark.parametrize("path", ["/login", "/static/app.css", "/api/v1/candles", "/api/v1/none", "/api/v1/fail"])
def test_every_answer_carries_the_headers(path: str) -> None:
    """Pages, files, the API, what is not there, and what failed: none may be embedded or guessed at."""
    headers = guarded().get(path).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "unsafe" not in headers["content-security-policy"]
    assert "strict-transport-security" not in headers


def test_tls_is_kept_to_once_it_was_there() -> None:
    """HSTS is said where the browser speaks TLS; without it, it would be void."""
    assert guarded("https").get("/login").headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/login", "no-store"),
        ("/api/v1/none", "no-store"),
        ("/api/v1/candles", "private, no-cache"),
        ("/static/app.css", None),
        ("/assets/index-Ab0_-9xY.js", "public, max-age=31536000, immutable"),
        ("/assets/missing.js", None),
    ],
)
def test_nothing_that_may_hold_data_is_kept_by_browsers(path: str, kept: str | None) -> None:
    """Answers are not stored unless they say how; files that say nothing about anyone may be."""
    assert guarded().get(path).headers.get("cache-control") == kept


def test_a_failure_tells_a_stranger_nothing() -> None:
    """What went wrong is in the log; the answer says where."""
    answer = guarded().get("/api/v1/fail")

    assert (answer.status_code, "secret" in answer.text, "web.request_failed" in answer.text) == (500, False, True)


def test_an_answer_that_breaks_off_does_not_look_whole() -> None:
    """What fails after it has begun ends the connection."""
    with pytest.raises(RuntimeError, match="secret"):
        guarded().get("/api/v1/broken")


@pytest.mark.parametrize("headers", [{"content-length": str((1 << 20) + 1)}, {"transfer-encoding": "chunked"}])
def test_a_large_body_is_refused_before_it_is_read(headers: dict[str, str]) -> None:
    """No page sends more than 1 MiB, or without its length."""
    assert guarded().post("/login", headers=headers, content=iter([b"x"])).status_code == 413


def test_a_web_socket_is_closed() -> None:
    """No page has one, so nobody gets one around the checks."""
    with pytest.raises(WebSocketDisconnect) as refused, guarded().websocket_connect("/api/v1/candles"):
        pass
    assert refused.value.code == 1008
