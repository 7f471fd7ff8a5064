"""Jobs as HTML: pure functions of what the queue says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from html import escape
from typing import Any

from lakehouse.jobs.conservation import COUNTS, conservation, verdict
from lakehouse.jobs.job import Job, JobWindow

_HEAD = ("Job", "State", "What", "Windows", "Pages", "Rows", "Failed", "Time", "By")
_NOTES_SHOWN = 10
_ERRORS_SHOWN = 20


def message(text: str, *, is_error: bool = False) -> str:
    """Return the line under a form that says how it went."""
    return f'<p class="lh-message{" lh-error" if is_error else ""}" role="status">{escape(text)}</p>'


def jobs(rows: Sequence[Job], picked: int | None, now: dt.datetime, waits_for: str = "") -> str:
    """Return the table of jobs, newest first, the picked one marked, below what they all wait for."""
    above = message(waits_for, is_error=True) if waits_for else ""
    if not rows:
        return above + '<p class="lh-empty">No job was queued yet. Enter tickers on the left and press Queue.</p>'
    head = "".join(f"<th>{name}</th>" for name in _HEAD)
    body = "".join(_row(job, job.job_id == picked, now) for job in rows)
    return above + _scroll(f'<table class="lh-jobs"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>')


def details(job: Job | None, windows: Sequence[JobWindow], steps: Sequence[dict[str, Any]]) -> str:
    """
    Return what there is to know about one job: how far it is, what went wrong, what its merges did row by row.

    *steps* are what the stations did meanwhile (queue.steps_of).
    """
    if job is None:
        return ""
    parts = [f"<h3>Job {job.job_id} <small>{escape(job.asked)}</small></h3>", _stages(job)]
    parts.extend(message(error, is_error=True) for error in _errors(job))
    parts.append(_notes(job))
    parts.append(_conservation(steps))
    parts.append(_windows(windows, job.windows_total))
    return f'<div class="lh-details">{"".join(parts)}</div>'


def duration(seconds: float) -> str:
    """Return a time span as people say it: 8 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _row(job: Job, is_picked: bool, now: dt.datetime) -> str:
    # While windows are being added a share of them would go back and forth
    is_planned = job.planned_at is not None
    share = job.windows_over / job.windows_total if job.windows_total and is_planned else float(job.is_over)
    total = f"{job.windows_total:,}{'' if is_planned or job.is_over else '+'}"
    cells = (
        str(job.job_id),
        f'<span class="lh-state lh-state-{escape(job.state)}">{escape(job.state)}</span>',
        escape(job.asked),
        f'<div class="lh-bar"><i style="width:{share:.1%}"></i></div>{job.windows_over:,} / {total}',
        f"{job.pages:,}",
        f"{job.rows:,}",
        f'<span class="lh-bad">{job.windows_failed:,}</span>' if job.windows_failed else "0",
        _time(job, now),
        escape(job.requested_by),
    )
    mark = ' aria-selected="true"' if is_picked else ""
    return f'<tr data-job="{job.job_id}" tabindex="0"{mark}>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _time(job: Job, now: dt.datetime) -> str:
    if job.started_at is None:
        return "waiting"
    if job.finished_at is not None:
        return f"took {duration((job.finished_at - job.started_at).total_seconds())}"
    if job.seconds_left is not None and job.seconds_left > 0:
        return f"{duration(job.seconds_left)} left"
    return f"{duration((now - job.started_at).total_seconds())} so far"


def _stages(job: Job) -> str:
    if not job.windows_total:
        return ""
    stages = (("read", job.windows_done), ("in Silver", job.windows_merged), ("published", job.windows_published))
    told = " · ".join(f"{count:,} {name}" for name, count in stages)
    return f'<p class="lh-stages">{job.windows_total:,} windows: {told}</p>'


def _errors(job: Job) -> list[str]:
    """Return what went wrong: what could not be read, each ticker with its reason, then the job as a whole."""
    messages = job.instrument_errors
    failed = [f"{len(messages):,} of {job.instruments_asked:,} tickers"] if messages else []
    failed += [f"{job.windows_failed:,} of {job.windows_total:,} windows"] if job.windows_failed else []
    rest = "all else landed" if job.is_over else "the rest goes on"
    told = [f"{' and '.join(failed)} could not be read; {rest}."] if failed else []
    told += messages[:_ERRORS_SHOWN]
    if len(messages) > _ERRORS_SHOWN:
        told.append(f"and {len(messages) - _ERRORS_SHOWN:,} more: lakehouse jobs show {job.job_id}")
    return told + ([job.error] if job.error else [])


def _notes(job: Job) -> str:
    """Show what of the span asked lies where the exchange has nothing."""
    notes = [f"<li>{escape(secid)}: {escape(note)}</li>" for secid, note in job.report.get("notes", {}).items()]
    more = f"<li>and {len(notes) - _NOTES_SHOWN} more</li>" if len(notes) > _NOTES_SHOWN else ""
    return f'<ul class="lh-notes">{"".join(notes[:_NOTES_SHOWN])}{more}</ul>' if notes else ""


def _conservation(steps: Sequence[dict[str, Any]]) -> str:
    """Show per table, over all merges, what became of the rows received, and whether they add up."""
    counts = conservation(steps)
    if not counts:
        return ""
    head = "".join(f"<th>{name}</th>" for name in ("table", *COUNTS))
    body = "".join(
        f"<tr{'' if each.adds_up else ' class=lh-wrong'}><td>{escape(each.table)}</td>"
        f"{''.join(f'<td>{getattr(each, name):,}</td>' for name in COUNTS)}</tr>"
        for each in counts
    )
    adds_up = all(each.adds_up for each in counts)
    line = f'<p class="lh-verdict{"" if adds_up else " lh-bad"}">{escape(verdict(counts))}</p>'
    title = "Rows merged into Silver while it ran"
    return f'<h4>{title}</h4>{line}<table class="lh-plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _windows(windows: Sequence[JobWindow], total: int) -> str:
    if not windows:
        return ""
    head = "".join(
        f"<th>{name}</th>" for name in ("Series", "From", "Till", "State", "Pages", "Rows", "Tries", "Error")
    )
    body = "".join(_window(window) for window in windows)
    title = f"Windows ({len(windows):,} of {total:,}, failed ones first)" if len(windows) < total else "Windows"
    table = f'<table class="lh-plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f"<h4>{title}</h4>{_scroll(table)}"


def _window(window: JobWindow) -> str:
    series = " ".join(part for part in (window.secid, window.board, window.timeframe or window.family) if part)
    cells = (
        escape(series),
        f"{window.from_at:%Y-%m-%d}" if window.from_at.time() == dt.time() else f"{window.from_at:%Y-%m-%d %H:%M}",
        f"{window.till_date}",
        f'<span class="lh-state lh-state-{escape(window.state)}">{escape(window.state)}</span>',
        f"{window.pages:,}",
        f"{window.rows:,}",
        f"{window.attempts:,}",
        escape(window.error or ""),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _scroll(table: str) -> str:
    return f'<div class="lh-scroll">{table}</div>'
