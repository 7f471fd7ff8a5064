"""The Ingest page: admins queue and cancel; others neither see nor reach it."""

from __future__ import annotations

import html
from collections.abc import Callable

import pytest
from playwright.sync_api import APIRequestContext, Page
from psycopg.types.json import Jsonb

from gradio_app.ingest import split_tickers
from tests.browser.callbacks import call_back
from tests.browser.running import Platform

pytestmark = [pytest.mark.browser, pytest.mark.postgres]

WRONG: list[tuple[list[object], str]] = [
    (["SBER", ["1d"], "2024-02-30", "", False], "from: there is no day 2024-02-30"),
    (["SBER", ["1d"], "2024-01-02", "2024-01-01", False], "till 2024-01-01 lies before from 2024-01-02: swap them"),
    (["SBER", ["1d"], "", "", True], "a re-read needs from: say the first date to read again"),
    (["SBER", [], "", "", False], "timeframes: is empty: name at least one"),
    (["", ["1d"], "", "", False], "instruments: is empty: name at least one"),
    ([None, ["1d"], None, None, False], "instruments: is empty: name at least one"),
    ([" ".join(f"A{number}" for number in range(10_000)), ["1d"], "", "", False], "10,000 were given, at most 1,000"),
    (["<img src=x onerror=alert(1)>", ["1d"], "", "", False], "is not a ticker"),
    (["SBER", ["5m"], "", "", False], "5m"),
    (["SBER", {"a": 1}, 7, [], "yes"], ""),
]


@pytest.mark.parametrize("role", ["viewer", "analyst"])
def test_who_is_no_admin_queues_nothing(
    asking_as: Callable[[str], APIRequestContext], platform: Platform, role: str
) -> None:
    """The page's callbacks refuse: nothing is queued, and the refusal is on record."""
    before = platform.query("SELECT count(*) FROM lake.job")

    answer = call_back(asking_as(role), "submit", ["SBER", ["1d"], "", "", False])

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


def test_the_page_says_what_failed_and_that_rows_add_up(log_in: Callable[..., Page], platform: Platform) -> None:
    """Tickers that failed are named beside what landed, spans that were cut are told, and rows are accounted for."""
    job_id = made_job(platform)
    finish_window(platform, job_id, "landed", None)
    finish_window(platform, job_id, "failed", "page 3 began at row 1000, expected 1500")
    report = {
        "errors": [{"secid": "XXXX", "message": "XXXX: the exchange does not know 'XXXX'"}],
        "notes": {"SBER": "1m asked 1990-01-01..now, the exchange has 2011-12-08..2026-11-25: cut to that"},
    }
    counts = {"received": 9871, "accepted": 9000, "unchanged": 870, "quarantined": 1}
    platform.query(
        "INSERT INTO lake.step_run (run_id, step, started_at, finished_at, seconds, report)"
        " VALUES (%s, 'silver', now(), now(), 1, %s) RETURNING run_id",
        f"silver-{job_id}",
        Jsonb({"tables": {"silver.candles": counts}}),
    )
    platform.query(
        "UPDATE lake.job SET state = 'failed', planned_at = now(), finished_at = now(), report = %s"
        " WHERE job_id = %s RETURNING job_id",
        Jsonb(report),
        job_id,
    )
    page = log_in("admin", "/ingest")
    page.click(f"tr[data-job='{job_id}']")
    page.wait_for_selector(
        ".lh-message:has-text('1 of 1 tickers and 1 of 2 windows could not be read; all else landed.')"
    )
    page.wait_for_selector(".lh-message:has-text(\"XXXX: the exchange does not know 'XXXX'\")")
    page.wait_for_selector(".lh-notes:has-text('SBER: 1m asked 1990-01-01..now')")
    page.wait_for_selector(".lh-verdict:has-text('All 9,871 rows received are accounted for')")
    assert "silver.candles9,8719,000870001" in page.inner_text(".lh-details > .lh-plain").replace("\t", "").replace(
        "\n", ""
    )

    page.click("#lh-retry")
    page.wait_for_selector(f".lh-message:has-text('Job {job_id} goes on with what had failed.')")
    assert platform.query("SELECT state, report -> 'again' FROM lake.job WHERE job_id = %s", job_id) == [
        ("running", ["XXXX"])
    ]
    assert platform.query("SELECT action, outcome FROM lake.audit WHERE target = %s", f"job {job_id}") == [
        ("retry", "queued")
    ]


def test_rows_that_do_not_add_up_are_an_alarm(log_in: Callable[..., Page], platform: Platform) -> None:
    """The table is named, and what to do."""
    job_id = made_job(platform)
    platform.query(
        "INSERT INTO lake.step_run (run_id, step, started_at, finished_at, seconds, report)"
        " VALUES (%s, 'silver', now(), now(), 1, %s) RETURNING run_id",
        f"silver-{job_id}",
        Jsonb({"tables": {"silver.history": {"received": 2, "accepted": 1}}}),
    )
    page = log_in("admin", "/ingest")
    page.click(f"tr[data-job='{job_id}']")
    page.wait_for_selector(".lh-verdict.lh-bad:has-text('Rows do not add up in silver.history: compare')")
    platform.query("DELETE FROM lake.step_run WHERE run_id = %s RETURNING run_id", f"silver-{job_id}")


def test_a_wrong_request_says_what_is_wrong_and_stores_nothing(log_in: Callable[..., Page], platform: Platform) -> None:
    """A ticker that cannot be is named in the message."""
    page = log_in("admin", "/ingest")
    before = platform.query("SELECT count(*) FROM lake.job")
    page.fill("#lh-tickers :is(input, textarea)", "SBER NO/PE")
    page.click("#lh-queue")
    page.wait_for_selector(".lh-message.lh-error:has-text('NO/PE')")

    assert platform.query("SELECT count(*) FROM lake.job") == before


def test_what_a_script_sends_to_the_page_is_refused(
    asking_as: Callable[[str], APIRequestContext], platform: Platform
) -> None:
    """The callback says what was wrong, as text and never as a page or a traceback; nothing is stored."""
    admin = asking_as("admin")
    before = platform.query("SELECT count(*) FROM lake.job")
    for values, message in WRONG:
        answer = call_back(admin, "submit", values)
        said = html.unescape(answer)
        assert message in said, values
        assert "Traceback" not in said, values
        assert "<img" not in answer, values
    assert platform.query("SELECT count(*) FROM lake.job") == before


@pytest.mark.parametrize("text", ["SBER GAZP", "SBER,GAZP", " SBER;\n GAZP,, SBER "])
def test_tickers_are_separated_by_anything_and_taken_once(text: str) -> None:
    """Commas, semicolons, blanks and line ends separate; order is kept."""
    assert split_tickers(text) == ["SBER", "GAZP"]


def made_job(platform: Platform) -> object:
    """Make a running job of two windows, all planned."""
    ((job_id,),) = platform.query(
        "INSERT INTO lake.job (kind, state, requested_by, params, started_at, planned_at)"
        " VALUES ('ingest', 'running', 'admin', %s, now(), now()) RETURNING job_id",
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


def test_all_columns_of_the_jobs_are_in_sight_and_schedules_follow(
    log_in: Callable[..., Page], platform: Platform
) -> None:
    """At 1280 pixels the last column, By, is not cut off; a short page has no gap above the schedules."""
    made_job(platform)
    page = log_in("admin", "/ingest")
    page.set_viewport_size({"width": 1280, "height": 1400})
    page.wait_for_selector(".lh-jobs tbody tr")
    page.wait_for_selector(".lh-schedules")

    assert page.evaluate(
        "(() => { const box = document.querySelector('.lh-scroll:has(.lh-jobs)'); "
        "return box.scrollWidth <= box.clientWidth; })()"
    )
    gap = page.evaluate(
        "document.querySelector('.lh-timetable').getBoundingClientRect().top - "
        "Math.max(...[...document.querySelectorAll('.lh-ingest > *')].map((part) => part.lastElementChild"
        ".getBoundingClientRect().bottom))"
    )
    assert gap < 60
