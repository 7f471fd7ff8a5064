"""A job as people and programs see it: what was asked, how far it is, and what went wrong."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

# Of the instruments that could not be planned so many are named in one line; the report has them all
_ERRORS_TOLD = 5


@dataclass(frozen=True)
class Job:
    """
    A job and how far it is: counts of windows, and of pages and rows read from the exchange so far.

    A window is done when it lies in Bronze, then merged into Silver, then published in PostgreSQL. Until *planned_at*
    windows are still being added. *report* names under `errors` the instruments that could not be planned, under
    `notes` what was cut off of the span asked. Windows done, pages and rows never get fewer, whatever is read again.
    """

    job_id: int
    kind: str
    state: str
    requested_by: str
    params: dict[str, Any]
    report: dict[str, Any]
    error: str | None
    created_at: dt.datetime
    started_at: dt.datetime | None
    planned_at: dt.datetime | None
    finished_at: dt.datetime | None
    windows_total: int
    windows_done: int
    windows_failed: int
    windows_cancelled: int
    windows_merged: int
    windows_published: int
    pages: int
    rows: int

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to this job."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def windows_over(self) -> int:
        """Windows of which nothing is left to do."""
        return self.windows_done + self.windows_failed + self.windows_cancelled

    @property
    def instrument_errors(self) -> list[str]:
        """What is wrong with each instrument that could not be planned."""
        return [str(error["message"]) for error in self.report.get("errors", [])]

    @property
    def instruments_asked(self) -> int:
        """How many instruments were asked for; of what is held, those that were due so far."""
        if self.params.get("held"):
            return len(self.report.get("planned", {})) + len(self.instrument_errors)
        return len(self.params.get("instruments", ()))

    @property
    def asked(self) -> str:
        """What was asked for, in a few words."""
        if self.params.get("held"):
            return "all that is held: what is due"
        secids, timeframes = self.params.get("instruments", []), ", ".join(self.params.get("timeframes", []))
        shown = " ".join(secids[:4]) + (f" and {len(secids) - 4} more" if len(secids) > 4 else "")
        dates = f"{self.params.get('from') or 'start'} – {self.params.get('till') or 'now'}"
        return f"{shown}: {timeframes}, {dates}{', read again' if self.params.get('reread') else ''}"

    @property
    def why_failed(self) -> str | None:
        """What went wrong and what to do, in one line; None if nothing did."""
        messages = self.instrument_errors
        said = []
        if messages:
            rest = len(messages) - _ERRORS_TOLD
            told = "; ".join([*messages[:_ERRORS_TOLD], *([f"and {rest} more"] if rest > 0 else [])])
            said.append(f"{len(messages)} of {self.instruments_asked} instruments failed: {told}")
        if self.windows_failed:
            said.append(f"{self.windows_failed} of {self.windows_total} windows failed")
        if self.error:
            said.append(self.error)
        if not said:
            return None
        landed = "" if self.error else "; all else landed"
        again = f"{landed}. See `lakehouse jobs show {self.job_id}`, then: lakehouse jobs retry {self.job_id}"
        return "; ".join(said) + (again if self.is_over else "")

    @property
    def seconds_left(self) -> float | None:
        """Return the time left at the pace so far, in seconds; None while the pace is unknown."""
        over = self.windows_over
        if self.is_over or not over or self.started_at is None or self.planned_at is None:
            return None
        elapsed = (dt.datetime.now(dt.UTC) - self.started_at).total_seconds()
        return elapsed / over * (self.windows_total - over)


@dataclass(frozen=True)
class JobWindow:
    """One window of a job: a series and a span of dates."""

    window_id: int
    family: str
    board: str
    secid: str
    timeframe: str
    from_at: dt.datetime
    till_date: dt.date
    state: str
    pages: int
    rows: int
    attempts: int
    error: str | None
