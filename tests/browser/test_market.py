"""The Market page: what is drawn is what the functions give."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.browser.contexts import watched
from tests.browser.made_market import SPLIT_DATE
from tests.browser.running import Platform

pytestmark = [pytest.mark.browser, pytest.mark.postgres]

SCREENSHOTS = Path(__file__).parent / "screenshots"
DRAWN = "window.lakehouseChart?.state === 'drawn'"


@pytest.fixture(scope="module")
def kept(keeping: Callable[[str, str], Page]) -> Page:
    return keeping("viewer", "/?secid=SBER&timeframe=1d")


@pytest.fixture
def chart(kept: Page, platform: Platform) -> Iterator[Page]:
    """The page with SBER's days, as one has it who has logged in."""
    wait_for(kept, "SBER", "1d")
    with watched(kept.context, platform):
        yield kept
    kept.unroute_all()
    if kept.evaluate("lakehouseChart.request.secid") != "SBER":
        pick(kept, "SBER")
    kept.click("button:text-is('Adjusted')")
    kept.click("button:text-is('Daily')")  # and its usual range


def test_minute_candles_drawn_are_the_rows_of_the_functions(chart: Page) -> None:
    """Pick an instrument, switch to Minute: each candle, volume, SMA and RSI drawn is a row of the API, at its time."""
    page = chart
    pick(page, "YDEX")
    pick(page, "SBER")
    page.click("button:text-is('Minute')")
    wait_for(page, "SBER", "1m")

    rows = api_rows(page)
    drawn = {name: page.evaluate(f"lakehouseChart.{name}") for name in ("candles", "volume", "sma", "rsi")}

    assert len(rows) > 3000
    assert page.evaluate("lakehouseChart.step") is None
    assert prices(drawn["candles"]) == [(row["open"], row["high"], row["low"], row["close"]) for row in rows]
    for name, column in (("volume", "volume"), ("sma", "sma_20"), ("rsi", "rsi_14")):
        assert [point["value"] for point in drawn[name]] == [row[column] for row in rows if row[column] is not None]

    # Moscow's clock: the first minute of the day, 07:00 UTC, is drawn at 10:00
    first = page.evaluate("new Date(lakehouseChart.candles[0].time * 1000).toISOString()")
    assert first[:19] == rows[0]["begin_at"].replace("T07:", "T10:")[:19]


def test_moscow_was_four_hours_ahead_from_2011_to_2014(chart: Page) -> None:
    """The clock of the day counts: 06:00 UTC was 10:00 in July 2012, 07:00 UTC is 10:00 since."""
    page = chart
    columns = ["begin_at", "trade_date", "open", "high", "low", "close", "value", "volume", "sma_20", "rsi_14"]
    rows = [
        ["2012-07-02T06:00:00Z", "2012-07-02", 84.1, 84.5, 84.0, 84.2, 1e6, 1e4, None, None],
        ["2026-07-02T07:00:00Z", "2026-07-02", 284.1, 284.5, 284.0, 284.2, 1e6, 1e4, None, None],
    ]
    answer = {"columns": columns, "rows": rows, "data_version": 1, "next": None}
    page.route("**/api/v1/candles*", lambda route: route.fulfill(json=answer))
    page.click("button:text-is('Minute')")
    wait_for(page, "SBER", "1m")

    times = page.evaluate("lakehouseChart.candles.map(({time}) => new Date(time * 1000).toISOString().slice(0, 16))")

    assert times == ["2012-07-02T10:00", "2026-07-02T10:00"]


def test_a_candle_of_which_only_the_close_is_known_is_a_dash(chart: Page) -> None:
    """The legend says what is missing."""
    page = chart
    columns = ["begin_at", "trade_date", "open", "high", "low", "close", "value", "volume", "sma_20", "rsi_14"]
    rows = [
        ["2026-03-01T21:00:00Z", "2026-03-02", 270.0, 290.0, 265.0, 280.0, 1e6, 1e4, None, None],
        ["2026-03-31T21:00:00Z", "2026-04-01", None, None, None, 260.0, 1e6, None, None, None],
    ]
    answer = {"columns": columns, "rows": rows, "data_version": 1, "next": None}
    page.route("**/api/v1/candles*", lambda route: route.fulfill(json=answer))
    page.click("button:text-is('Minute')")
    wait_for(page, "SBER", "1m")

    drawn = page.evaluate("lakehouseChart.candles.map(({open, high, low, close}) => [open, high, low, close])")

    assert drawn == [[270.0, 290.0, 265.0, 280.0], [260.0] * 4]
    assert (legend(page)["open"], legend(page)["close"]) == ("–", "260.00")


def test_the_legend_shows_the_last_candle_and_then_the_one_under_the_cursor(chart: Page) -> None:
    """Without a cursor the legend's close is the last close; with one it is that candle's."""
    page = chart
    page.mouse.move(0, 0)
    rows = api_rows(page)

    expect(page.locator("text=prices in RUB").first).to_be_visible()
    assert legend(page)["close"] == f"{rows[-1]['close']:,.2f}"
    assert legend(page)["rsi"] == f"{rows[-1]['rsi_14']:.1f}"

    box = page.locator("#lh-chart").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + 120)
    at = page.evaluate(f"Math.round(lakehouseChart.timeScale.coordinateToLogical({box['width'] / 3}))")
    page.wait_for_function(f"document.querySelector('.lh-close b').textContent === '{rows[at]['close']:,.2f}'")

    assert legend(page)["sma"] == f"{rows[at]['sma_20']:,.2f}"
    page.mouse.move(0, 0)


def test_all_panes_are_drawn_in_both_themes(chart: Page) -> None:
    """In light and in dark, the page has the theme's background, and candles, volume and RSI panes hold colour."""
    SCREENSHOTS.mkdir(exist_ok=True)
    for theme in ("dark", "light"):
        chart.emulate_media(color_scheme=theme)
        if theme == "dark":  # also from its first moment
            chart.reload()
            wait_for(chart, "SBER", "1d")
        chart.wait_for_function("isDark => document.body.classList.contains('dark') === isDark", arg=theme == "dark")
        chart.evaluate("new Promise((resume) => requestAnimationFrame(() => requestAnimationFrame(resume)))")

        shot = chart.screenshot(path=SCREENSHOTS / f"market_{theme}.png")

        picture = Image.open(io.BytesIO(shot)).convert("RGB")
        assert (sum(picture.getpixel((900, 10))) > 600) is (theme == "light")  # type: ignore[arg-type]
        for pane in chart.evaluate("lakehouseChart.panes"):
            area = picture.crop((int(pane["left"]) + 4, int(pane["top"]) + 24, 1300, int(pane["bottom"]) - 4))
            assert coloured(area) > 500


def test_a_former_ticker_finds_the_instrument(chart: Page) -> None:
    """Typing the code before the rename offers the instrument under today's code."""
    page = chart
    page.click("#lh-instrument")
    page.keyboard.type("yndx")
    page.wait_for_selector("#lh-options li:has-text('formerly YNDX')")
    page.keyboard.press("Enter")
    wait_for(page, "YDEX", "1d")


def test_raw_prices_jump_at_the_split_and_adjusted_ones_do_not(chart: Page) -> None:
    """Raw is as traded, adjusted is comparable; the SMA stays with the prices."""
    page = chart
    pick(page, "GMKN")
    page.click("button:text-is('All')")
    wait_for(page, "GMKN", "1d")
    adjusted = page.evaluate("lakehouseChart.candles")
    page.click("button:text-is('Raw')")
    page.wait_for_function("lakehouseChart.request.adjust === 'none' && lakehouseChart.state === 'drawn'")
    raw = page.evaluate("lakehouseChart.candles")
    average = page.evaluate("lakehouseChart.sma")

    assert greatest_jump(adjusted) < 1.2
    assert greatest_jump(raw) > 80
    assert average[0]["value"] / raw[19]["close"] == pytest.approx(1, abs=0.2)
    assert page.evaluate("new Date(lakehouseChart.candles.at(-1).time * 1000).toISOString()") > SPLIT_DATE.isoformat()


def test_an_index_without_volume_shows_its_turnover(chart: Page) -> None:
    """Where volume is NULL the pane shows the turnover and says so."""
    page = chart
    pick(page, "IMOEX")

    assert [point["value"] for point in page.evaluate("lakehouseChart.volume")] == [
        row["value"] for row in api_rows(page)
    ]
    expect(page.locator("text=turnover instead of volume").first).to_be_visible()
    expect(page.locator("text=prices in points").first).to_be_visible()
    expect(page.locator("button:text-is('Minute')")).to_be_disabled()


def test_many_minutes_are_all_read_and_drawn_joined_until_one_zooms_in(chart: Page) -> None:
    """Too many candles for the screen are joined, losing no volume; zoomed in, each is drawn."""
    page = chart
    page.click("button:text-is('Minute')")
    page.click("button:text-is('All')")
    wait_for(page, "SBER", "1m")
    rows = api_rows(page)

    assert len(rows) > 30_000
    assert page.evaluate("lakehouseChart.rows") == len(rows)
    assert page.evaluate("lakehouseChart.read('close')") == [row["close"] for row in rows]
    assert page.evaluate("lakehouseChart.step") > 60
    assert sum(point["value"] for point in page.evaluate("lakehouseChart.volume")) == sum(row["volume"] for row in rows)
    assert "zoom in for every candle" in page.inner_text("#lh-legend")

    page.evaluate("lakehouseChart.timeScale.setVisibleLogicalRange({from: 500, to: 520})")
    page.wait_for_function("lakehouseChart.step === null")
    drawn = prices(page.evaluate("lakehouseChart.candles"))
    rows_by_prices = [(row["open"], row["high"], row["low"], row["close"]) for row in rows]
    begin = rows_by_prices.index(drawn[0])
    assert drawn == rows_by_prices[begin : begin + len(drawn)]


def test_data_published_meanwhile_makes_the_page_read_again(chart: Page) -> None:
    """A 409 in the middle of the pages starts the reading again: no mixture of versions is drawn."""
    page = chart
    refused = 0

    def refuse_once(route: Route) -> None:
        nonlocal refused
        refused += 1
        if refused == 3:
            route.fulfill(status=409, json={"code": "data_moved", "detail": "start again"})
        else:
            route.continue_()

    page.route("**/api/v1/candles*", refuse_once)
    page.click("button:text-is('Minute')")
    page.click("button:text-is('All')")
    wait_for(page, "SBER", "1m")
    page.wait_for_function("lakehouseChart.request.from < '2026-10-01' && lakehouseChart.state === 'drawn'")

    assert refused > 3
    assert page.evaluate("lakehouseChart.read('close')") == [row["close"] for row in api_rows(page)]


def test_an_error_is_shown_in_the_page_and_can_be_tried_again(chart: Page) -> None:
    """A failing function leaves no half-drawn chart but its message and a button."""
    page = chart
    page.route("**/api/v1/candles*", lambda route: route.fulfill(status=500, json={"detail": "the disk is full"}))
    page.click("button:text-is('6M')")
    page.wait_for_selector("#lh-note:has-text('the disk is full')")
    assert page.evaluate("lakehouseChart.candles") == []

    page.unroute("**/api/v1/candles*")
    page.click("text=Try again")
    page.wait_for_function(DRAWN)


def test_instruments_that_could_not_be_read_can_be_tried_again(page: Page, log_in: Callable[..., Page]) -> None:
    """Before there is an instrument the button begins from the start."""
    page.route("**/api/v1/instruments*", lambda route: route.fulfill(status=503, json={"detail": "no database"}))
    log_in(path="/?secid=YDEX&adjust=none")
    page.wait_for_selector("#lh-note:has-text('no database')")
    page.click("button:text-is('All')")
    expect(page.locator("text=Try again").first).to_be_visible()

    page.unroute("**/api/v1/instruments*")
    page.click("text=Try again")
    wait_for(page, "YDEX", "1d")


def test_an_address_shows_the_instrument_it_names_or_none(log_in: Callable[..., Page]) -> None:
    """A former code shows its instrument; one that is not there is told, what else it asks is for the one picked."""
    page = log_in(path="/?secid=YNDX")
    wait_for(page, "YDEX", "1d")
    page.goto("/?secid=SBRE&adjust=none")
    page.wait_for_selector("#lh-note:has-text('There are no candles of SBRE')")
    assert page.evaluate("[lakehouseChart.request, lakehouseChart.rows]") == [None, 0]
    assert page.evaluate("localStorage.getItem('lakehouse-secid')") == "YDEX"

    page.click("#lh-instrument")
    page.click("#lh-options li:has-text('GMKN')")
    wait_for(page, "GMKN", "1d")
    assert page.evaluate("lakehouseChart.request.adjust") == "none"


def test_an_instrument_without_candles_is_not_offered(log_in: Callable[..., Page]) -> None:
    """It is not found, Enter leaves what is drawn and its CSV, and an address that names it shows no other one."""

    def add_one_without(route: Route) -> None:
        x5 = {"secid": "X5", "secids": ["X5"], "name": "Икс 5", "board": "TQBR", "timeframes": []}
        route.fulfill(json={"instruments": [x5, *route.fetch().json()["instruments"]]})

    page = log_in(path="/?secid=SBER")
    page.wait_for_function(DRAWN)
    page.route("**/api/v1/instruments*", add_one_without)
    page.click("#lh-instrument")
    page.wait_for_selector("#lh-options li:has-text('GMKN')")
    assert page.locator("#lh-options li:has-text('X5')").count() == 0
    page.keyboard.type("X5")
    page.wait_for_selector("#lh-options li:has-text('Nothing found')")
    page.keyboard.press("Enter")
    assert page.evaluate("[lakehouseChart.state, lakehouseChart.request.secid]") == ["drawn", "SBER"]
    page.goto("/?secid=X5")
    page.wait_for_selector("#lh-note:has-text('There are no candles of X5')")


def test_dates_without_candles_say_so(log_in: Callable[..., Page]) -> None:
    """An empty range is told as such, with a way out."""
    page = log_in(path="/?secid=SBER&timeframe=1d&from=2026-11-21&till=2026-11-22")
    page.wait_for_selector("#lh-note:has-text('SBER has no daily candles between 2026-11-21 and 2026-11-22')")
    page.click("text=Show all")
    wait_for(page, "SBER", "1d")

    assert page.evaluate("lakehouseChart.rows") == 520


def test_the_csv_file_holds_the_candles_shown(chart: Page) -> None:
    """The file's rows are the API's rows, value for value."""
    page = chart
    pick(page, "YDEX")
    with page.expect_download() as download:
        page.click("#lh-csv")
    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))

    expected = api_rows(page)
    assert len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        assert row["trade_date"] == wanted["trade_date"]
        assert row["begin_at"][:19] == wanted["begin_at"][:19]
        for name in ("open", "high", "low", "close", "value", "volume", "sma_20", "rsi_14"):
            assert (float(row[name]) if row[name] else None) == wanted[name]


def test_the_csv_file_waits_for_all_candles(chart: Page) -> None:
    """While others are read nothing is given: part of them, or the former ones under the new dates' name."""
    page = chart
    page.route("**/api/v1/candles*", lambda route: None)  # not answered
    with page.expect_request("**/api/v1/candles*"):
        page.click("button:text-is('6M')")
    expect(page.locator("#lh-csv")).to_be_disabled()
    page.unroute("**/api/v1/candles*")  # what was held goes on
    page.wait_for_function(DRAWN)
    with page.expect_download() as download:
        page.click("#lh-csv")
    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert len(rows) == len(api_rows(page))
    first, last = (page.input_value(f"#lh-{end}") for end in ("from", "till"))
    assert download.value.suggested_filename == f"SBER_1d_{first}_{last}_adjusted.csv"


def test_what_is_chosen_is_in_the_address(log_in: Callable[..., Page]) -> None:
    """Reloading the page shows the same chart, so an address can be passed on."""
    page = log_in(path="/?secid=SBER")
    page.wait_for_function(DRAWN)
    page.click("button:text-is('Minute')")
    wait_for(page, "SBER", "1m")
    rows = page.evaluate("lakehouseChart.rows")
    page.reload()
    wait_for(page, "SBER", "1m")

    assert page.evaluate("lakehouseChart.rows") == rows


def pick(page: Page, secid: str) -> None:
    """Pick an instrument by typing its code."""
    page.wait_for_function(DRAWN)
    page.click("#lh-instrument")
    page.keyboard.type(secid)
    page.wait_for_selector(f"#lh-options li[aria-selected=true]:has-text('{secid}')")
    page.keyboard.press("Enter")
    page.wait_for_function(f"lakehouseChart.request.secid === '{secid}' && {DRAWN}")


def wait_for(page: Page, secid: str, timeframe: str) -> None:
    """Wait until the candles of a series are all read and drawn."""
    wanted = (
        f"window.lakehouseChart?.request?.secid === '{secid}' && lakehouseChart.request.timeframe === '{timeframe}'"
    )
    page.wait_for_function(f"{wanted} && lakehouseChart.state === 'drawn'")


def api_rows(page: Page) -> list[dict[str, Any]]:
    """Return the rows that the functions give for what the page shows, page by page, oldest first."""
    rows: list[dict[str, Any]] = []
    token = None
    while True:
        parameters = {**page.evaluate("lakehouseChart.request"), "limit": 10_000, **({"token": token} if token else {})}
        answer = page.request.get("/api/v1/candles", params=parameters)
        assert answer.ok
        document = answer.json()
        rows.extend(dict(zip(document["columns"], row, strict=True)) for row in document["rows"])
        token = document["next"]
        if token is None:
            return rows


def prices(candles: list[dict[str, float]]) -> list[tuple[float, float, float, float]]:
    """Return open, high, low and close of drawn candles."""
    return [(candle["open"], candle["high"], candle["low"], candle["close"]) for candle in candles]


def legend(page: Page) -> dict[str, str]:
    """Return the legend's texts by name."""
    return {
        name: page.inner_text(f"#lh-legend .lh-{name} b") for name in ("date", "open", "close", "volume", "sma", "rsi")
    }


def greatest_jump(candles: list[dict[str, float]]) -> float:
    """Return the greatest ratio of one close to the next, either way."""
    closes = [candle["close"] for candle in candles]
    return max(max(a / b, b / a) for a, b in pairwise(closes))


def coloured(picture: Image.Image) -> int:
    """Return how many pixels are not grey: candles, columns and lines are, grid and background are not."""
    channels = np.asarray(picture).astype(int)
    return int((channels.max(axis=2) - channels.min(axis=2) > 40).sum())
