"""Which windows are to be fetched: pure, from the ledger, the borders and the exchange's clock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence

from lakehouse.bronze.coverage import Coverage, anchor_before, spans_to_ask
from lakehouse.bronze.held import held_spans
from lakehouse.bronze.window import Series, Window, cell, period_end, period_start
from lakehouse.iss.candles import Border
from lakehouse.market.moscow import to_moscow

_DAY = dt.timedelta(days=1)


def plan_windows(
    series: Series,
    from_: dt.date | None,
    till: dt.date | None,
    border: Border | None,
    coverage: Sequence[Coverage],
    now: dt.datetime,
    reread: bool = False,
    doubted: Iterable[dt.date] = (),
    held: bool = False,
) -> list[Window]:
    """
    Return the windows that bring a series up to date, oldest first.

    Args:
        from_: First date wanted; None for the start of the series.
        till: Last date wanted; None for the exchange's today.
        border: First and last row of the series; None if it has none. Beyond it nothing is asked: the exchange has
            told.
        coverage: What the ledger knows of the series.
        now: The exchange's time, UTC.
        reread: Ask what is final, too.
        doubted: Dates to ask though they may be final (doubts.py).
        held: Ask only what brings up to date what is held (held.py): no date that nobody asked for before.

    Returns:
        Windows along the grid of window.py that cover every wanted date once, unless it is final or not due yet and
        nobody doubts it. A window that continues final dates begins with their last row, the anchor; where that lies in
        another cell, it has a window of its own.
    """
    if border is None:
        return []
    first = period_start(series, max(from_ or border.begin.date(), border.begin.date()))
    last = min(till or border.end.date(), border.end.date())
    last = min(period_end(series, last), to_moscow(now).date())
    due = [(first, last)] if reread else spans_to_ask(first, last, coverage, now)
    if held:
        due = [(max(first, from_), min(last, till)) for from_, till in held_spans(coverage, last, now)]
        due = [span for span in due if span[0] <= span[1]]
    spans = _joined([*due, *((date, date) for date in doubted if first <= date <= last)])
    windows = [window for span in spans for window in _along_grid(series, *span)]
    return windows if reread else list(_with_anchors(windows, coverage))


def _joined(spans: Iterable[tuple[dt.date, dt.date]]) -> list[tuple[dt.date, dt.date]]:
    """Return *spans* in order; those that overlap or follow each other as one."""
    joined: list[tuple[dt.date, dt.date]] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1] + _DAY:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def _along_grid(series: Series, first: dt.date, last: dt.date) -> Iterator[Window]:
    while first <= last:
        end = min(cell(series, first)[1], last)
        yield Window(series, dt.datetime.combine(first, dt.time()), end)
        first = end + _DAY


def _with_anchors(windows: Iterable[Window], coverage: Sequence[Coverage]) -> Iterator[Window]:
    for window in windows:
        anchor = anchor_before(coverage, window.from_at.date())
        if anchor is None:
            yield window
            continue
        begin = dt.datetime.fromisoformat(anchor["begin"])
        end = cell(window.series, begin.date())[1]
        if end < window.from_at.date():
            yield Window(window.series, begin, end)
            yield window
        else:
            yield Window(window.series, begin, window.till)
