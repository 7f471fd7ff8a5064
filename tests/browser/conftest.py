"""Chromium, logged in to a platform with a made market."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    APIRequestContext,
    Browser,
    BrowserContext,
    Page,
    expect,
    sync_playwright,
)
from psycopg.conninfo import make_conninfo

from lakehouse.access.users import create_user
from lakehouse.database.connection import connect
from lakehouse.database.migrate import migrate
from lakehouse.database.runner import EmbeddedPostgres
from tests.browser.contexts import PATIENCE_MS, begin_session, forget, new_context, watched
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
    "--process-per-site",  # a tab is no new process, which would read the pages' programs anew
]

expect.set_options(timeout=PATIENCE_MS)


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
    context = new_context(browser, platform)
    context.new_page()  # stays: others are tabs of its window, and a window takes half a second to make
    yield context
    context.close()


@pytest.fixture
def context(shared_context: BrowserContext, platform: Platform) -> Iterator[BrowserContext]:
    """A browser nobody has logged in with, in which nothing is kept but files, with an empty page."""
    context = shared_context
    context.clear_cookies()
    forget(context.new_page(), platform)
    with watched(context, platform):
        yield context
        for page in context.pages[1:]:
            page.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """An empty page."""
    return context.pages[-1]


@pytest.fixture
def log_in(page: Page, platform: Platform) -> Callable[..., Page]:
    """Return a function that opens a page in a session of the user of a role; test_login.py has the login page."""

    def enter(role: str = "viewer", path: str = "/") -> Page:
        begin_session(page.context, platform, platform.users[role])
        page.goto(path)
        page.wait_for_selector(".lh-role:not(:empty)")
        return page

    return enter


@pytest.fixture
def asking_as(context: BrowserContext, platform: Platform) -> Callable[[str], APIRequestContext]:
    """Return a function that gives what asks in a session of the user of a role, as a script would, without a page."""

    def begin(role: str) -> APIRequestContext:
        begin_session(context, platform, platform.users[role])
        return context.request

    return begin


@pytest.fixture(scope="module")
def keeping(browser: Browser, platform: Platform) -> Iterator[Callable[[str, str], Page]]:
    """
    Return a function that opens a page for a role and keeps it for all tests of the file: one load costs 1.5 s of CPU.

    Its browser is its own: another user may log in with the other one meanwhile.
    """
    contexts: list[BrowserContext] = []

    def keep(role: str, path: str) -> Page:
        context = new_context(browser, platform)
        contexts.append(context)
        begin_session(context, platform, platform.users[role])
        page = context.new_page()
        page.goto(path)
        page.wait_for_selector(".lh-role:not(:empty)")
        return page

    yield keep
    for context in contexts:
        context.close()
