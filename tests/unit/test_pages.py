"""The pure parts of the pages."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from starlette.requests import Request

from gradio_app.guard import is_same_origin
from gradio_app.jobs_table import details, duration, jobs, message
from gradio_app.login import local_path
from lakehouse.jobs.queue import Job, JobWindow

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


@pytest.mark.parametrize(
    ("origin", "is_ours"),
    [(None, True), ("http://127.0.0.1:8000", True), ("http://127.0.0.1:8001", False), ("null", False)],
)
def test_a_request_of_another_origin_is_known(origin: str | None, is_ours: bool) -> None:
    """Another port of the same machine is another origin; a program that sends none is not."""
    headers = [(b"host", b"127.0.0.1:8000"), *([(b"origin", origin.encode())] if origin else [])]
    assert is_same_origin(Request({"type": "http", "method": "POST", "headers": headers})) is is_ours


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
    """Each table of the merges has its line; other steps have none."""
    table = {"received": 1500, "accepted": 1490, "unchanged": 8, "revised": 2}
    steps: list[dict[str, Any]] = [
        {"step": "merge", "report": {"tables": {"silver.candles": table}}},
        {"step": "merge", "report": {"tables": {"silver.candles": table}}},
        {"step": "merge", "report": None},
        {"step": "publish", "report": {"rows": 3000}},
    ]

    shown = details(JOB, [], steps)

    assert "<td>silver.candles</td><td>3,000</td><td>2,980</td><td>16</td><td>4</td><td>0</td>" in shown


def test_a_job_says_how_far_its_windows_came() -> None:
    """Read from the exchange, merged, published: three counts."""
    job = replace(JOB, windows_done=4, windows_merged=3, windows_published=1)

    assert "4 windows: 4 read · 3 in Silver · 1 published" in details(job, [], [])


def test_each_error_of_a_job_is_told_once() -> None:
    """The job's own error may hold those of its instruments."""
    errors = [{"secid": "NOPE", "message": "NOPE is unknown"}, {"secid": "ZZZ", "message": "ZZZ: no answer"}]
    job = replace(JOB, error="NOPE is unknown; ZZZ: no answer; Spark ended", report={"errors": errors})

    shown = details(job, [], [])

    assert [shown.count(text) for text in ("NOPE is unknown", "ZZZ: no answer", ">Spark ended<")] == [1, 1, 1]
