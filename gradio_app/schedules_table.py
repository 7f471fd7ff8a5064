"""The schedules as HTML: a pure function of what they say."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from lakehouse.market.moscow import to_moscow

_HEAD = ("Schedule", "When (Moscow)", "Next", "Last", "What came of it", "Does")


def table(schedules: Sequence[Mapping[str, Any]]) -> str:
    """Return the schedules: when each is done, when next, and what came of the last run."""
    head = "".join(f"<th>{name}</th>" for name in _HEAD)
    body = "".join(map(_row, schedules))
    return (
        '<div class="lh-scroll"><table class="lh-plain lh-schedules"><thead><tr>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(each: Mapping[str, Any]) -> str:
    outcome = escape(each["last_outcome"] or "")
    cells = (
        f"<b>{escape(each['name'])}</b>",
        escape(each["when"]),
        _moscow(each["next_due_at"]) if each["is_on"] else "off",
        _moscow(each["last_due_at"]),
        f'<span class="lh-bad">{outcome}</span>' if each["last_has_failed"] else outcome,
        escape(each["does"]),
    )
    return f'<tr data-schedule="{escape(each["name"])}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _moscow(instant: dt.datetime | None) -> str:
    return f"{to_moscow(instant):%Y-%m-%d %H:%M}" if instant else "not yet"
