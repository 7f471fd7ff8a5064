"""Windows cover what is wanted, due and not final, once, along the grid."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lakehouse.bronze.coverage import Coverage
from lakehouse.bronze.plan import plan_windows
from lakehouse.bronze.window import Series, cell, period_end, period_start, settled_date
from lakehouse.iss.candles import Border
from lakehouse.market.moscow import day_start
from lakehouse.market.timeframe import Timeframe

DAY = dt.timedelta(days=1)
TODAY = dt.date(2024, 3, 20)
NOW = day_start(TODAY) + dt.timedelta(hours=12)

dates = st.dates(dt.date(2023, 10, 1), dt.date(2024, 4, 30))
timeframes = st.sampled_from(["", *(timeframe.value for timeframe in Timeframe)])
states = st.sampled_from(["complete", "no trades", "forming", "provisional", "failed", "missing"])


@st.composite
def coverages(draw: st.DrawFn, series: Series) -> list[Coverage]:
    """Rows that do not overlap and cover whole periods, as landed windows leave them."""
    cuts = sorted({period_start(series, date) for date in draw(st.lists(dates, max_size=8))})
    rows = []
    for from_, following in pairwise(cuts):
        till = min(period_end(series, draw(st.dates(from_, following - DAY))), following - DAY)
        due = draw(st.sampled_from([None, NOW - DAY, NOW, NOW + DAY]))
        anchor = {"begin": f"{draw(st.dates(from_, till))} 00:00:00", "rows": []} if draw(st.booleans()) else None
        state = draw(states)
        rows.append(Coverage(from_, till, state, next_due_at=due, anchor=anchor if state == "complete" else None))
    return rows


@st.composite
def problems(draw: st.DrawFn) -> tuple[Series, dt.date | None, dt.date | None, Border, list[Coverage]]:
    timeframe = draw(timeframes)
    series = Series("candles" if timeframe else "history", "stock", "shares", "", "SBER", timeframe)
    begin, end = sorted([draw(dates), draw(dates)])
    border = Border(dt.datetime.combine(begin, dt.time(10)), dt.datetime.combine(end, dt.time(18, 49)))
    return series, draw(st.none() | dates), draw(st.none() | dates), border, draw(coverages(series))


def days(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + DAY * day for day in range((last - first).days + 1)]


def wanted_dates(series: Series, from_: dt.date | None, till: dt.date | None, border: Border) -> list[dt.date]:
    """Every date of every row that begins or lies in the request and in the border, up to today."""
    first = period_start(series, max(from_ or dt.date.min, border.begin.date()))
    last = min(period_end(series, min(till or dt.date.max, border.end.date())), TODAY)
    return days(first, last)


@given(problems())
def test_windows_cover_what_is_due_once(
    problem: tuple[Series, dt.date | None, dt.date | None, Border, list[Coverage]],
) -> None:
    """Every wanted date that is due lies in exactly one window; what is final only where an anchor is read along."""
    series, from_, till, border, coverage = problem
    windows = plan_windows(series, from_, till, border, coverage, NOW)
    state = {date: row for row in coverage for date in days(row.from_date, row.till_date)}
    due = {date for date in wanted_dates(series, from_, till, border) if date not in state or state[date].is_due(NOW)}
    asked = Counter(date for window in windows for date in days(window.first_whole_date, window.till))
    assert {date: asked[date] for date in due} == dict.fromkeys(due, 1)
    for date in asked.keys() - due:
        assert state[date].is_final, "only what is final is read along"
    anchored = {row.anchor["begin"] for row in coverage if row.anchor}
    for window in windows:
        starts_with_anchor = f"{window.from_at}" in anchored
        assert starts_with_anchor or window.from_at.date() in due


@given(problems())
def test_reread_asks_everything_wanted_once(
    problem: tuple[Series, dt.date | None, dt.date | None, Border, list[Coverage]],
) -> None:
    """A re-read does not look at the ledger, and has no anchors."""
    series, from_, till, border, coverage = problem
    windows = plan_windows(series, from_, till, border, coverage, NOW, reread=True)
    assert [date for window in windows for date in days(window.from_at.date(), window.till)] == wanted_dates(
        series, from_, till, border
    )
    assert windows == plan_windows(series, from_, till, border, [], NOW, reread=True)


@given(problems(), st.booleans())
def test_window_stays_in_its_cell(
    problem: tuple[Series, dt.date | None, dt.date | None, Border, list[Coverage]], reread: bool
) -> None:
    """No window leaves a cell of the grid, none of minutes a month, none the exchange's today."""
    series, from_, till, border, coverage = problem
    for window in plan_windows(series, from_, till, border, coverage, NOW, reread):
        first, last = cell(series, window.from_at.date())
        assert first <= window.from_at.date() <= window.till <= last
        assert window.till <= TODAY
        if series.timeframe == "1m":
            assert (window.from_at.year, window.from_at.month) == (window.till.year, window.till.month)


@given(timeframes, st.dates(dt.date(1990, 1, 1), dt.date(2099, 12, 31)))
def test_cells_tile_the_calendar(timeframe: str, date: dt.date) -> None:
    """Every date lies in one cell, which begins where the one before ended."""
    series = Series("candles", timeframe=timeframe)
    first, last = cell(series, date)
    assert first <= date <= last
    assert cell(series, first) == cell(series, last) == (first, last)
    assert cell(series, first - DAY)[1] == first - DAY
    assert cell(series, last + DAY)[0] == last + DAY
    assert (period_start(series, first), period_end(series, last)) == (first, last)


@given(st.datetimes(dt.datetime(2012, 1, 1), dt.datetime(2030, 1, 1), timezones=st.just(dt.UTC)))  # noqa: DTZ001 - bounds
def test_settled_date_moves_a_quarter_past_midnight(instant: dt.datetime) -> None:
    """The exchange's date has passed when its last minutes are out, and not a second earlier."""
    date, delay = settled_date(instant), dt.timedelta(minutes=15)
    assert day_start(date) + delay <= instant < day_start(date + DAY) + delay


def test_series_without_a_border_is_not_asked() -> None:
    """The exchange says that it has no rows of a series: then there is nothing to ask."""
    assert plan_windows(Series("candles", timeframe="1m"), None, None, None, [], NOW) == []
