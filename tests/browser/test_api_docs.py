"""The API's documentation as a page: without a network, light and dark, wide and narrow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.running import Platform

pytestmark = [pytest.mark.postgres, pytest.mark.browser]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_shows_every_operation(page: Page, tmp_path: Path, scheme: str) -> None:
    """Nobody needs to log in to read it; nothing is cut off, and nothing is asked of another server."""
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto("/api/docs")
    document = json.loads(page.request.get("/api/v1/openapi.json").text())
    expect(page.locator(".opblock")).to_have_count(sum(map(len, document["paths"].values())))
    page.locator("#operations-candles-read_candles").click()
    expect(page.locator("#operations-candles-read_candles .parameters")).to_contain_text("The exchange's ticker")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
        page.screenshot(path=tmp_path / f"{scheme}-{width}.png")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(15, 19, 26)" if scheme == "dark" else "rgb(244, 245, 247)")


def test_who_is_logged_in_tries_an_operation(page: Page, platform: Platform) -> None:
    """The session's cookie goes with what the page asks, and the answer is shown."""
    assert page.request.post("/login", form={"name": "viewer", "password": platform.passwords["viewer"]}).ok
    page.goto("/api/docs#/instruments/read_instruments")
    operation = page.locator("#operations-instruments-read_instruments")
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    expect(operation.locator(".live-responses-table")).to_contain_text("SBER")
