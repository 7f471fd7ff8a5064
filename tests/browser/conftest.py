"""Chromium, logged in to a platform with a made market."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    WebError,
    expect,
    sync_playwright,
)
from psycopg.conninfo import make_conninfo

from functions.requests import SESSION
from lakehouse.access.users import create_user
from lakehouse.database.connection import connect
from lakehouse.database.migrate import migrate
from lakehouse.database.runner import EmbeddedPostgres
from tests.browser.running import Platform, publish_made_market, web_process
from tests.sandboxes import started_runner

FLAGS = [
    "--headless",
    "--no-sandbox",  # Chromium's own sandbox does not run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# As all other waiting of Playwright: 5 s are little where others are at work
expect.set_options(timeout=30_000)


@pytest.fixture(scope="session")
def platform(postgres: EmbeddedPostgres, open_folder: Path) -> Iterator[Platform]:
    """The platform's web process, its users and its made market."""
    with connect(postgres.dsn) as conn:
        conn.execute("CREATE DATABASE pages")
    dsn = make_conninfo(postgres.dsn, dbname="pages")
    migrate(dsn)
    folder = open_folder / "pages"
    publish_made_market(dsn, folder)
    passwords = {role: secrets.token_urlsafe(12) for role in ("viewer", "analyst", "admin")}
    with connect(dsn) as conn:
        users = {role: create_user(conn, role, password, role) for role, password in passwords.items()}
    with started_runner(folder) as runner, web_process(dsn, folder, runner.socket) as url:
        yield Platform(url, dsn, passwords, users, folder, runner.socket)


@pytest.fixture(scope="session")
def browser(chromium_path: Path) -> Iterator[Browser]:
    """Chromium without a screen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium_path), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shared_context(browser: Browser, platform: Platform) -> Iterator[BrowserContext]:
    """One for all tests: it keeps the pages' programs, and reading them is half of what a page costs."""
    context = browser.new_context(viewport={"width": 1440, "height": 860}, base_url=platform.url, locale="en-GB")
    context.new_page()  # stays: others are tabs of its window, and a window takes half a second to make
    yield context
    context.close()


@pytest.fixture
def context(shared_context: BrowserContext, platform: Platform) -> Iterator[BrowserContext]:
    """
    A browser nobody has logged in with, in which nothing is kept but files, with an empty page.

    It fails the test when a page asks another server for anything, or for what its own policy forbids.
    """
    context = shared_context
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

    context.clear_cookies()
    page = context.new_page()
    forgetting = {"origin": platform.url, "storageTypes": "local_storage,indexeddb,cache_storage,service_workers"}
    context.new_cdp_session(page).send("Storage.clearDataForOrigin", forgetting)
    context.on("request", on_request)
    context.on("weberror", on_error)
    context.on("console", on_console)
    yield context
    for page in context.pages[1:]:
        page.close()
    context.remove_listener("request", on_request)
    context.remove_listener("weberror", on_error)
    context.remove_listener("console", on_console)
    assert foreign == []
    assert errors == []


def is_ours(url: str, platform: Platform) -> bool:
    """Whether a request goes to the platform, or nowhere (blob, data)."""
    return url.startswith((f"{platform.url}/", "blob:", "data:"))


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """An empty page."""
    return context.pages[-1]


@pytest.fixture
def log_in(page: Page, platform: Platform) -> Callable[..., Page]:
    """Return a function that opens a page in a session of the user of a role; test_login.py has the login page."""

    def enter(role: str = "viewer", path: str = "/") -> Page:
        token = platform.begin_session(role)
        page.context.add_cookies(
            [{"name": SESSION, "value": token, "url": platform.url, "httpOnly": True, "sameSite": "Lax"}]
        )
        page.goto(path)
        page.wait_for_selector(".lh-role:not(:empty)")
        return page

    return enter
