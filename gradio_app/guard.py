"""What every request passes before a page: is it ours, is someone logged in, may they see this page."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from urllib.parse import quote

import psycopg
import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions.problems import CONTENT_TYPE, KIND_BY_CODE
from gradio_app.headers import cache_control, headers_for
from gradio_app.session import Pool, user_of
from lakehouse.access.roles import NotAllowed, Role, require
from lakehouse.logs import asked_by

log = structlog.get_logger()

# Files of packages and of ours that hold nothing about anyone; the functions and the metrics check for themselves.
_OPEN_FOLDERS = ("/api/", "/static/", "/assets/")
_OPEN = frozenset({"/login", "/metrics", "/favicon.ico", "/theme.css", "/manifest.json"})
# What pages ask of Gradio and of us. The rest of Gradio (uploads, files, proxy, streams, monitoring, runs by name) is
# not there: what nobody uses needs no protection.
_ASKED_BY_PAGES = frozenset(
    {
        "/session",
        "/logout",
        "/config",
        "/gradio_api/queue/join",
        "/gradio_api/queue/data",
        "/gradio_api/reset",
        "/gradio_api/cancel",
    }
)
_ASKED_FOLDERS = ("/gradio_api/heartbeat/",)
_MAX_BODY_BYTES = 1 << 20  # of what pages send; the functions have limits of their own
_AWAY = "the database does not answer: try again in some seconds; /api/v1/health says why"
_FAILED = "the platform failed at this: try again; an admin finds why in logs/web.log under web.request_failed"
_SAFE = frozenset({"GET", "HEAD"})
_DEFAULT_PORT = {"http": ":80", "https": ":443"}


class Guard:
    """
    ASGI middleware around the whole web process.

    What a browser sends for a page of another origin is refused: other ports of this machine are the same site to the
    cookie. A page without a session leads to the login page, and anything else without one gets 401. What is neither
    a page nor asked by one is not there. *role_by_page* are all pages.
    """

    def __init__(self, app: ASGIApp, pool: Pool, role_by_page: Mapping[str, Role]) -> None:
        self.app = app
        self.pool = pool
        self.role_by_page = role_by_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for the application, or hand the request on."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # no page has one
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        path, is_begun = request.url.path, False
        nonce = secrets.token_urlsafe(16) if _page(path) in self.role_by_page else None
        request.state.nonce = nonce

        async def send_with_headers(message: Message) -> None:
            nonlocal is_begun
            if message["type"] == "http.response.start":
                is_begun = True
                headers = MutableHeaders(raw=message["headers"])
                headers.update(headers_for(path, nonce, is_tls=request.url.scheme == "https"))
                if kept := cache_control(path, message["status"]):
                    headers.setdefault("cache-control", kept)
            await send(message)

        try:
            refusal = await self._refusal(request)
            await (refusal or self.app)(scope, receive, send_with_headers)
        except Exception:
            log.exception("web.request_failed", method=request.method, path=path)
            if is_begun:
                raise  # the server closes the connection
            await PlainTextResponse(_FAILED, status_code=500)(scope, receive, send_with_headers)

    async def _refusal(self, request: Request) -> Response | None:
        path = request.url.path
        if not is_own(request):
            return _foreign(path)
        if not path.startswith("/api/") and not _has_small_body(request):
            return PlainTextResponse("refused: the body is larger than 1 MiB, or does not say its length", 413)
        if path.startswith(_OPEN_FOLDERS) or path in _OPEN:
            return None
        try:
            user = await run_in_threadpool(user_of, self.pool, request)
        except psycopg.OperationalError:
            return PlainTextResponse(_AWAY, status_code=503, headers={"Retry-After": "5"})
        if user is None:
            return _login_first(request)
        if _page(path) not in self.role_by_page and path not in _ASKED_BY_PAGES and not path.startswith(_ASKED_FOLDERS):
            return PlainTextResponse("there is no such page", status_code=404)
        try:
            require(user, self.role_by_page.get(_page(path), Role.VIEWER))
        except NotAllowed as error:
            return PlainTextResponse(str(error), status_code=403)
        request.state.user = user
        asked_by(user.name)
        return None


def _foreign(path: str) -> Response:
    told = "refused: the request comes from another site"
    if path.startswith("/api/"):
        return JSONResponse(KIND_BY_CODE["not_allowed"].document(told), status_code=403, media_type=CONTENT_TYPE)
    return PlainTextResponse(told, status_code=403)


def is_own(request: Request) -> bool:
    """
    Whether a request comes from our own pages, from somebody who follows a link, or from a program.

    Browsers say which in Sec-Fetch-Site and Origin, which no page can change; programs send neither. Browsers too old
    for the first send the second wherever something may be changed. Behind a proxy, scheme and host are those that the
    browser asked.
    """
    site = request.headers.get("sec-fetch-site", "none")
    is_link = request.method in _SAFE and request.headers.get("sec-fetch-mode") == "navigate"
    if site not in ("none", "same-origin") and not is_link:
        return False
    origin = request.headers.get("origin")
    return origin is None or origin == _origin(request)


def _origin(request: Request) -> str:
    scheme, host = request.url.scheme, request.headers.get("host", "")
    return f"{scheme}://{host.lower().removesuffix(_DEFAULT_PORT[scheme])}"


def _has_small_body(request: Request) -> bool:
    if "transfer-encoding" in request.headers:
        return False
    return int(request.headers.get("content-length") or 0) <= _MAX_BODY_BYTES


def _page(path: str) -> str:
    return path.rstrip("/") or "/"


def _login_first(request: Request) -> Response:
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(target)}", status_code=303)
    document = KIND_BY_CODE["not_logged_in"].document("log in first")
    return JSONResponse(document, status_code=401, media_type=CONTENT_TYPE, headers={"WWW-Authenticate": "Bearer"})
