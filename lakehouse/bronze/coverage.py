"""
What is proved about the dates of a series: pure, and a function of the landed objects, so it can be derived again.

Every date is spoken for by one object: a final statement beats one that is not, the newer beats the older.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lakehouse.bronze.objects import Trailer
from lakehouse.bronze.window import period_end

COMPLETE, NO_TRADES, FORMING, PROVISIONAL = "complete", "no trades", "forming", "provisional"
FAILED, MISSING = "failed", "missing"
FINAL = frozenset({COMPLETE, NO_TRADES})
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Coverage:
    """
    What is known of the dates *from_date* to *till_date*, both included.

    Attributes:
        next_due_at: Before this instant of the exchange's clock they are not asked again; None: at once.
        anchor: The last final row that the object held (anchor.py); compared when the series goes on.
    """

    from_date: dt.date
    till_date: dt.date
    state: str
    object_key: str = ""
    next_due_at: dt.datetime | None = None
    anchor: Mapping[str, Any] | None = None
    error: str = ""

    @property
    def is_final(self) -> bool:
        """Whether these dates need never be asked again."""
        return self.state in FINAL

    def is_due(self, now: dt.datetime) -> bool:
        """Whether these dates are to be asked at *now*."""
        return not self.is_final and (self.next_due_at is None or self.next_due_at <= now)


def claims(object_key: str, trailer: Trailer) -> list[Coverage]:
    """
    Return what an object says: its final dates, and those that are provisional or form, with when they are due.

    An uploaded file proves nothing about its dates: they are asked of the exchange as if there were none.
    """
    if trailer.origin:
        return []
    window = trailer.window
    first, till = window.first_whole_date, window.till
    at = trailer.settled
    if trailer.state == MISSING:
        return _if_any(Coverage(first, till, MISSING, object_key, at.again_at))
    final_till, over_till = min(till, at.final_till), min(till, at.over_till)
    provisional_from, forming_from = max(first, final_till + _DAY), max(first, over_till + _DAY)
    return [
        *_if_any(Coverage(first, final_till, trailer.state, object_key, None, trailer.anchor)),
        *_if_any(Coverage(provisional_from, over_till, PROVISIONAL, object_key, at.final_at)),
        # The row of a period that is not over speaks for all of it
        *_if_any(Coverage(forming_from, period_end(window.series, till), FORMING, object_key, at.again_at)),
    ]


def overlay(rows: Iterable[Coverage], claim: Coverage) -> list[Coverage]:
    """Return *rows*, which do not overlap, with *claim* put among them: where both speak of a date, one is cut."""
    kept: list[Coverage] = []
    claimed = [claim]
    for row in rows:
        if _outranks(row, claim):
            kept.append(row)
            claimed = [piece for part in claimed for piece in _without(part, row)]
        else:
            kept += _without(row, claim)
    return sorted([*kept, *claimed], key=lambda row: row.from_date)


def derive(landed: Iterable[tuple[str, Trailer]]) -> list[Coverage]:
    """Return the coverage of one series from all its objects, given in any order."""
    rows: list[Coverage] = []
    for object_key, trailer in landed:
        for claim in claims(object_key, trailer):
            rows = overlay(rows, claim)
    return rows


def spans_to_ask(
    first: dt.date, last: dt.date, rows: Iterable[Coverage], now: dt.datetime
) -> list[tuple[dt.date, dt.date]]:
    """Return the spans of *first* to *last* that are not covered, or whose coverage is due at *now*."""
    spans: list[tuple[dt.date, dt.date]] = []
    for row in sorted(rows, key=lambda row: row.from_date):
        if row.is_due(now) or row.till_date < first:
            continue
        if first < row.from_date:
            spans.append((first, min(last, row.from_date - _DAY)))
        first = row.till_date + _DAY
        if first > last:
            break
    return [span for span in [*spans, (first, last)] if span[0] <= span[1]]


def anchor_before(rows: Sequence[Coverage], date: dt.date) -> Mapping[str, Any] | None:
    """Return the last final row before *date*, if the dates up to it are final without a gap."""
    by_till = {row.till_date: row for row in rows}
    while (row := by_till.get(date - _DAY)) and row.is_final:
        if row.anchor:
            return row.anchor
        if row.state == COMPLETE:
            return None
        date = row.from_date
    return None


def unbroken_from(rows: Sequence[Coverage], date: dt.date, earliest: dt.date) -> dt.date:
    """Return the first date, not before *earliest*, from which everything up to *date* is final."""
    first = date
    for row in sorted(rows, key=lambda row: row.from_date, reverse=True):
        if row.is_final and row.from_date < first <= row.till_date + _DAY:
            first = row.from_date
    return max(first, earliest)


def _if_any(row: Coverage) -> list[Coverage]:
    return [row] if row.from_date <= row.till_date else []


def _outranks(row: Coverage, claim: Coverage) -> bool:
    if row.is_final != claim.is_final:
        return row.is_final
    if FAILED in (row.state, claim.state):
        return False
    return _age(row) > _age(claim)


def _age(row: Coverage) -> str:
    """The last segment of a key begins with the time of the fetch."""
    return row.object_key.rpartition("/")[2]


def _without(row: Coverage, other: Coverage) -> list[Coverage]:
    """Return what *other* leaves of *row*. The anchor stays with the part that holds its date."""
    if other.till_date < row.from_date or row.till_date < other.from_date:
        return [row]
    before, after = other.from_date - _DAY, other.till_date + _DAY
    left = replace(row, till_date=before, anchor=_anchor_if(row, lambda date: date <= before))
    right = replace(row, from_date=after, anchor=_anchor_if(row, lambda date: date >= after))
    return [*_if_any(left), *_if_any(right)]


def _anchor_if(row: Coverage, holds: Callable[[dt.date], bool]) -> Mapping[str, Any] | None:
    if row.anchor is None:
        return None
    return row.anchor if holds(dt.date.fromisoformat(row.anchor["begin"][:10])) else None
