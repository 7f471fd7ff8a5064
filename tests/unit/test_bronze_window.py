"""The grid, and what is over at a given time."""

from __future__ import annotations

import datetime as dt

import pytest

from lakehouse.bronze.window import Series, Window, cell, period_end, settled_date

D = dt.date.fromisoformat


def series(timeframe: str) -> Series:
    return Series("candles", "stock", "shares", "TQBR", "SBER", timeframe)


@pytest.mark.parametrize(
    ("timeframe", "date", "first", "last"),
    [
        ("1m", "2024-02-15", "2024-02-01", "2024-02-15"),
        ("1m", "2024-02-16", "2024-02-16", "2024-02-29"),
        ("1m", "2024-12-31", "2024-12-16", "2024-12-31"),
        ("10m", "2024-06-30", "2024-01-01", "2024-06-30"),
        ("10m", "2024-07-01", "2024-07-01", "2024-12-31"),
        ("1h", "2023-01-01", "2022-01-01", "2023-12-31"),
        ("1d", "2024-03-04", "2020-01-01", "2029-12-31"),
        ("1mo", "2019-12-31", "2010-01-01", "2019-12-31"),
        ("1q", "2019-12-31", "2010-01-01", "2019-12-31"),
        ("1w", "2010-01-03", "2000-01-03", "2010-01-03"),
        ("1w", "2010-01-04", "2010-01-04", "2020-01-05"),
    ],
)
def test_cell_is_fixed(timeframe: str, date: str, first: str, last: str) -> None:
    """The grid does not depend on what is asked: half-months, half-years, two years, decades; a week is never cut."""
    assert cell(series(timeframe), D(date)) == (D(first), D(last))


def test_history_is_cut_into_decades() -> None:
    """End-of-day rows have no timeframe and share the grid of days."""
    assert cell(Series("history", "stock", "shares", "", "SBER"), D("2024-03-04")) == (D("2020-01-01"), D("2029-12-31"))


@pytest.mark.parametrize(
    ("timeframe", "date", "end"),
    [
        ("1m", "2024-02-10", "2024-02-10"),
        ("1w", "2024-02-28", "2024-03-03"),
        ("1mo", "2024-02-10", "2024-02-29"),
        ("1q", "2024-12-01", "2024-12-31"),
    ],
)
def test_period_ends_on_its_last_date(timeframe: str, date: str, end: str) -> None:
    """Weeks end on Sunday, months and quarters on their last day."""
    assert period_end(series(timeframe), D(date)) == D(end)


@pytest.mark.parametrize(
    ("instant", "date"),
    [
        ("2024-03-20T20:59:59+00:00", "2024-03-20"),
        ("2024-03-20T21:14:59+00:00", "2024-03-20"),
        ("2024-03-20T21:15:00+00:00", "2024-03-21"),
    ],
)
def test_day_is_over_when_its_last_minutes_are_out(instant: str, date: str) -> None:
    """The exchange's date moves a quarter of an hour after Moscow's midnight: till then minutes are hidden."""
    assert settled_date(dt.datetime.fromisoformat(instant)) == D(date)


def test_span_is_utc_and_follows_moscows_clock() -> None:
    """Moscow was four hours ahead of UTC from 2011 to 2014 and is three ahead since."""
    window = Window(series("1m"), dt.datetime.fromisoformat("2012-03-01T10:00"), D("2012-03-01"))
    assert [instant.isoformat() for instant in window.span] == [
        "2012-03-01T06:00:00+00:00",
        "2012-03-01T20:00:00+00:00",
    ]


def test_window_that_begins_in_mid_day_holds_whole_dates_from_the_next() -> None:
    """A date of which a part lies before the window is not covered by it."""
    window = Window(series("1m"), dt.datetime.fromisoformat("2024-03-01T18:49"), D("2024-03-04"))
    assert window.first_whole_date == D("2024-03-02")
    assert str(window) == "SBER TQBR 1m 2024-03-01T184900..2024-03-04"
