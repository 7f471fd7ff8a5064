"""Logging in and out, and what is refused without."""

from __future__ import annotations

import re
import urllib.error
import urllib.parse
import urllib.request

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.running import Platform

pytestmark = [pytest.mark.browser, pytest.mark.postgres]


def test_a_page_without_a_session_leads_to_the_login_page_and_back(page: Page, platform: Platform) -> None:
    """Who opens a page unknown logs in first, and then sees that page."""
    page.goto("/?secid=YDEX&timeframe=1d")
    assert urllib.parse.urlsplit(page.url).path == "/login"

    page.fill("#name", "viewer")
    page.fill("#password", platform.passwords["viewer"])
    page.click("button[type=submit]")
    page.wait_for_function("window.lakehouseChart?.state === 'drawn'")

    assert "secid=YDEX" in page.url
    assert page.inner_text(".lh-who") == "viewer viewer"


@pytest.mark.parametrize("name", ["viewer", "nobody-of-that-name"])
def test_a_wrong_password_says_so_and_tells_nothing_about_the_name(page: Page, name: str) -> None:
    """The message for a wrong password is the one for an unknown user."""
    page.goto("/login")
    page.fill("#name", name)
    page.fill("#password", "wrong")
    page.click("button[type=submit]")

    assert page.inner_text("[role=alert]") == "name or password is wrong"
    assert page.input_value("#name") == name
    assert page.input_value("#password") == ""


def test_many_wrong_passwords_make_one_wait(page: Page) -> None:
    """Guessing is slowed down, and the page says for how long."""
    page.goto("/login")
    for _ in range(6):
        page.fill("#name", "guessed")
        page.fill("#password", "wrong")
        page.click("button[type=submit]")

    assert re.fullmatch(r"too many failed logins: try again in \d+ s", page.inner_text("[role=alert]"))


def test_the_login_page_speaks_russian(page: Page) -> None:
    """One click changes the language, and an error keeps it."""
    page.goto("/login")
    page.click("text=Русский")

    assert page.inner_text("label[for=password]") == "Пароль"
    assert page.get_attribute("html", "lang") == "ru"


def test_logging_out_ends_the_session(page: Page, context: BrowserContext, platform: Platform) -> None:
    """After logging out, the cookie that was in use opens nothing any more."""
    enter(page, platform)
    token = next(cookie["value"] for cookie in context.cookies() if cookie["name"] == "lakehouse_session")
    page.click("text=Log out")
    page.wait_for_url("**/login")

    assert status(f"{platform.url}/session", cookie=token) == 401


def test_the_session_cookie_is_kept_from_scripts_and_other_sites(
    page: Page, context: BrowserContext, platform: Platform
) -> None:
    """The cookie is HttpOnly and SameSite=Lax."""
    enter(page, platform)

    cookie = next(cookie for cookie in context.cookies() if cookie["name"] == "lakehouse_session")

    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")


def test_a_form_of_another_site_is_refused(platform: Platform) -> None:
    """A changing request with the Origin of another server of this machine gets 403."""
    fields = {"name": "viewer", "password": platform.passwords["viewer"]}

    assert status(f"{platform.url}/login", fields, origin="http://127.0.0.1:1") == 403
    assert status(f"{platform.url}/logout", {}, origin="http://127.0.0.1:1") == 403


@pytest.mark.parametrize("target", ["https://example.org/", "//example.org", "/\\example.org"])
def test_a_login_never_leads_to_another_site(page: Page, platform: Platform, target: str) -> None:
    """The page to go to after the login is one of ours, whatever the address says."""
    enter(page, platform, f"/login?next={urllib.parse.quote(target)}")

    assert page.url.startswith(f"{platform.url}/")


def test_nothing_of_a_page_is_given_without_a_session(platform: Platform) -> None:
    """Pages, their configuration and their callbacks answer 401."""
    for path in ("/session", "/config", "/gradio_api/info", "/ingest"):
        assert status(platform.url + path) == 401
    assert status(f"{platform.url}/gradio_api/queue/join", {"data": ""}) == 401


def enter(page: Page, platform: Platform, path: str = "/login") -> None:
    """Log in as a person does, and wait for the page."""
    page.goto(path)
    page.fill("#name", "viewer")
    page.fill("#password", platform.passwords["viewer"])
    page.click("button[type=submit]")
    page.wait_for_selector(".lh-role:not(:empty)")


def status(url: str, fields: dict[str, str] | None = None, *, cookie: str = "", origin: str = "") -> int:
    """Return the status of a GET, or of a POST of *fields*."""
    request = urllib.request.Request(url, urllib.parse.urlencode(fields).encode() if fields is not None else None)
    if cookie:
        request.add_header("Cookie", f"lakehouse_session={cookie}")
    if origin:
        request.add_header("Origin", origin)
    try:
        with urllib.request.urlopen(request) as answer:
            code: int = answer.status
    except urllib.error.HTTPError as error:
        code = error.code
    return code
