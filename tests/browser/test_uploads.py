"""Saved pages on the Ingest page: uploaded, refused, accepted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import FilePayload, Page

from tests.bronze_objects import candle
from tests.browser.running import Platform
from tests.uploaded import candles_json

pytestmark = [pytest.mark.browser, pytest.mark.postgres]

PAGE = candles_json([candle("2012-03-01 00:00:00"), candle("2012-03-02 00:00:00")])
KEY = "uploads/candles/stock/shares/TQBR/SBER/1d/sber.json"


def payload(body: bytes) -> FilePayload:
    return {"name": "sber.json", "mimeType": "application/json", "buffer": body}


def test_an_admin_uploads_a_page_sees_it_and_accepts_it(log_in: Callable[..., Page], platform: Platform) -> None:
    """
    What is wrong with a file is said and nothing is stored; a good one is listed, and accepted when confirmed.

    The form breaks into lines; nothing lies beyond the page's right edge but what its own box scrolls.
    """
    page = log_in("admin", "/ingest")
    form = page.locator(".lh-uploads form")
    form.locator("[name=secid]").fill("SBER")
    form.locator("[name=file]").set_input_files([payload(PAGE[:-9])])
    form.locator("button").click()
    page.wait_for_selector(".lh-uploads .lh-message.lh-error:has-text('it may be cut off')")
    assert platform.query("SELECT count(*) FROM lake.upload") == [(0,)]

    form.locator("[name=file]").set_input_files([payload(PAGE)])
    form.locator("button").click()
    page.wait_for_selector(".lh-uploads .lh-message:not(.lh-error):has-text('sber.json: 2 rows are imported.')")
    page.wait_for_selector(
        ".lh-uploads tr:has-text('candles/stock/shares/TQBR/SBER/1d/sber.json'):has-text('in Bronze')"
    )

    page.once("dialog", lambda dialog: dialog.dismiss())
    page.click(f"button[data-key='{KEY}']")
    assert platform.query("SELECT accepted_by FROM lake.upload") == [("",)]
    page.once("dialog", lambda dialog: dialog.accept())
    page.click(f"button[data-key='{KEY}']")
    page.wait_for_selector(".lh-uploads tr:has-text('accepted by admin')")
    assert platform.query("SELECT rank FROM lake.bronze_object ORDER BY rank") == [(-1,), (0,)]
    assert page.locator(".lh-uploads button[data-key]").count() == 0
    form.scroll_into_view_if_needed()
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 860})
        page.wait_for_function(_FITS, arg=width)
    form.locator("[name=family]").select_option("history")
    assert form.locator("label:visible").count() == 4


_FITS = """
(width) => {
  const form = document.querySelector(".lh-uploads form");
  return innerWidth === width && form.getBoundingClientRect().right <= width && form.scrollWidth <= form.clientWidth;
}
"""
