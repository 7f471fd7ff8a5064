"""The login page and logging out."""

from __future__ import annotations

import html
from pathlib import Path
from string import Template
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from functions.requests import DEVICE, SESSION, cookie_of, login_cookies, set_cookie
from gradio_app.session import Pool, address_of
from lakehouse.access import sessions
from lakehouse.access.throttle import TooManyAttempts
from lakehouse.market.errors import LakehouseError, NotNow

_PAGE = Template((Path(__file__).parent / "static" / "login.html").read_text(encoding="utf-8"))


def routes(pool: Pool) -> APIRouter:
    """Return the routes /login and /logout."""
    router = APIRouter()

    @router.get("/login", response_class=HTMLResponse)
    def show(request: Request, lang: str = "", next: str = "/") -> Response:
        return _page(lang or _language(request), next)

    @router.post("/login", response_class=HTMLResponse)
    def log_in(
        request: Request,
        name: str = Form(""),
        password: str = Form(""),
        next: str = Form("/"),
        lang: str = Form("en"),
    ) -> Response:
        with pool.connection() as conn:
            try:
                session = sessions.login(
                    conn,
                    name,
                    password,
                    address_of(request),
                    device=cookie_of(request.headers, DEVICE),
                    program=request.headers.get("user-agent", ""),
                )
            except LakehouseError as error:
                return _page(lang, next, name=name, error=error)
        answer = RedirectResponse(local_path(next), status_code=303)
        for cookie in login_cookies(request.headers, session):
            answer.headers.append("set-cookie", cookie)
        return answer

    @router.post("/logout")
    def log_out(request: Request) -> Response:
        token = cookie_of(request.headers, SESSION)
        if token:
            with pool.connection() as conn:
                sessions.logout(conn, token, address_of(request))
        answer = RedirectResponse("/login", status_code=303)
        answer.headers["set-cookie"] = set_cookie(request.headers, SESSION, "", 0)
        return answer

    return router


def local_path(target: str) -> str:
    """Return *target* if it is a page of ours, else the first page: a login never leads to another site."""
    is_local = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_local else "/"


def _page(lang: str, target: str, name: str = "", error: LakehouseError | None = None) -> Response:
    lang = lang if lang in _TEXT else "en"
    other = "en" if lang == "ru" else "ru"
    body = _PAGE.substitute(
        _TEXT[lang],
        lang=lang,
        name=html.escape(name),
        next=html.escape(local_path(target)),
        next_quoted=quote(local_path(target)),
        error=f'<p class="error" role="alert">{html.escape(str(error))}</p>' if error else "",
        focus_name="" if name else "autofocus",
        focus_password="autofocus" if name else "",
        other_lang=other,
        other_name=_TEXT[other]["language"],
    )
    status = 200 if error is None else _STATUS.get(type(error), 401)
    return HTMLResponse(body, status_code=status, headers={"cache-control": "no-store"})


def _language(request: Request) -> str:
    return "ru" if request.headers.get("accept-language", "").lower().startswith("ru") else "en"


_STATUS: dict[type[LakehouseError], int] = {TooManyAttempts: 429, NotNow: 503}
_TEXT = {
    "en": {
        "language": "English",
        "title": "Log in",
        "purpose": "Moscow Exchange history you can trust",
        "name_label": "User",
        "password_label": "Password",
        "submit": "Log in",
        "hint": "The first start prints the password of <code>admin</code> once. "
        "<code>lakehouse users --help</code> makes and mends accounts.",
    },
    "ru": {
        "language": "Русский",
        "title": "Вход",
        "purpose": "История Московской биржи, которой можно верить",
        "name_label": "Пользователь",
        "password_label": "Пароль",
        "submit": "Войти",
        "hint": "Пароль пользователя <code>admin</code> печатается один раз, при первом запуске. "
        "Учётные записи ведёт команда <code>lakehouse users --help</code>.",
    },
}
