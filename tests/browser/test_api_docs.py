"""The API's documentation as a page: without a network, light and dark, wide and narrow."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from tests.browser.running import Platform

pytestmark = [pytest.mark.postgres, pytest.mark.browser]


def test_the_page_shows_every_operation_and_tries_one(page: Page, platform: Platform) -> None:
    """
    Nobody needs to log in to read it; nothing is cut off, and nothing is asked of another server.

    Who is logged in tries an operation: the session's cookie goes with what the page asks, and the answer is shown.
    """
    page.emulate_media(color_scheme="dark")
    page.goto("/api/docs#/candles/read_candles")
    document = json.loads(page.request.get("/api/v1/openapi.json").text())
    expect(page.locator(".opblock")).to_have_count(sum(map(len, document["paths"].values())))
    expect(page.locator("#operations-candles-read_candles .parameters")).to_contain_text("The exchange's ticker")
    for scheme, background in (("dark", "rgb(15, 19, 26)"), ("light", "rgb(244, 245, 247)")):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        expect(page.locator("body")).to_have_css("background-color", background)
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)

    assert page.request.post("/login", form={"name": "viewer", "password": platform.passwords["viewer"]}).ok
    operation = page.locator("#operations-instruments-read_instruments")
    operation.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    expect(operation.locator(".live-responses-table")).to_contain_text("SBER")
