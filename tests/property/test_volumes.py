"""Candles that are not there show in the day's volume; candles that never were do not."""

from __future__ import annotations

import datetime as dt
import random
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.bronze.coverage import Coverage
from lakehouse.bronze.plan import plan_windows
from lakehouse.bronze.window import Series
from lakehouse.iss.candles import Border
from lakehouse.silver.volumes import daily_sums, verdicts
from lakehouse.simulator.exchange import MadeExchange
from lakehouse.simulator.issues import ISSUE_BY_SECID
from tests.seeds import seeds
from tests.volumes import DATE, asked, candles, found, month_of

NOWHERE = asked("1m")[:0]
DAY = dt.timedelta(days=1)

whole = st.integers(1, 10**12).map(float)
# Lots of a thousandth: what a currency or a fund may trade in, as doubles write it
fractions = st.integers(1, 10**6).map(lambda thousandths: thousandths / 1000)
illiquid = st.lists(st.tuples(st.integers(0, 839), st.just(0) | st.integers(1, 50)), unique_by=lambda pair: pair[0])


def minutes_of(volumes: dict[int, float]) -> pl.DataFrame:
    return candles([("1m", volume, volume * 7.25) for _, volume in sorted(volumes.items())])


@given(st.dictionaries(st.integers(0, 839), whole, min_size=1), st.randoms(use_true_random=False))
def test_removed_minutes_are_always_found(volumes: dict[int, float], rng: random.Random) -> None:
    """Whichever minutes are left out, all of them included, the day differs by exactly their volume."""
    day = candles([("1d", sum(volumes.values()), 1.0)])
    gone = set(rng.sample(sorted(volumes), rng.randint(1, len(volumes))))
    left = {minute: volume for minute, volume in volumes.items() if minute not in gone}
    (verdict,) = found(asked("1m"), minutes_of(left), day)
    assert (verdict.state, verdict.measure) == ("differs", "volume")
    assert verdict.day_volume is not None
    assert verdict.day_volume - verdict.intraday_volume == sum(volumes[minute] for minute in gone)


@given(st.lists(fractions | whole, min_size=1, max_size=900), st.randoms(use_true_random=False))
def test_order_and_noise_of_adding_raise_no_alarm(volumes: list[float], rng: random.Random) -> None:
    """Doubles added in another order, minute by minute or batch by batch, are still the day's."""
    day = candles([("1d", sum(volumes), 0.0)])
    rng.shuffle(volumes)
    minutes = candles([("1m", volume, 0.0) for volume in volumes])
    cut = rng.randint(0, len(volumes))
    parts = [daily_sums(part) for part in (minutes[:cut], minutes[cut:], day)]
    assert verdicts(asked("1m"), daily_sums(pl.concat(parts))) == []


@given(st.lists(illiquid, min_size=1, max_size=30))
def test_empty_minutes_and_empty_days_raise_no_alarm(dates: list[list[tuple[int, int]]]) -> None:
    """An instrument that trades in few minutes of a day, or in none, has no candles there: nothing is missing."""
    frames, places = [], []
    for number, traded in enumerate(dates):
        date = DATE + dt.timedelta(days=number)
        volumes = {minute: float(volume) for minute, volume in traded if volume}
        places.append(asked("1m", date))
        frames.append(candles([("1m", volume, volume * 2.5) for volume in volumes.values()], date))
        if volumes:
            frames.append(candles([("1d", sum(volumes.values()), 2.5 * sum(volumes.values()))], date))
    assert found(pl.concat(places), *frames) == []


@pytest.mark.parametrize("secid", ISSUE_BY_SECID)
def test_the_made_market_raises_no_alarm_and_hides_nothing(secid: str) -> None:
    """Minutes, ten minutes and hours of every made instrument, rarely traded ones and the index too, add up to days."""
    exchange = MadeExchange(seed=1)
    for seed in range(seeds(1, 12)):
        rng = random.Random(f"{secid} {seed}")
        month = rng.choice(exchange.chunks(secid, 1))
        days = month_of(exchange, secid, "1d", month)
        for timeframe in ("1m", "10m", "1h"):
            within = month_of(exchange, secid, timeframe, month)
            places = pl.concat([asked(timeframe, date) for date in sorted(set(days["trade_date"]))] or [NOWHERE])
            assert found(places, within, days) == []
            hidden = rng.sample(range(within.height), min(rng.randint(1, 50), within.height))
            left = within.with_row_index().filter(~pl.col("index").is_in(hidden)).drop("index")
            differing = found(places, left, days)
            assert {one.trade_date for one in differing} == {within["trade_date"][row] for row in hidden}
            assert {one.state for one in differing} <= {"differs"}
            assert {one.measure for one in differing} <= {"value" if secid == "IMOEX" else "volume"}


def days(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + DAY * number for number in range((last - first).days + 1)]


dates = st.dates(dt.date(2024, 1, 1), dt.date(2024, 3, 31))


@given(st.lists(dates, max_size=6), st.lists(dates, unique=True, max_size=8), dates, dates)
def test_doubted_dates_are_asked_once_whatever_coverage_says(
    cuts: list[dt.date], doubted: list[dt.date], one: dt.date, other: dt.date
) -> None:
    """A doubted date within what is wanted lies in one window; what is final and not doubted in none."""
    cut = sorted({dt.date(2024, 1, 1), *cuts, dt.date(2024, 4, 1)})
    coverage = [
        Coverage(from_, till - DAY, "complete", f"o{number}")
        for number, (from_, till) in enumerate(pairwise(cut))
        if number % 3 != 1
    ]
    first, last = sorted((one, other))
    border = Border(dt.datetime(2024, 1, 1), dt.datetime(2024, 3, 31, 18))  # noqa: DTZ001 - Moscow
    series = Series("candles", "stock", "shares", "TQBR", "SBER", "1m")
    now = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    windows = plan_windows(series, first, last, border, coverage, now, doubted=doubted)
    asked_dates = [date for window in windows for date in days(window.from_at.date(), window.till)]
    final = {date for row in coverage for date in days(row.from_date, row.till_date)}
    wanted = days(first, last)
    assert asked_dates == [date for date in wanted if date not in final or date in doubted]
