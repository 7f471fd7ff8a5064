"""The Quality page: admins see what was refused and what is in doubt."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import APIRequestContext, Page

from tests.browser.running import Platform

pytestmark = [pytest.mark.browser, pytest.mark.postgres]
SOURCE = "iss/candles/stock/shares/TQBR/SBER/1m/2026-01-01_2026-01-15/20260116T070000Z-0123456789abcdef.jsonl.gz#2.17"
ROW = (
    '{"open": 280.1, "high": 279.0, "low": 279.5, "begin": "2026-01-05 10:16:00", "note": "<script>alert(1)</script>"}'
)


@pytest.fixture
def doubts(platform: Platform) -> None:
    """Two rows in quarantine, of two tickers, and two dates in doubt."""
    for number, secid in enumerate(("SBER", "GAZP")):
        platform.query(
            "INSERT INTO lake.quarantine (source, table_name, engine, market, board, secid, timeframe, rule, payload,"
            " fetched_at) VALUES (%s, 'silver.candles', 'stock', 'shares', 'TQBR', %s, '1m', 'high below low', %s,"
            " '2026-01-16 07:00Z') ON CONFLICT (source) DO NOTHING RETURNING source",
            f"{SOURCE}{number}",
            secid,
            ROW,
        )
        platform.query(
            "INSERT INTO lake.volume_gap (engine, market, board, secid, timeframe, trade_date, state, measure,"
            " day_volume, intraday_volume, object_key) VALUES ('stock', 'shares', 'TQBR', %s, '1m', '2026-01-05', %s,"
            " 'volume', %s, 123456, 'iss/x') ON CONFLICT DO NOTHING RETURNING secid",
            secid,
            ("differs", "not provable")[number],
            (234567.0, None)[number],
        )
    platform.query(
        "INSERT INTO lake.price_jump SELECT instrument_id, '2026-01-04 21:00Z', '2026-01-05', 'SBER', '2026-01-04',"
        " 2747, 340.8, 1, 1, 8 FROM gold.dim_instrument WHERE secid = 'SBER' ON CONFLICT DO NOTHING RETURNING secid"
    )
    platform.query(
        "INSERT INTO lake.quarantine_count VALUES ('silver.candles', 'high below low', 2)"
        " ON CONFLICT DO NOTHING RETURNING rows"
    )


@pytest.mark.parametrize("role", ["viewer", "analyst"])
def test_who_is_no_admin_has_no_lists(asking_as: Callable[[str], APIRequestContext], role: str) -> None:
    """The functions refuse them; test_login.py has the page."""
    asking = asking_as(role)
    assert asking.get("/api/v1/quarantine").status == 403
    assert asking.get("/api/v1/quality").status == 403


@pytest.mark.usefixtures("doubts")
def test_an_admin_sees_rule_payload_and_place_of_all_or_of_one_ticker(log_in: Callable[..., Page]) -> None:
    """
    Each row stands with the rule it broke, as it was received, and with where it lies in Bronze.

    A ticker typed leaves its rows and dates only; one that cannot be is said.
    """
    page = log_in("admin", "/quality")
    page.wait_for_selector(".lh-quality td:has-text('high below low')")
    table = page.inner_text(".lh-quality")
    assert "2 rows (silver.candles: high below low 2)" in table
    for text in (ROW, f"{SOURCE}0", "SBER TQBR 1m", "2026-01-16 07:00:00"):
        assert text in table
    assert "1 differs, 1 not provable" in table
    for text in ("2026-01-05", "234,567", "123,456", "read again at its next ingest", "ingest 1d of it, too"):
        assert text in table
    assert "if it was a split: lakehouse splits add SBER 2026-01-05 1 8 --reason" in table
    for theme in ("light", "dark"):
        page.evaluate("theme => window.lakehouseTheme.choose(theme)", theme)
        page.wait_for_function("isDark => document.body.classList.contains('dark') === isDark", arg=theme == "dark")
        width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert width == 0

    page.wait_for_selector("td:has-text('GAZP')")
    page.fill("#lh-quality-ticker :is(input, textarea)", "SBER")
    page.press("#lh-quality-ticker :is(input, textarea)", "Enter")
    page.wait_for_selector("td:has-text('GAZP')", state="detached")
    assert page.locator(".lh-quality tbody tr").count() == 3
    page.fill("#lh-quality-ticker :is(input, textarea)", "NO/PE")
    page.press("#lh-quality-ticker :is(input, textarea)", "Enter")
    page.wait_for_selector(".lh-message.lh-error:has-text(\"'NO/PE' is not a ticker\")")
