"""The schedules on the Ingest page: seen and changed by admins."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.browser.running import Platform

pytestmark = [pytest.mark.browser, pytest.mark.postgres]


def test_an_admin_sees_the_schedules_and_changes_one(log_in: Callable[..., Page], platform: Platform) -> None:
    """
    What is saved is in the table at once and on the audit record; what cannot be is said, and changes nothing.

    On a phone too: the table scrolls, the page does not.
    """
    page = log_in("admin", "/ingest")
    page.wait_for_selector("tr[data-schedule='increment']:has-text('every day at 04:15')")
    at = "#lh-schedule-at :is(input, textarea)"
    page.wait_for_function("selector => document.querySelector(selector).value === '04:15'", arg=at)
    page.fill(at, "25:00")
    page.click("#lh-schedule-save")
    page.wait_for_selector(".lh-message:has-text(\"'25:00' is no time for increment: write HH:MM, Moscow time\")")
    page.fill(at, "06:30")
    page.uncheck("#lh-schedule-on input")
    page.click("#lh-schedule-save")
    page.wait_for_selector("tr[data-schedule='increment']:has-text('every day at 06:30'):has-text('off')")
    assert platform.query(
        "SELECT target, outcome FROM lake.audit WHERE action = 'schedule' AND user_name = 'admin'"
    ) == [("increment", "done")]
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
