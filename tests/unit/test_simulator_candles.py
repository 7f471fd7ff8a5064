"""The made market's seven intervals tell one story."""

from __future__ import annotations

import datetime as dt
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.market.timeframe import Timeframe
from lakehouse.simulator.candles import Candles, encode_candles
from lakehouse.simulator.clock import from_seconds, to_seconds
from lakehouse.simulator.days import make_days
from lakehouse.simulator.exchange import MadeExchange
from lakehouse.simulator.issues import ISSUE_BY_SECID, ISSUES
from lakehouse.simulator.periods import DAY, HOUR, MINUTE, SECONDS_A_DAY, TEN_MINUTES, chunk_of, period_start_of

EXCHANGE = MadeExchange(seed=1)


def of_interval(secid: str, interval: int, first: dt.date, last: dt.date, exchange: MadeExchange = EXCHANGE) -> Candles:
    """Return the candles of a series that begin from *first* to *last*, within one month."""
    candles = exchange.candles(secid, interval, chunk_of(to_seconds(first), interval))
    return candles[(candles.begin >= to_seconds(first)) & (candles.begin < to_seconds(last) + SECONDS_A_DAY)]


def assert_adds_up(parts: Candles, whole: Candles) -> None:
    """Assert that *parts*, of one period, are the candle *whole*, volume to the security and value to the kopeck."""
    assert parts.open[0] == whole.open[0]
    assert parts.close[-1] == whole.close[0]
    assert parts.high.max() == whole.high[0]
    assert parts.low.min() == whole.low[0]
    assert parts.volume.sum() == whole.volume[0]
    assert parts.value.sum() == pytest.approx(whole.value[0], rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(ISSUE_BY_SECID)), st.integers(0, 10_000), st.integers(1, 3))
def test_a_day_is_its_minutes(secid: str, pick: int, seed: int) -> None:
    """Open, close, high, low, volume and value of a day are those of its minutes, ten minutes and hours."""
    exchange = MadeExchange(seed)
    days = exchange.candles(secid, DAY, 0)
    row = pick % len(days)
    date = from_seconds(int(days.begin[row])).date()
    for interval in (MINUTE, TEN_MINUTES, HOUR):
        assert_adds_up(of_interval(secid, interval, date, date, exchange), days[row : row + 1])


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(ISSUE_BY_SECID)), st.sampled_from(list(Timeframe)), st.integers(0, 10_000))
def test_a_longer_candle_is_its_days(secid: str, timeframe: Timeframe, pick: int) -> None:
    """A week, a month and a quarter are their days, and begin where market.Timeframe says."""
    interval = timeframe.interval
    days = EXCHANGE.candles(secid, DAY, 0)
    day = int(days.begin[pick % len(days)])
    begin = period_start_of(day, interval)
    if timeframe.is_intraday:
        return
    assert from_seconds(begin).date() == timeframe.period_start(from_seconds(day).date())
    whole = EXCHANGE.candles(secid, interval, 0)
    of_period = [period_start_of(second, interval) == begin for second in days.begin.tolist()]
    assert_adds_up(days[np.array(of_period)], whole[whole.begin == begin])


@pytest.mark.parametrize("issue", ISSUES, ids=lambda issue: issue.key)
def test_minutes_stay_within_their_prices(issue: object) -> None:
    """Low <= open, close <= high, prices lie on the price step, and value / volume lies between low and high."""
    secid = issue.codes[-1].secid  # type: ignore[attr-defined]
    days = EXCHANGE.candles(secid, DAY, 0)
    chunk = chunk_of(int(days.begin[len(days) // 2]), MINUTE)
    minutes = EXCHANGE.candles(secid, MINUTE, chunk)
    assert (minutes.low <= np.minimum(minutes.open, minutes.close)).all()
    assert (minutes.high >= np.maximum(minutes.open, minutes.close)).all()
    assert (np.diff(minutes.begin) > 0).all()
    if not ISSUE_BY_SECID[secid].is_index:
        unit = 10 if ISSUE_BY_SECID[secid].coupon else 1
        average = minutes.value / minutes.volume / unit
        assert (average >= minutes.low * (1 - 1e-9)).all()
        assert (average <= minutes.high * (1 + 1e-9)).all()


def test_the_same_seed_makes_the_same_market() -> None:
    """Two exchanges of one seed agree to the bit, whatever was asked before; another seed differs."""
    asked, fresh, other = MadeExchange(5), MadeExchange(5), MadeExchange(6)
    asked.candles("GAZP", HOUR, 600)
    one, two, three = (exchange.candles("SBER", MINUTE, 600) for exchange in (asked, fresh, other))
    assert all((getattr(one, field.name) == getattr(two, field.name)).all() for field in fields(Candles))
    assert len(one) != len(three) or (one.close != three.close).any()


@pytest.mark.parametrize(
    ("secid", "last", "first", "ratio"),
    [
        ("GMKN", "2024-04-01", "2024-04-08", 1 / 100),
        ("VTBR", "2024-07-08", "2024-07-15", 5000),
        ("PLZL", "2025-03-21", "2025-03-27", 1 / 10),
        ("T", "2026-04-10", "2026-04-17", 1 / 10),
        ("BELU", "2024-08-19", "2024-08-20", 1 / 8),
    ],
)
def test_prices_are_raw_across_a_split(secid: str, last: str, first: str, ratio: float) -> None:
    """The first price after a split is the ratio times the last one before, with a halt between."""
    days = EXCHANGE.candles(secid, DAY, 0)
    dates = [f"{from_seconds(begin):%Y-%m-%d}" for begin in days.begin.tolist()]
    weekdays = [date for date in dates if last <= date <= first and dt.date.fromisoformat(date).isoweekday() <= 5]
    assert weekdays == [last, first]
    before, after = days.close[dates.index(last)], days.open[dates.index(first)]
    assert after / before == pytest.approx(ratio, rel=0.2)


def test_a_renamed_share_goes_on() -> None:
    """The last day of TCSG and the first of T follow each other, and no day has both."""
    old, new = EXCHANGE.candles("TCSG", DAY, 0), EXCHANGE.candles("T", DAY, 0)
    assert str(from_seconds(int(old.begin[-1]))) == "2024-11-27 00:00:00"
    assert str(from_seconds(int(new.begin[0]))) == "2024-11-28 00:00:00"
    assert new.open[0] == pytest.approx(old.close[-1], rel=0.1)


def test_an_index_has_no_volume() -> None:
    """IMOEX has values and no volume, in days and minutes."""
    for candles in (EXCHANGE.candles("IMOEX", DAY, 0), EXCHANGE.candles("IMOEX", MINUTE, 600)):
        assert (candles.volume == 0).all()
        assert (candles.value > 0).all()


def test_an_hour_often_ends_at_its_last_update() -> None:
    """Ends of finished hours are odd for about a third of them, and never before the last minute with a trade."""
    hours = of_interval("SBER", HOUR, dt.date(2025, 9, 1), dt.date(2025, 9, 30))
    minutes = of_interval("SBER", MINUTE, dt.date(2025, 9, 1), dt.date(2025, 9, 30))
    odd = (hours.end - hours.begin) != 3599
    assert 0.15 < odd.mean() < 0.55
    last = minutes.begin[np.searchsorted(minutes.begin, hours.begin + 3600) - 1]
    assert (hours.end >= last).all()
    assert (hours.end < hours.begin + 3600).all()


def test_illiquid_shares_have_holes() -> None:
    """NKSH has days without a trade, and days with a handful of minutes."""
    days = EXCHANGE.candles("NKSH", DAY, 0)
    sber = EXCHANGE.candles("SBER", DAY, 0)
    assert 0.5 < len(days) / len(sber) < 0.75
    assert len(EXCHANGE.candles("NKSH", MINUTE, 600)) < 400


def test_rows_are_written_as_the_exchange_writes_them() -> None:
    """Whole numbers carry no fraction, others all their digits; a part of the rows is cut out whole."""
    one = np.array([200.0, 0.019665, 143.25])
    begin = np.array([to_seconds(dt.datetime.fromisoformat("2024-03-04 10:00:00")) + 60 * row for row in range(3)])
    encoded = encode_candles(Candles(one, one, one, one, one * 3000.1, one, begin, begin + 59))
    assert encoded.rows(0, 1) == b'[200,200,200,200,600020,200,"2024-03-04 10:00:00","2024-03-04 10:00:59"]'
    assert encoded.rows(1, 3).startswith(b"[0.019665,0.019665,")
    assert encoded.rows(1, 3).endswith(b'"2024-03-04 10:02:00","2024-03-04 10:02:59"]')


def test_days_of_all_issues_are_sound() -> None:
    """Every made day has low <= open, close <= high, at least one lot, and a turnover between low and high."""
    for issue in ISSUES:
        days = make_days(issue, 1)
        candles = days.candles
        assert (candles.low <= np.minimum(candles.open, candles.close)).all(), issue.key
        assert (candles.high >= np.maximum(candles.open, candles.close)).all(), issue.key
        assert (candles.low > 0).all(), issue.key
        assert (candles.close % days.tick == 0).all(), issue.key
        if not issue.is_index:
            assert (candles.volume % days.lot == 0).all(), issue.key
            assert (candles.turnover >= candles.volume * candles.low).all(), issue.key
            assert (candles.turnover <= candles.volume * candles.high).all(), issue.key
