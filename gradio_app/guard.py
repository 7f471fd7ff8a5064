"""What every request passes before a page: is it ours, is someone logged in, may they see this page."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import psycopg
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from functions.problems import CONTENT_TYPE, KIND_BY_CODE
from gradio_app.session import Pool, user_of
from lakehouse.access.roles import NotAllowed, Role, require
from lakehouse.logs import asked_by

# Files of packages and of ours that hold nothing about anyone; the functions check for themselves.
_OPEN = ("/api/", "/metrics", "/static/", "/assets/", "/login", "/favicon.ico", "/theme.css", "/manifest.json")
_AWAY = "the database does not answer: try again in some seconds; /api/v1/health says why"
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})

# Inline scripts and `new Function` are Gradio's. The rest says: nothing from elsewhere, nothing to elsewhere.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'self'; object-src 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}


class Guard:
    """
    ASGI middleware around the whole web process.

    A changing request of another origin is refused (the cookie is SameSite=Lax, but other ports of this machine are
    the same site). A page without a session leads to the login page, and anything else without one gets 401.
    *role_by_page* are the pages that not everyone may open.
    """

    def __init__(self, app: ASGIApp, pool: Pool, role_by_page: Mapping[str, Role]) -> None:
        self.app = app
        self.pool = pool
        self.role_by_page = role_by_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for the application, or hand the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = await self._refusal(Request(scope))

        async def send_with_headers(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                headers.extend((name.encode(), value.encode()) for name, value in _HEADERS.items())  # type: ignore[attr-defined]
            await send(message)

        await (refusal or self.app)(scope, receive, send_with_headers)  # type: ignore[arg-type]

    async def _refusal(self, request: Request) -> Response | None:
        if request.method in _CHANGING and not is_same_origin(request):
            return PlainTextResponse("refused: the request comes from another site", status_code=403)
        path = request.url.path
        if path.startswith(_OPEN):
            return None
        try:
            user = await run_in_threadpool(user_of, self.pool, request)
        except psycopg.OperationalError:
            return PlainTextResponse(_AWAY, status_code=503, headers={"Retry-After": "5"})
        if user is None:
            return _login_first(request)
        try:
            require(user, self.role_by_page.get(path.rstrip("/") or "/", Role.VIEWER))
        except NotAllowed as error:
            return PlainTextResponse(str(error), status_code=403)
        request.state.user = user
        asked_by(user.name)
        return None


def is_same_origin(request: Request) -> bool:
    """Whether a request comes from our own pages, or from a program (which sends no Origin)."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _login_first(request: Request) -> Response:
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(target)}", status_code=303)
    document = KIND_BY_CODE["not_logged_in"].document("log in first")
    return JSONResponse(document, status_code=401, media_type=CONTENT_TYPE, headers={"WWW-Authenticate": "Bearer"})
