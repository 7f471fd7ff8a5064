"""What of a series forms, what is provisional and what is final when it is read."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from lakehouse.bronze.window import Series, period_end, period_start
from lakehouse.market.sessions import Calendar

_DAY = dt.timedelta(days=1)
_HOUR = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Finality:
    """
    The dates of a series, cut by what can still happen to their rows. Whole periods only: a week is as its last date.

    Attributes:
        final_till: The last date whose rows are final.
        over_till: The last date on which trading is over: up to it rows are provisional, beyond it they form.
        final_at: When the provisional rows are final, UTC.
        again_at: When those that form are worth reading again, UTC: days and shorter ones hourly in a session, and all
            when a session or their period is over.
    """

    final_till: dt.date
    over_till: dt.date
    final_at: dt.datetime
    again_at: dt.datetime


def finality(calendar: Calendar, series: Series, instant: dt.datetime) -> Finality:
    """Return the finality of *series* at *instant*."""
    over, final = calendar.last_over(instant), calendar.last_final(instant)
    over_till = period_start(series, over + _DAY) - _DAY
    due = over + _DAY
    while not calendar.trades(due) and due != period_end(series, due):
        due += _DAY
    again_at = calendar.over_at(due)
    if calendar.trades(due) and period_start(series, due) == period_end(series, due):
        again_at = min(again_at, max(instant, calendar.begun_at(due)) + _HOUR)
    return Finality(
        final_till=period_start(series, final + _DAY) - _DAY,
        over_till=over_till,
        final_at=calendar.final_at(over_till),
        again_at=again_at,
    )
