"""Jobs as HTML: pure functions of what the queue says."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any

from lakehouse.jobs.queue import Job, JobWindow

_HEAD = ("Job", "State", "What", "Windows", "Pages", "Rows", "Failed", "Time", "By")


def message(text: str, *, is_error: bool = False) -> str:
    """Return the line under a form that says how it went."""
    return f'<p class="lh-message{" lh-error" if is_error else ""}" role="status">{escape(text)}</p>'


def jobs(rows: Sequence[Job], picked: int | None, now: dt.datetime) -> str:
    """Return the table of jobs, newest first, the picked one marked."""
    if not rows:
        return '<p class="lh-empty">No job was queued yet. Enter tickers on the left and press Queue.</p>'
    head = "".join(f"<th>{name}</th>" for name in _HEAD)
    body = "".join(_row(job, job.job_id == picked, now) for job in rows)
    return _scroll(f'<table class="lh-jobs"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>')


def details(job: Job | None, windows: Sequence[JobWindow], steps: Sequence[dict[str, Any]]) -> str:
    """
    Return what there is to know about one job: how far it is, what went wrong, what its merges did row by row.

    *steps* are what the stations did meanwhile (queue.steps_of).
    """
    if job is None:
        return ""
    parts = [f"<h3>Job {job.job_id} <small>{escape(_asked(job.params))}</small></h3>", _stages(job)]
    parts.extend(message(error, is_error=True) for error in _errors(job))
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
    over = job.windows_done + job.windows_failed + job.windows_cancelled
    share = over / job.windows_total if job.windows_total else float(job.is_over)
    cells = (
        str(job.job_id),
        f'<span class="lh-state lh-state-{escape(job.state)}">{escape(job.state)}</span>',
        escape(_asked(job.params)),
        f'<div class="lh-bar"><i style="width:{share:.1%}"></i></div>{over:,} / {job.windows_total:,}',
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


def _asked(params: dict[str, Any]) -> str:
    secids = params.get("instruments", [])
    shown = " ".join(secids[:4]) + (f" and {len(secids) - 4} more" if len(secids) > 4 else "")
    dates = f", {params.get('from') or 'start'} – {params.get('till') or 'now'}"
    return f"{shown}: {', '.join(params.get('timeframes', []))}{dates}{', read again' if params.get('reread') else ''}"


def _stages(job: Job) -> str:
    if not job.windows_total:
        return ""
    stages = (("read", job.windows_done), ("in Silver", job.windows_merged), ("published", job.windows_published))
    told = " · ".join(f"{count:,} {name}" for name, count in stages)
    return f'<p class="lh-stages">{job.windows_total:,} windows: {told}</p>'


def _errors(job: Job) -> list[str]:
    """Return what went wrong, each once: the job's error holds those of its instruments too."""
    messages = [str(error["message"]) for error in job.report.get("errors", [])]
    rest = job.error or ""
    for text in messages:
        rest = rest.replace(text, "", 1)
    return [text for text in (rest.strip("; "), *messages) if text]


_CONSERVED = ("received", "accepted", "unchanged", "revised", "outranked", "quarantined", "vanished")


def _conservation(steps: Sequence[dict[str, Any]]) -> str:
    """Show that received = accepted + unchanged + revised + outranked + quarantined, per table, over all merges."""
    totals: dict[str, Counter[str]] = {}
    for step in steps:
        for table, counts in ((step["report"] or {}).get("tables") or {}).items() if step["step"] == "merge" else ():
            totals.setdefault(table, Counter()).update({name: int(counts.get(name, 0)) for name in _CONSERVED})
    if not totals:
        return ""
    head = "".join(f"<th>{name}</th>" for name in ("table", *_CONSERVED))
    body = "".join(
        f"<tr><td>{escape(table)}</td>{''.join(f'<td>{counts[name]:,}</td>' for name in _CONSERVED)}</tr>"
        for table, counts in totals.items()
    )
    title = "Rows merged into Silver while it ran: received = accepted + unchanged + revised + outranked + quarantined"
    return f'<h4>{title}</h4><table class="lh-plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


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
