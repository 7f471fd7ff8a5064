"""What the page Analysis says of runs, as HTML: pure functions of what is on record."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Collection, Sequence
from html import escape

from gradio_app.sandbox_runs import Finished, item_document
from lakehouse.access.runs import Run

_NAME = {
    "done": "Done",
    "error": "Error in the program",
    "stopped": "Stopped",
    "timeout": "Out of time",
    "memory": "Out of memory",
    "cpu": "Out of processor time",
    "died": "Ended",
    "refused": "Refused",
}
_HEAD = ("Began (UTC)", "By", "Outcome", "Time", "Memory", "Data", "Program")


def status(text: str, state: str = "") -> str:
    """Return the line beside the buttons; *state* is running, good or bad."""
    return f'<p class="lh-run-state" role="status" data-state="{escape(state)}">{escape(text)}</p>'


def finished_status(finished: Finished) -> str:
    """Return how a run went: outcome, seconds, memory, and on how many candles."""
    outcome = finished.outcome
    text = (
        f"{_NAME[outcome.status]} in {outcome.wall_s:.2f} s · processor {outcome.cpu_s:.2f} s · "
        f"{_memory(outcome.peak_bytes)} at the peak · {finished.rows:,} candles of {finished.selection}"
    )
    return status(text, "good" if outcome.status == "done" else "bad")


def _memory(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB" if size >= 2**20 else "under 1 MiB"


def results(finished: Finished) -> str:
    """Return what a run showed, in the order made, as the JSON that static/sandbox.js draws."""
    outcome = finished.outcome
    notes = [outcome.message] if outcome.message else []
    if outcome.is_truncated:
        notes.append("Some of the output was left out: it was more than a result may be.")
    document = {
        "items": [item_document(item) for item in outcome.items],
        "error": outcome.error,
        "notes": notes,
        "is_empty": outcome.status == "done" and not outcome.items,
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


def run_list(rows: Sequence[Run], under_way: Collection[uuid.UUID]) -> str:
    """Return the newest runs; one without an end that is not *under_way* lost its web process."""
    if not rows:
        return '<p class="lh-empty">Nothing was run yet.</p>'
    head = "".join(f"<th>{name}</th>" for name in _HEAD)
    body = "".join(_row(run, run.run_id in under_way) for run in rows)
    table = f'<table class="lh-plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="lh-scroll" tabindex="0" role="region" aria-label="Runs">{table}</div>'


def _row(run: Run, is_under_way: bool) -> str:
    instruments = run.selection.get("instruments", [])
    shown = ", ".join(instruments[:3]) + ("…" if len(instruments) > 3 else "")
    cells = (
        f"{run.began_at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}",
        escape(run.user_name),
        _outcome(run, is_under_way),
        "" if run.wall_s is None else f"{run.wall_s:.2f} s",
        "" if run.peak_bytes is None else _memory(run.peak_bytes),
        escape(f"{shown} {run.selection.get('timeframe', '')}, {run.data_rows:,} candles"),
        f"<code>{escape(run.first_line)}</code>",
    )
    return f'<tr data-run="{run.run_id}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _outcome(run: Run, is_under_way: bool) -> str:
    if run.status:
        tone = "done" if run.status == "done" else "failed"
        return f'<span class="lh-state lh-state-{tone}" title="{escape(run.message or "")}">{_NAME[run.status]}</span>'
    if is_under_way:
        return '<span class="lh-state lh-state-running">Running</span>'
    return '<span class="lh-state lh-state-failed">No end: the web process stopped during it</span>'
