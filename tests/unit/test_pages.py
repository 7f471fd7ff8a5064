"""The pure parts of the pages."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from gradio_app.jobs_table import details, duration, jobs, message
from gradio_app.login import local_path
from gradio_app.quality_table import jumped, quarantine, volumes
from lakehouse.bronze.doubts import VolumeGap
from lakehouse.jobs.job import Job, JobWindow
from lakehouse.serving.jumps import PriceJump
from lakehouse.serving.quarantine import QuarantinedRow, RuleCount

NOW = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)
JOB = Job(
    job_id=7,
    kind="ingest",
    state="running",
    requested_by="admin",
    params={
        "instruments": ["SBER", "GAZP", "LKOH", "T", "X5"],
        "timeframes": ["1d"],
        "from": "2026-01-01",
        "till": None,
    },
    report={},
    error=None,
    created_at=NOW,
    started_at=NOW - dt.timedelta(seconds=75),
    planned_at=NOW - dt.timedelta(seconds=70),
    finished_at=None,
    windows_total=4,
    windows_done=0,
    windows_failed=0,
    windows_cancelled=0,
    windows_merged=0,
    windows_published=0,
    pages=3,
    rows=1500,
)
WINDOW = JobWindow(
    window_id=1,
    family="candles",
    board="TQBR",
    secid="SBER",
    timeframe="1m",
    from_at=dt.datetime.fromisoformat("2026-01-01"),  # naive Moscow time
    till_date=dt.date(2026, 1, 15),
    state="failed",
    pages=2,
    rows=1000,
    attempts=3,
    error="<script>alert(1)</script>",
)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/ingest?job=1", "/ingest?job=1"),
        ("https://example.org", "/"),
        ("//example.org", "/"),
        ("/\\example.org", "/"),
        ("/a\r\nSet-Cookie: x=1", "/"),
        ("", "/"),
    ],
)
def test_only_paths_of_ours_are_gone_to(target: str, path: str) -> None:
    """Another site, in whatever spelling, becomes the first page."""
    assert local_path(target) == path


@pytest.mark.parametrize(("seconds", "text"), [(7.6, "8 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
def test_durations_are_told_as_people_say_them(seconds: float, text: str) -> None:
    """Two units at most."""
    assert duration(seconds) == text


def test_a_running_job_says_how_far_it_is() -> None:
    """Windows done of all, the time so far while the pace is unknown, and the first tickers of many."""
    table = jobs([JOB], picked=7, now=NOW)

    assert "0 / 4" in table
    assert "1 min 15 s so far" in table
    assert "SBER GAZP LKOH T and 1 more: 1d, 2026-01-01 – now" in table
    assert 'data-job="7" tabindex="0" aria-selected="true"' in table


def test_what_others_wrote_cannot_become_markup() -> None:
    """Errors and names are text, whatever they hold."""
    assert "<script>" not in details(JOB, [WINDOW], [])
    assert "<b>" not in message("<b>")


def test_the_row_conservation_of_the_merges_is_summed_per_table() -> None:
    """Each table of the merges has its line, and one says that they add up; other steps have none."""
    table = {"received": 1500, "accepted": 1490, "unchanged": 8, "revised": 2}
    steps: list[dict[str, Any]] = [
        {"step": "silver", "report": {"tables": {"silver.candles": table}}},
        {"step": "silver", "report": {"tables": {"silver.candles": table}}},
        {"step": "silver", "report": None},
        {"step": "serving", "report": {"rows": 3000}},
    ]

    shown = details(JOB, [], steps)

    assert "<td>silver.candles</td><td>3,000</td><td>2,980</td><td>16</td><td>4</td><td>0</td>" in shown
    assert "All 3,000 rows received are accounted for" in shown


def test_rows_that_do_not_add_up_stand_out() -> None:
    """The line says in which table and what to do, and the table's row is marked."""
    shown = details(JOB, [], [{"step": "silver", "report": {"tables": {"silver.history": {"received": 1}}}}])
    assert '<p class="lh-verdict lh-bad">Rows do not add up in silver.history: compare' in shown
    assert "<tr class=lh-wrong><td>silver.history</td>" in shown


def test_a_job_that_is_being_planned_shows_no_share() -> None:
    """Windows are still being added: a bar would go backwards."""
    planning = replace(JOB, planned_at=None, windows_done=2)
    assert 'width:0.0%"></i></div>2 / 4+' in jobs([planning], picked=None, now=NOW)
    assert 'width:50.0%"></i></div>2 / 4<' in jobs([replace(JOB, windows_done=2)], picked=None, now=NOW)


def test_a_job_says_how_far_its_windows_came() -> None:
    """Read from the exchange, merged, published: three counts."""
    job = replace(JOB, windows_done=4, windows_merged=3, windows_published=1)

    assert "4 windows: 4 read · 3 in Silver · 1 published" in details(job, [], [])


def test_each_error_of_a_job_is_told_once() -> None:
    """How much failed, then each ticker with its reason, then what failed for all."""
    errors = [{"secid": "NOPE", "message": "NOPE is unknown"}, {"secid": "ZZZ", "message": "ZZZ: no answer"}]
    job = replace(JOB, error="Spark ended", report={"errors": errors}, windows_failed=1)

    shown = details(job, [], [])

    assert "2 of 5 tickers and 1 of 4 windows could not be read; the rest goes on." in shown
    assert [shown.count(text) for text in ("NOPE is unknown", "ZZZ: no answer", ">Spark ended<")] == [1, 1, 1]


def test_many_errors_fill_no_page() -> None:
    """Twenty are told, and where all are."""
    errors = [{"secid": f"X{number}", "message": f"X{number} is unknown"} for number in range(30)]
    shown = details(replace(JOB, report={"errors": errors}), [], [])
    assert shown.count("is unknown") == 20
    assert "and 10 more: lakehouse jobs show 7" in shown


def test_what_was_refused_cannot_become_markup() -> None:
    """Rows in quarantine are shown as received, and as text; a rule's count stands above them."""
    row = QuarantinedRow("silver.candles", "stock", "shares", "TQBR", "<b>", "1m", "<i>", "<u>", "<s>", NOW)
    shown = quarantine([row], [RuleCount("silver.candles", "<i>", 1200)], has_more=True)
    assert not any(tag in shown for tag in ("<u>", "<s>", "<i>"))
    assert "1,200 rows (silver.candles: &lt;i&gt; 1,200); the newest 1 are shown" in shown
    assert "No row is in quarantine" in quarantine([], [], has_more=False)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, "read again at its next ingest"),
        ({"reread_at": NOW}, "read again 2026-11-25, the same: the exchange says so"),
        ({"state": "not provable", "day_volume": None}, "ingest 1d of it, too: then it is compared"),
    ],
)
def test_a_date_in_doubt_says_what_happens(changed: dict[str, Any], told: str) -> None:
    """What is asked again by itself, what was, and what a person can do."""
    gap = VolumeGap("stock", "shares", "TQBR", "SBER", "1m", dt.date(2026, 1, 5), "differs", "volume", 9, 8, NOW, None)
    shown = volumes([replace(gap, **changed)], {"differs": 1, "not provable": 1})
    assert told in shown
    assert "Dates: 1 differs, 1 not provable; the newest 1 are shown." in shown
    assert "No date is in doubt" in volumes([], {"differs": 0, "not provable": 0})


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (1.0, "lakehouse splits add A&amp;B 2024-08-20 1 8"),
        (0.125, "not in the prices: lakehouse splits --secid A&amp;B"),
    ],
)
def test_a_jump_of_prices_says_what_mends_it(known: float, told: str) -> None:
    """The command that adds the split, or the look at one that is known; nothing is taken for markup."""
    days = dt.date(2024, 8, 20), dt.date(2024, 8, 19)
    shown = jumped([PriceJump("stock", "shares", "TQBR", "A&B", *days, 2747.0, 340.8, known, 1, 8)], 2)
    assert told in shown
    for text in ("2024-08-20", "A&amp;B TQBR", "2,747", "340.8", "Days: 2; the newest 1 are shown."):
        assert text in shown
    assert "No day opens at a multiple" in jumped([], 0)
