"""The Ingest page: admins queue and cancel; others neither see nor reach it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page
from psycopg.types.json import Jsonb

from gradio_app.ingest import split_tickers
from tests.browser.running import Platform

pytestmark = [pytest.mark.browser, pytest.mark.postgres]


@pytest.mark.parametrize("role", ["viewer", "analyst"])
def test_who_is_no_admin_has_no_ingest(log_in: Callable[..., Page], platform: Platform, role: str) -> None:
    """The page is not offered, not given, and its callbacks refuse: nothing is queued, and the refusal is on record."""
    page = log_in(role)
    assert page.inner_text(".lh-header nav") == "Market"
    assert page.request.get("/ingest").status == 403
    before = platform.query("SELECT count(*) FROM lake.job")

    answer = call_back(page, "submit", ["SBER", ["1d"], "", "", False])

    assert "admin" in answer
    assert platform.query("SELECT count(*) FROM lake.job") == before
    assert platform.query(
        "SELECT outcome FROM lake.audit WHERE user_name = %s AND action = 'ingest' ORDER BY audit_id DESC LIMIT 1", role
    ) == [("refused",)]


def test_an_admin_queues_tickers_sees_the_job_and_cancels_it(log_in: Callable[..., Page], platform: Platform) -> None:
    """What the form says becomes a job, which the table shows and the button stops; both are on the audit record."""
    page = log_in("admin", "/ingest")
    page.fill("#lh-tickers :is(input, textarea)", "SBER, GAZP\tLKOH SBER")
    page.click("text=Minute")
    page.fill("#lh-ingest-from :is(input, textarea)", "2026-01-01")
    page.click("#lh-queue")
    page.wait_for_selector(".lh-message:has-text('is queued')")

    (job_id, state, params), *_ = platform.query("SELECT job_id, state, params FROM lake.job ORDER BY job_id DESC")
    assert (state, params["instruments"]) == ("queued", ["SBER", "GAZP", "LKOH"])  # type: ignore[index]
    assert (sorted(params["timeframes"]), params["from"]) == (["1d", "1m"], "2026-01-01")  # type: ignore[index]
    assert "SBER GAZP LKOH" in page.inner_text(f"tr[data-job='{job_id}']")

    page.click("#lh-cancel")
    page.wait_for_selector(f".lh-message:has-text('Job {job_id} is cancel')")

    page.wait_for_selector(f"tr[data-job='{job_id}'] .lh-state:has-text('cancel')")
    actions = platform.query(
        "SELECT action, user_name FROM lake.audit WHERE action IN ('ingest', 'cancel') AND user_name = 'admin'"
    )
    assert {("ingest", "admin"), ("cancel", "admin")} <= set(actions)


def test_the_table_follows_the_job_by_itself(log_in: Callable[..., Page], platform: Platform) -> None:
    """Progress that others write appears without a click: windows, rows, failures and their reasons."""
    job_id = made_job(platform)
    page = log_in("admin", "/ingest")
    page.wait_for_selector(f"tr[data-job='{job_id}']:has-text('0 / 2')")
    page.click(f"tr[data-job='{job_id}']")

    finish_window(platform, job_id, "landed", None)
    page.wait_for_selector(f"tr[data-job='{job_id}']:has-text('1 / 2')")
    finish_window(platform, job_id, "failed", "page 3 began at row 1000, expected 1500")
    page.wait_for_selector(".lh-details:has-text('page 3 began at row 1000, expected 1500')")


def test_a_wrong_request_says_what_is_wrong_and_stores_nothing(log_in: Callable[..., Page], platform: Platform) -> None:
    """A ticker that cannot be is named in the message."""
    page = log_in("admin", "/ingest")
    before = platform.query("SELECT count(*) FROM lake.job")
    page.fill("#lh-tickers :is(input, textarea)", "SBER NO/PE")
    page.click("#lh-queue")
    page.wait_for_selector(".lh-message.lh-error:has-text('NO/PE')")

    assert platform.query("SELECT count(*) FROM lake.job") == before


@pytest.mark.parametrize("text", ["SBER GAZP", "SBER,GAZP", " SBER;\n GAZP,, SBER "])
def test_tickers_are_separated_by_anything_and_taken_once(text: str) -> None:
    """Commas, semicolons, blanks and line ends separate; order is kept."""
    assert split_tickers(text) == ["SBER", "GAZP"]


def call_back(page: Page, name: str, values: list[object]) -> str:
    """Call a callback of the Ingest page by hand, as a script would; return what the server says about it."""
    config = page.request.get("/config").json()
    number = next(item["id"] for item in config["dependencies"] if str(item.get("api_name")).startswith(name))
    joined = page.request.post(
        "/gradio_api/queue/join", data={"data": values, "fn_index": number, "session_hash": "by-hand"}
    )
    assert joined.ok
    for line in page.request.get("/gradio_api/queue/data?session_hash=by-hand").text().splitlines():
        if line.startswith("data:") and json.loads(line[5:])["msg"] == "process_completed":
            return line
    pytest.fail("the callback gave no answer")


def made_job(platform: Platform) -> object:
    """Make a running job of two windows."""
    ((job_id,),) = platform.query(
        "INSERT INTO lake.job (kind, state, requested_by, params, started_at)"
        " VALUES ('ingest', 'running', 'admin', %s, now()) RETURNING job_id",
        Jsonb({"instruments": ["SBER"], "timeframes": ["1m"]}),
    )
    platform.query(
        "INSERT INTO lake.job_window"
        " (job_id, family, engine, market, board, secid, timeframe, from_at, till_date, state)"
        " SELECT %s, 'candles', 'stock', 'shares', 'TQBR', 'SBER', '1m', start, start::date + 14, 'running'"
        " FROM unnest(ARRAY[timestamp '2026-01-01', timestamp '2026-01-16']) start RETURNING window_id",
        job_id,
    )
    return job_id


def finish_window(platform: Platform, job_id: object, state: str, error: str | None) -> None:
    """Finish one of the windows that run."""
    platform.query(
        "UPDATE lake.job_window SET state = %s, error = %s, pages = 20, rows = 9871 WHERE window_id ="
        " (SELECT min(window_id) FROM lake.job_window WHERE job_id = %s AND state = 'running') RETURNING window_id",
        state,
        error,
        job_id,
    )
