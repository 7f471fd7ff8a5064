"""Logging in and out, and what is refused without."""

from __future__ import annotations

import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

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
    expect(page.locator(".lh-who")).to_have_text("viewer viewer")


@pytest.mark.parametrize("name", ["viewer", "nobody-of-that-name"])
def test_a_wrong_password_says_so_and_tells_nothing_about_the_name(page: Page, name: str) -> None:
    """The message for a wrong password is the one for an unknown user."""
    page.goto("/login")
    send(page, name, "wrong")

    expect(page.locator("[role=alert]")).to_have_text("name or password is wrong")
    expect(page.locator("#name")).to_have_value(name)
    expect(page.locator("#password")).to_have_value("")


def test_many_wrong_passwords_make_one_wait(page: Page) -> None:
    """Guessing is slowed down, and the page says for how long."""
    for _ in range(5):
        assert page.request.post("/login", form={"name": "guessed", "password": "wrong"}).status == 401
    page.goto("/login")
    send(page, "guessed", "wrong")

    expect(page.locator("[role=alert]")).to_have_text(re.compile(r"^too many failed logins: try again in \d+ s$"))


def test_the_login_page_speaks_russian(page: Page) -> None:
    """One click changes the language, and an error keeps it."""
    page.goto("/login")
    page.click("text=Русский")

    expect(page.locator("html[lang=ru] label[for=password]")).to_have_text("Пароль")
    send(page, "viewer", "wrong")
    expect(page.locator("html[lang=ru] [role=alert]")).to_be_visible()


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


def test_a_login_never_leads_to_another_site(page: Page, platform: Platform) -> None:
    """The page to go to after the login is one of ours, whatever the address says."""
    for target in ("https://example.org/", "//example.org", "/\\example.org"):
        page.goto(f"/login?next={urllib.parse.quote(target)}")
        send(page, "viewer", platform.passwords["viewer"])

        assert page.url.startswith(f"{platform.url}/"), target
        assert not page.url.startswith(f"{platform.url}/login"), target
        page.context.clear_cookies()


PAGES = {
    "viewer": ["Market", "Schema"],
    "analyst": ["Market", "SQL", "Schema", "Analysis"],
    "admin": ["Market", "SQL", "Schema", "Analysis", "Ingest", "Quality", "Access"],
}


@pytest.mark.parametrize("role", PAGES)
def test_a_role_is_offered_its_pages_and_given_no_other(log_in: Callable[..., Page], role: str) -> None:
    """What the head of a page leads to is what the server gives; the own account is everybody's."""
    page = log_in(role)
    links = page.locator(".lh-header nav a")
    expect(links).to_have_text(PAGES[role])
    paths = [link.get_attribute("href") for link in links.all()]
    for path in ("/", "/sql", "/schema", "/sandbox", "/ingest", "/quality", "/access"):
        assert page.request.get(path).status == (200 if path in paths else 403), path
    page.click(".lh-who")
    page.wait_for_selector("[data-rows=sessions] tr:has-text('this one')")


def test_a_page_at_rest_draws_nothing(page: Page, log_in: Callable[..., Page]) -> None:
    """Once it is there it asks for no frame more, which would cost each open page some percent of a core."""
    page.add_init_script("""
        window.framesAsked = 0;
        const next = window.requestAnimationFrame.bind(window);
        window.requestAnimationFrame = (act) => { window.framesAsked += 1; return next(act); };
    """)
    log_in("viewer", "/schema")
    page.wait_for_selector("#lh-schema-tables table")
    page.evaluate("""async () => {
        do {
            window.framesAsked = 0;
            await new Promise((resume) => setTimeout(resume, 500));
        } while (window.framesAsked);
    }""")


def test_nothing_of_a_page_is_given_without_a_session(platform: Platform) -> None:
    """Pages, their configuration and their callbacks answer 401."""
    for path in ("/session", "/config", "/gradio_api/info", "/ingest"):
        assert status(platform.url + path) == 401
    assert status(f"{platform.url}/gradio_api/queue/join", {"data": ""}) == 401


def enter(page: Page, platform: Platform, path: str = "/login") -> None:
    """Log in as a person does, and wait for the page."""
    page.goto(path)
    send(page, "viewer", platform.passwords["viewer"])
    page.wait_for_selector(".lh-role:not(:empty)")


def send(page: Page, name: str, password: str) -> None:
    """Send the form, and wait until another page has begun."""
    page.fill("#name", name)
    page.fill("#password", password)
    with page.expect_navigation(wait_until="commit"):
        page.click("button[type=submit]")


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
