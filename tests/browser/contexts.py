"""Browsers of tests: what all have in common, who is logged in with them, and what none may ask for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, WebError

from functions.requests import SESSION
from lakehouse.access.roles import User
from lakehouse.access.sessions import mint
from lakehouse.database.connection import connect
from tests.browser.running import Platform

PATIENCE_MS = 120_000  # of all waiting for a page: a machine may be slow, and what never comes is a fault of ours


def new_context(browser: Browser, platform: Platform, **options: Any) -> BrowserContext:
    """Return a browser of its own, with what all have in common."""
    common = {"viewport": {"width": 1440, "height": 860}, "base_url": platform.url, "locale": "en-GB"}
    context = browser.new_context(**(common | options))
    context.set_default_timeout(PATIENCE_MS)
    return context


def begin_session(context: BrowserContext, platform: Platform, user: User) -> None:
    """Put the cookie of a new session of a user into a browser."""
    with connect(platform.dsn) as conn:
        token = mint(conn, user, dt.timedelta(hours=1))
    context.add_cookies([{"name": SESSION, "value": token, "url": platform.url, "httpOnly": True, "sameSite": "Lax"}])


@contextmanager
def watched(context: BrowserContext, platform: Platform) -> Iterator[None]:
    """Fail the test when a page asks another server for anything, or for what its own policy forbids."""
    foreign: list[str] = []
    errors: list[str] = []

    def on_request(request: Request) -> None:
        if not is_ours(request.url, platform):
            foreign.append(request.url)

    def on_error(error: WebError) -> None:
        errors.append(str(error.error))

    def on_console(said: ConsoleMessage) -> None:
        if "Content Security Policy" in said.text:
            errors.append(said.text)

    context.on("request", on_request)
    context.on("weberror", on_error)
    context.on("console", on_console)
    yield
    context.remove_listener("request", on_request)
    context.remove_listener("weberror", on_error)
    context.remove_listener("console", on_console)
    assert foreign == []
    assert errors == []


def forget(page: Page, platform: Platform) -> None:
    """Clear what the pages have stored in the browser."""
    forgetting = {"origin": platform.url, "storageTypes": "local_storage,indexeddb,cache_storage,service_workers"}
    session = page.context.new_cdp_session(page)
    session.send("Storage.clearDataForOrigin", forgetting)
    session.detach()


def is_ours(url: str, platform: Platform) -> bool:
    """Whether a request goes to the platform, or nowhere (blob, data)."""
    return url.startswith((f"{platform.url}/", "blob:", "data:"))
