"""What forms, what is provisional and what is final: by the calendar and a settle delay, never by a candle's end."""

from __future__ import annotations

import datetime as dt

import pytest

from lakehouse.bronze.coverage import claims
from lakehouse.bronze.finality import finality
from lakehouse.bronze.objects import Trailer, decode_object, encode_object
from lakehouse.bronze.window import Series, Window
from lakehouse.market.moscow import to_moscow, to_utc
from lakehouse.market.sessions import Calendar

D = dt.date.fromisoformat
# Of 2024 and 2025: a working Saturday, a weekend session, a holiday in the week, and a week in which nothing trades
CALENDAR = Calendar(
    {
        D("2024-04-27"): True,
        D("2025-03-01"): True,
        D("2024-05-09"): False,
        **{D("2022-02-28") + dt.timedelta(days=day): False for day in range(24)},
    },
    weekend_sessions={D("2025-03-01")},
)


def at(moscow: str) -> dt.datetime:
    return to_utc(dt.datetime.fromisoformat(moscow))


def series(timeframe: str) -> Series:
    return Series("candles", "stock", "shares", "TQBR", "SBER", timeframe)


def states(timeframe: str, first: str, till: str, moscow: str) -> list[tuple[str, str, str, str]]:
    """Return the dates, state and due time (Moscow) of all that a window says which was read at *moscow*."""
    window = Window(series(timeframe), dt.datetime.fromisoformat(first), D(till))
    read_at = at(moscow)
    trailer = Trailer(window, read_at, 1, 1, "", True, finality=finality(CALENDAR, window.series, read_at))
    return [
        (f"{row.from_date}", f"{row.till_date}", row.state, f"{to_moscow(row.next_due_at)}" if row.next_due_at else "")
        for row in claims("iss/x/key", trailer)
    ]


@pytest.mark.parametrize(
    ("moscow", "state", "due"),
    [
        ("2024-03-20 06:00:00", "forming", "2024-03-20 08:05:00"),
        ("2024-03-20 15:00:00", "forming", "2024-03-20 16:00:00"),
        ("2024-03-20 23:40:00", "forming", "2024-03-21 00:05:00"),
        ("2024-03-21 00:04:59", "forming", "2024-03-21 00:05:00"),
        ("2024-03-21 00:05:00", "provisional", "2024-03-21 04:05:00"),
        ("2024-03-21 04:04:59", "provisional", "2024-03-21 04:05:00"),
        ("2024-03-21 04:05:00", "complete", ""),
    ],
)
def test_day_forms_then_is_provisional_then_final(moscow: str, state: str, due: str) -> None:
    """A trading day forms, hour by hour, until its evening session is shown; then it settles for four hours."""
    assert states("1m", "2024-03-20", "2024-03-20", moscow) == [("2024-03-20", "2024-03-20", state, due)]


def test_window_may_hold_all_three() -> None:
    """After midnight yesterday is provisional, the day before it final, and today forms."""
    assert states("1d", "2024-03-18", "2024-03-21", "2024-03-21 01:00:00") == [
        ("2024-03-18", "2024-03-19", "complete", ""),
        ("2024-03-20", "2024-03-20", "provisional", "2024-03-21 04:05:00"),
        ("2024-03-21", "2024-03-21", "forming", "2024-03-21 08:05:00"),
    ]


@pytest.mark.parametrize(
    ("date", "over", "final"),
    [
        ("2024-04-26", "2024-04-27 00:05:00", "2024-04-27 04:05:00"),  # a Friday
        ("2024-04-27", "2024-04-28 00:05:00", "2024-04-28 04:05:00"),  # a working Saturday: all sessions
        ("2025-03-01", "2025-03-01 19:15:00", "2025-03-01 23:15:00"),  # a weekend session ends at 19:00
        ("2025-03-02", "2025-03-03 00:15:00", "2025-03-03 00:15:00"),  # a Sunday without trading
        ("2024-05-09", "2024-05-10 00:15:00", "2024-05-10 00:15:00"),  # a holiday on a Thursday
    ],
)
def test_calendar_decides_when_a_date_is_over(date: str, over: str, final: str) -> None:
    """Working Saturdays, weekend sessions and holidays have their own end; without trades nothing is to be settled."""
    assert f"{to_moscow(CALENDAR.over_at(D(date)))}" == over
    assert f"{to_moscow(CALENDAR.final_at(D(date)))}" == final


@pytest.mark.parametrize(
    ("timeframe", "final", "over"),
    [
        ("1m", "2024-03-19", "2024-03-19"),
        ("1d", "2024-03-19", "2024-03-19"),
        ("1w", "2024-03-17", "2024-03-17"),
        ("1mo", "2024-02-29", "2024-02-29"),
        ("1q", "2023-12-31", "2023-12-31"),
    ],
)
def test_only_whole_periods_are_final(timeframe: str, final: str, over: str) -> None:
    """On Wednesday 20 March, Tuesday's days are final, last week's weeks, February's months, last year's quarters."""
    found = finality(CALENDAR, series(timeframe), at("2024-03-20 15:00:00"))
    assert (found.final_till, found.over_till) == (D(final), D(over))


def test_month_is_provisional_in_the_night_after_its_last_session() -> None:
    """A month whose last date is a trading day waits for that day to settle."""
    assert states("1mo", "2024-03-01", "2024-05-01", "2024-05-01 01:00:00") == [
        ("2024-03-01", "2024-03-31", "complete", ""),
        ("2024-04-01", "2024-04-30", "provisional", "2024-05-01 04:05:00"),
        ("2024-05-01", "2024-05-31", "forming", "2024-05-02 00:05:00"),
    ]


@pytest.mark.parametrize(
    ("moscow", "due"),
    [
        ("2024-03-20 15:00:00", "2024-03-21 00:05:00"),  # after today's session
        ("2024-03-23 15:00:00", "2024-03-25 00:15:00"),  # on a Saturday without trading: when the week is over
        ("2025-03-01 15:00:00", "2025-03-01 19:15:00"),  # after the weekend session
    ],
)
def test_week_that_forms_is_due_after_the_next_session(moscow: str, due: str) -> None:
    """A candle of a longer period is read again when a session can have changed it, or when its period is over."""
    assert f"{to_moscow(finality(CALENDAR, series('1w'), at(moscow)).again_at)}" == due


@pytest.mark.parametrize(
    ("moscow", "date"),
    [
        ("2024-03-20 07:04:59", "2024-03-19"),
        ("2024-03-20 07:05:00", "2024-03-20"),
        ("2024-03-24 12:00:00", "2024-03-22"),
        ("2025-03-01 10:04:59", "2025-02-28"),
        ("2025-03-01 10:05:00", "2025-03-01"),
    ],
)
def test_date_is_asked_when_its_session_has_begun(moscow: str, date: str) -> None:
    """Before the first trades can be shown, and on days without trading, there is nothing to ask."""
    assert CALENDAR.last_begun(at(moscow)) == D(date)


def test_closed_weeks_are_final_like_any_other() -> None:
    """When the exchange is closed for weeks, their days pass and nothing is waited for."""
    assert states("1d", "2022-02-25", "2022-03-11", "2022-03-12 12:00:00") == [
        ("2022-02-25", "2022-03-11", "complete", "")
    ]


def test_finality_is_kept_in_the_object() -> None:
    """The ledger is rebuilt from Bronze alone, with the calendar as it was known then."""
    window = Window(series("1d"), dt.datetime.fromisoformat("2024-03-18"), D("2024-03-20"))
    read_at = at("2024-03-20 15:00:00")
    trailer = Trailer(window, read_at, 0, 1, "", True, finality=finality(CALENDAR, window.series, read_at))
    assert decode_object(encode_object([], trailer)[1]).trailer == trailer


def test_without_a_calendar_the_weekdays_decide() -> None:
    """Where no table was at hand Monday to Friday are taken for trading days."""
    window = Window(series("1d"), dt.datetime.fromisoformat("2024-03-18"), D("2024-03-20"))
    read_at = at("2024-03-20 15:00:00")
    assert Trailer(window, read_at, 0, 1, "", True).settled == finality(Calendar(), window.series, read_at)
