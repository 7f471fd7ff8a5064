"""Chromium, logged in to a platform with a made market."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from psycopg.conninfo import make_conninfo

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
        for role, password in passwords.items():
            create_user(conn, role, password, role)
    with started_runner(folder) as runner, web_process(dsn, folder, runner.socket) as url:
        yield Platform(url, dsn, passwords, folder, runner.socket)


@pytest.fixture(scope="session")
def browser(chromium_path: Path) -> Iterator[Browser]:
    """Chromium without a screen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium_path), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser, platform: Platform) -> Iterator[BrowserContext]:
    """
    A browser nobody has logged in with.

    It fails the test when a page asks another server for anything, or for what its own policy forbids.
    """
    context = browser.new_context(viewport={"width": 1440, "height": 860}, base_url=platform.url, locale="en-GB")
    foreign: list[str] = []
    errors: list[str] = []
    context.on("request", lambda request: foreign.append(request.url) if not is_ours(request.url, platform) else None)
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on("console", lambda said: errors.append(said.text) if "Content Security Policy" in said.text else None)
    yield context
    context.close()
    assert foreign == []
    assert errors == []


def is_ours(url: str, platform: Platform) -> bool:
    """Whether a request goes to the platform, or nowhere (blob, data)."""
    return url.startswith((f"{platform.url}/", "blob:", "data:"))


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """An empty page."""
    return context.new_page()


@pytest.fixture
def log_in(page: Page, platform: Platform) -> Callable[..., Page]:
    """Return a function that logs in as the user of a role and waits for the page."""

    def enter(role: str = "viewer", path: str = "/") -> Page:
        page.goto(path)
        page.fill("#name", role)
        page.fill("#password", platform.passwords[role])
        page.click("button[type=submit]")
        page.wait_for_selector(".lh-role:not(:empty)")
        return page

    return enter
