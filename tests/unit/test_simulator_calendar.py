"""When the made market trades."""

from __future__ import annotations

import datetime as dt

import pytest

from lakehouse.simulator.calendar import FIRST_DATE, LAST_DATE, made_calendar
from lakehouse.simulator.clock import Clock, from_seconds, to_seconds
from lakehouse.simulator.days import make_days
from lakehouse.simulator.exchange import MadeExchange
from lakehouse.simulator.issues import ISSUE_BY_SECID
from lakehouse.simulator.periods import MINUTE, chunk_of
from lakehouse.simulator.security import CalendarDay

EXCHANGE = MadeExchange(seed=1)


def on(text: str) -> CalendarDay:
    """Return a date of the calendar."""
    return made_calendar(1)[(dt.date.fromisoformat(text) - FIRST_DATE).days]


def minutes_of(secid: str, text: str) -> list[str]:
    """Return the begins of a day's minutes, as HH:MM."""
    begins = EXCHANGE.candles(secid, MINUTE, chunk_of(to_seconds(dt.date.fromisoformat(text)), MINUTE)).begin
    moments = [from_seconds(begin) for begin in begins.tolist()]
    return [f"{moment:%H:%M}" for moment in moments if f"{moment:%Y-%m-%d}" == text]


def test_the_calendar_lists_every_date() -> None:
    """The calendar has every date of the exchange once, in order."""
    dates = [day.date for day in made_calendar(1)]
    assert dates == sorted(set(dates))
    assert (dates[0], dates[-1], len(dates)) == (FIRST_DATE, LAST_DATE, (LAST_DATE - FIRST_DATE).days + 1)


@pytest.mark.parametrize(
    ("date", "is_traded", "has_history", "reason"),
    [
        ("2024-03-04", True, True, "N"),
        ("2024-03-08", False, False, "H"),
        ("2025-12-31", False, False, "H"),
        ("2024-04-27", True, True, "T"),  # a working Saturday
        ("2024-03-09", False, False, "W"),
        ("2022-02-28", False, True, "H"),
        ("2022-03-23", False, True, "H"),
        ("2022-03-24", True, True, "N"),
    ],
)
def test_dates_are_of_their_kind(date: str, is_traded: bool, has_history: bool, reason: str) -> None:
    """Holidays, working Saturdays and the closure of 2022 are as the exchange had them."""
    day = on(date)
    assert (day.is_traded, day.has_history, day.reason) == (is_traded, has_history, reason)


def test_weekend_sessions_belong_to_the_next_working_day() -> None:
    """Some weekends since March 2025 have sessions, both days or none, and never an end-of-day row."""
    weekends = [day for day in made_calendar(1) if day.reason == "W" and day.date >= dt.date(2025, 3, 1)]
    traded = [day for day in weekends if day.is_traded]
    assert 0.5 < len(traded) / len(weekends) < 0.9
    assert not any(day.has_history for day in weekends)
    saturday = next(day for day in traded if day.date.isoweekday() == 6)
    assert saturday.session_date == saturday.date + dt.timedelta(days=2)
    assert not any(day.is_traded for day in made_calendar(1) if day.reason == "W" and day.date < dt.date(2025, 3, 1))


@pytest.mark.parametrize(
    ("secid", "date", "first", "last"),
    [
        ("SBER", "2019-06-03", "09:59", "18:49"),  # before the evening session
        ("SBER", "2021-06-03", "09:59", "23:49"),
        ("SBER", "2021-12-20", "06:59", "23:49"),  # the first morning sessions
        ("SBER", "2022-05-12", "09:59", "18:49"),  # after the closure
        ("SBER", "2024-03-04", "09:59", "23:49"),
        ("SBER", "2026-06-30", "06:59", "23:49"),
        ("IMOEX", "2026-06-30", "10:00", "18:49"),
    ],
)
def test_sessions_are_those_of_their_era(secid: str, date: str, first: str, last: str) -> None:
    """A liquid share trades from the first to the last minute that its era had."""
    minutes = minutes_of(secid, date)
    assert (minutes[0], minutes[-1]) == (first, last)


def test_nothing_trades_between_sessions() -> None:
    """No minute lies between the main session and the closing auction, or between that and the evening."""
    minutes = minutes_of("SBER", "2026-06-30")
    assert not [minute for minute in minutes if "18:40" <= minute < "18:45" or "18:50" <= minute < "19:05"]
    assert not [minute for minute in minutes if "09:50" <= minute < "09:59"]
    assert {"09:59", "18:45"} <= set(minutes)


def test_only_liquid_shares_trade_at_weekends() -> None:
    """SBER has days without an end-of-day row, BELU has none."""
    assert not make_days(ISSUE_BY_SECID["SBER"], 1).has_history.all()
    assert make_days(ISSUE_BY_SECID["BELU"], 1).has_history.all()


def test_a_clock_runs_unless_it_is_frozen() -> None:
    """A frozen clock stands; a moved one keeps running; the header is Greenwich time in English."""
    clock = Clock(dt.datetime.fromisoformat("2026-07-01 06:00:00"), frozen=True)
    assert clock.http_date() == "Wed, 01 Jul 2026 03:00:00 GMT"
    assert clock.seen() == to_seconds(dt.datetime.fromisoformat("2026-07-01 05:45:00"))
    clock.set(dt.datetime.fromisoformat("2014-10-25 12:00:00"))
    assert clock.frozen
    assert clock.http_date() == "Sat, 25 Oct 2014 08:00:00 GMT"  # Moscow was four hours ahead then
    clock.set(frozen=False)
    assert dt.timedelta() <= clock.now() - dt.datetime.fromisoformat("2014-10-25 12:00:00") < dt.timedelta(seconds=5)
