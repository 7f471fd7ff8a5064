"""The pages Account and Access: what people do with their own accounts, and admins with all."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from lakehouse.access.tokens import make_token
from lakehouse.access.users import create_user
from lakehouse.database.connection import connect
from tests.browser.contexts import begin_session, new_context
from tests.browser.running import Platform

pytestmark = [pytest.mark.browser, pytest.mark.postgres]
FIRST, SECOND = secrets.token_urlsafe(12), secrets.token_urlsafe(12)


@pytest.fixture
def anna(page: Page, platform: Platform) -> Page:
    """A user of her own, an analyst, on her Account page."""
    name = f"anna-{secrets.token_hex(4)}"
    with connect(platform.dsn) as conn:
        begin_session(page.context, platform, create_user(conn, name, FIRST, "analyst"))
    page.goto("/account")
    page.wait_for_selector("[data-rows=sessions] tr")
    return page


def user_of(page: Page) -> str:
    page.wait_for_selector(".lh-role:not(:empty)")
    return page.inner_text(".lh-user")


def said(page: Page, part: str, text: str, *, is_error: bool = False) -> None:
    """Wait for what the page says of a part."""
    page.wait_for_selector(f"[data-said={part}]{'' if is_error else ':not(.lh-error)'}:has-text('{text}')")


def end_before(route: Route) -> None:
    """Let another request end what the page is about to end."""
    assert route.fetch().ok
    route.continue_()


def test_a_user_changes_the_own_password(anna: Page, platform: Platform) -> None:
    """A wrong present password or two that differ are told and leave one logged in; the right one counts at once."""
    fields = {name: anna.locator(f"[data-form=password] [name={name}]") for name in ("present", "new", "again")}

    def change(present: str, new: str, again: str) -> None:
        for name, value in {"present": present, "new": new, "again": again}.items():
            fields[name].fill(value)
        fields["again"].press("Enter")

    change(FIRST, SECOND, SECOND + "x")
    said(anna, "password", "the new passwords differ", is_error=True)
    change("wrong" * 3, SECOND, SECOND)
    said(anna, "password", "wrong", is_error=True)
    assert anna.url.endswith("/account")

    change(FIRST, SECOND, SECOND)
    said(anna, "password", "Your password is changed")
    assert fields["new"].input_value() == ""
    name = user_of(anna)
    anna.click("text=Log out >> nth=0")
    anna.wait_for_url("**/login")
    anna.fill("#name", name)
    anna.fill("#password", SECOND)
    anna.click("button[type=submit]")
    anna.wait_for_selector(".lh-role:not(:empty)")


def test_a_user_makes_a_token_once_shown_and_revokes_it(anna: Page, platform: Platform) -> None:
    """The token works for a program until it is revoked, and is nowhere to be seen after a reload. All is named."""
    anna.fill("[data-form=token] [name=name]", "nightly")
    expect(anna.locator("[data-form=token] option")).to_have_text(["analyst", "viewer"])
    anna.click("text=Make token")
    said(anna, "token", "nightly is made")
    token = anna.input_value(".lh-secret input")
    headers = {"Authorization": f"Bearer {token}"}
    jobs = f"{platform.url}/api/v1/jobs"
    assert anna.request.get(jobs, headers={**headers, "Cookie": ""}).status == 200

    anna.reload()
    anna.wait_for_selector("[data-rows=tokens] tr:has-text('nightly'):has-text('analyst, may only read')")
    assert token not in anna.content()
    each_has_a_name_and_nothing_is_cut_off(anna)
    anna.once("dialog", lambda dialog: dialog.accept())
    anna.click("[data-rows=tokens] tr:has-text('nightly') button")
    said(anna, "token", "nightly is revoked")
    assert anna.request.get(jobs, headers={**headers, "Cookie": ""}).status == 401


def test_a_user_ends_other_sessions_and_logs_out_everywhere(anna: Page, browser: Browser, platform: Platform) -> None:
    """A session elsewhere is listed and ended; logging out everywhere ends all, over already or not, this one last."""
    name = user_of(anna)
    others = []
    for _ in range(2):
        other = new_context(browser, platform)
        assert other.request.post("/login", form={"name": name, "password": FIRST}).ok
        others.append(other)
    anna.reload()
    anna.wait_for_selector("[data-rows=sessions] tr:nth-child(3)")

    anna.click("[data-rows=sessions] tr:nth-child(1) button")
    said(anna, "sessions", "is over")
    assert sorted(other.request.get("/session").status for other in others) == [200, 401]

    anna.route("**/api/v1/sessions/*", end_before)
    anna.once("dialog", lambda dialog: dialog.accept())
    anna.click("text=Log out everywhere")
    anna.wait_for_url("**/login")
    assert [other.request.get("/session").status for other in others] == [401, 401]
    for other in others:
        other.close()


def test_an_admin_keeps_users(log_in: Callable[..., Page], browser: Browser, platform: Platform) -> None:
    """Added, given a role and a password, logged out, removed: each is told, counts at once and is on the record."""
    page = log_in("admin", "/access")
    name = f"boris-{secrets.token_hex(4)}"
    page.wait_for_selector("[data-form=user] button:enabled")
    page.fill("[data-form=user] [name=user]", name)
    page.fill("[data-form=user] [name=password]", FIRST)
    page.press("[data-form=user] [name=password]", "Enter")
    said(page, "users", f"{name} is viewer.")
    line = page.locator(f"[data-rows=users] tr:has-text('{name}')")

    line.locator("select").select_option("analyst")
    said(page, "users", f"{name} is analyst.")
    line.locator("text=Password").click()
    page.fill("[data-form=password] [name=password]", SECOND)
    page.press("[data-form=password] [name=password]", "Enter")
    said(page, "users", f"The password of {name} is set")

    with new_context(browser, platform) as boris:
        assert boris.request.post("/login", form={"name": name, "password": SECOND}).ok
        assert boris.request.get("/session").json() == {"user": name, "role": "analyst"}
        page.reload()
        page.once("dialog", lambda dialog: dialog.accept())
        line.locator("text=End").click()
        said(page, "users", f"{name} is logged out everywhere.")
        assert boris.request.get("/session").status == 401

    page.once("dialog", lambda dialog: dialog.accept())
    line.locator("text=Remove").click()
    said(page, "users", f"{name} is removed.")
    line.wait_for(state="detached")
    done = platform.query("SELECT action FROM lake.audit WHERE target = %s AND user_name = 'admin' ORDER BY 1", name)
    assert {action for (action,) in done} >= {"add user", "set role", "set password", "remove user"}


def test_what_an_admin_ends_is_what_there_is_by_then(
    log_in: Callable[..., Page], browser: Browser, platform: Platform
) -> None:
    """Sessions and tokens made since the page was drawn end too, and one that is over already holds up no other."""
    name = f"clara-{secrets.token_hex(4)}"
    others = [new_context(browser, platform) for _ in range(2)]
    with connect(platform.dsn) as conn:
        clara = create_user(conn, name, FIRST, "analyst")
        make_token(conn, clara, "before")
        assert others[0].request.post("/login", form={"name": name, "password": FIRST}).ok
        page = log_in("admin", "/access")
        line = page.locator(f"[data-rows=users] tr:has-text('{name}')")
        line.get_by_text("Revoke").wait_for()
        make_token(conn, clara, "since")
        assert others[1].request.post("/login", form={"name": name, "password": FIRST}).ok

    page.on("dialog", lambda dialog: dialog.accept())
    for kind in ("sessions", "tokens"):
        page.route(f"**/api/v1/{kind}/*", end_before)
    line.get_by_text("Revoke").click()
    said(page, "users", f"The tokens of {name} are revoked.")
    line.get_by_text("End").click()
    said(page, "users", f"{name} is logged out everywhere.")
    assert [other.request.get("/session").status for other in others] == [401, 401]
    live = "SELECT count(*) FROM lake.api_token WHERE user_id = %s AND revoked_at IS NULL"
    assert platform.query(live, clara.user_id) == [(0,)]
    for other in others:
        other.close()


def test_an_admin_ends_the_own_sessions_this_one_last(
    log_in: Callable[..., Page], browser: Browser, platform: Platform
) -> None:
    """An older session elsewhere is over as well when the page leaves for the login."""
    with new_context(browser, platform) as other:
        assert other.request.post("/login", form={"name": "admin", "password": platform.passwords["admin"]}).ok
        page = log_in("admin", "/access")
        page.once("dialog", lambda dialog: dialog.accept())
        page.get_by_label("End the sessions of admin", exact=True).click()
        page.wait_for_url("**/login*")
        assert other.request.get("/session").status == 401


def test_a_page_whose_session_is_over_leaves_once(log_in: Callable[..., Page], platform: Platform) -> None:
    """However many answers say so, and when: each leave would break off the one before."""
    page = log_in("admin", "/access")
    page.context.clear_cookies()
    left: list[Route] = []
    page.route(re.compile(r"/login\?"), lambda route: left.append(route))  # the login page is slow to come
    page.evaluate("""async () => {
        const { getJson } = await import("/static/api.js");
        for (let n = 0; n < 3; n += 1) await getJson("/api/v1/users").catch(() => {});
    }""")
    assert len(left) == 1
    left[0].continue_()
    page.wait_for_url("**/login?next=%2Faccess")


def test_the_last_admin_stays_one(log_in: Callable[..., Page], platform: Platform) -> None:
    """What would leave no admin is refused, and the page shows what is. All is named."""
    page = log_in("admin", "/access")
    role = page.get_by_label("Role of admin", exact=True)
    role.select_option("viewer")
    said(page, "users", "the last admin", is_error=True)
    page.wait_for_function("document.querySelector('[aria-label=\"Role of admin\"]').value === 'admin'")
    each_has_a_name_and_nothing_is_cut_off(page)


def test_the_record_is_searched(page: Page, log_in: Callable[..., Page], platform: Platform) -> None:
    """By user and action; what nobody did says so."""
    assert page.request.post("/login", form={"name": "admin", "password": platform.passwords["admin"]}).ok
    log_in("admin", "/access")
    page.wait_for_selector("[data-rows=audit] tr:has-text('login')")
    assert page.locator("#lh-actions option[value=login]").count() == 1
    page.fill("[data-form=audit] [name=action]", "login")
    page.fill("[data-form=audit] [name=user]", "admin")
    page.click("text=Show")
    page.wait_for_function(
        "[...document.querySelectorAll('[data-rows=audit] td:nth-child(3)')].every((one) => one.innerText === 'login')"
    )
    page.fill("[data-form=audit] [name=user]", "nobody-of-that-name")
    page.click("text=Show")
    page.wait_for_selector("[data-rows=audit]:has-text('nothing of this is on the record')")


def test_older_entries_are_of_what_was_asked_and_come_once(log_in: Callable[..., Page], platform: Platform) -> None:
    """Whatever the form says by then, and however often one clicks while they are on their way."""
    platform.query(
        "INSERT INTO lake.audit (user_name, action, target, detail, outcome)"
        " SELECT 'dora', 'look', n, '{}', 'done' FROM generate_series(1, 150) n RETURNING target"
    )
    platform.query(
        "INSERT INTO lake.audit (user_name, action, target, detail, outcome)"
        " VALUES ('emil', 'look', '', '{}', 'done') RETURNING target"
    )
    page = log_in("admin", "/access")
    page.wait_for_selector("[data-rows=audit] tr:nth-child(1) td:nth-child(2):text-is('emil')")
    page.fill("[data-form=audit] [name=user]", "dora")
    page.click("text=Show")
    page.wait_for_selector("[data-rows=audit] tr:nth-child(1) td:nth-child(2):text-is('dora')")
    page.fill("[data-form=audit] [name=user]", "admin")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "before=" in request.url else None)
    page.evaluate("for (let n = 0; n < 2; n += 1) document.querySelector('[data-act=older]').click()")
    page.wait_for_selector("[data-act=older]", state="hidden")
    assert len(asked) == 1
    expect(page.locator("[data-rows=audit] td:nth-child(4)")).to_have_text([str(n) for n in range(150, 0, -1)])


def test_a_form_is_sent_by_the_page_alone(page: Page, log_in: Callable[..., Page]) -> None:
    """Until it takes them nothing is: the browser itself would put what was typed, a password too, into the address."""
    page.route("**/static/access.js", lambda route: None)  # not answered
    log_in("admin", "/access")
    page.fill("[data-form=user] [name=user]", "fedor")
    page.fill("[data-form=user] [name=password]", FIRST)
    page.press("[data-form=user] [name=password]", "Enter")
    assert page.locator(".lh-account button[type=submit]:enabled").count() == 0
    page.unroute_all()  # what was held goes on
    page.wait_for_selector("[data-form=user] button:enabled")
    assert page.url.endswith("/access")
    expect(page.locator("[data-form=user] [name=user]")).to_have_value("fedor")


def each_has_a_name_and_nothing_is_cut_off(page: Page) -> None:
    """Fields and buttons say to a screen reader what they are; a narrow page does not scroll sideways."""
    nameless = page.evaluate("""() => [...document.querySelectorAll(".lh-account :is(input, select, button)")]
        .filter((part) => part.offsetParent && !part.labels?.length && !part.ariaLabel && !part.textContent.trim())
        .map((part) => part.outerHTML)""")
    assert nameless == []
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.querySelector('.lh-account').scrollWidth <= innerWidth")
