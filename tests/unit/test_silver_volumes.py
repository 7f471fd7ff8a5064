"""What is said of a date whose day's candle and candles within the day are, or are not, held."""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from lakehouse.silver.volumes import agree
from tests.volumes import asked, candles, found

MINUTES = candles([("1m", 10.0, 100.0), ("1m", 5.0, 55.0)])
NONE = candles([])


def say(places: pl.DataFrame, *held: pl.DataFrame) -> list[tuple[str, str, float | None, float]]:
    return [(one.state, one.measure, one.day_volume, one.intraday_volume) for one in found(places, *held)]


def test_sums_that_agree_are_not_listed() -> None:
    """Minutes that add up to the day's volume raise nothing, whatever their turnover."""
    assert say(asked("1m"), MINUTES, candles([("1d", 15.0, 155.1)])) == []


def test_one_security_less_differs() -> None:
    """Whole volumes are compared exactly: one security in billions shows."""
    assert say(asked("1m"), candles([("1m", 8.75e10, 1.0)]), candles([("1d", 8.75e10 + 1, 1.0)])) == [
        ("differs", "volume", 8.75e10 + 1, 8.75e10)
    ]


def test_minutes_without_a_day_are_not_provable() -> None:
    """Where the day's candle was never asked for, nothing can be compared."""
    assert say(asked("1m", day_is_covered=False), MINUTES) == [("not provable", "volume", None, 15.0)]


def test_minutes_whose_day_is_lost_differ() -> None:
    """Where the days were read and lack a candle of a date with minutes, the day's row is missing."""
    assert say(asked("1m"), MINUTES) == [("differs", "volume", None, 15.0)]


def test_a_day_whose_minutes_are_all_lost_differs() -> None:
    """A date that is proved to be read whole, and holds no minute though the day traded, is found."""
    assert say(asked("10m"), candles([("1d", 15.0, 155.0)])) == [("differs", "volume", 15.0, 0.0)]


def test_a_date_without_trades_is_not_listed() -> None:
    """No minutes and no day: nothing traded."""
    assert say(asked("1m"), NONE) == []
    assert say(asked("1m", day_is_covered=False), NONE) == []


def test_dates_that_are_not_asked_about_are_not_compared() -> None:
    """Dates to which the coverage of minutes does not reach say nothing."""
    assert (
        say(asked("1m"), MINUTES, candles([("1d", 15.0, 1.0)]), candles([("1d", 7.0, 1.0)], dt.date(2024, 3, 5))) == []
    )


@pytest.mark.parametrize("volume", [0.0, None])
def test_an_index_is_compared_by_turnover(volume: float | None) -> None:
    """Without volume on either side, turnover is compared, but for the noise of adding it up."""
    minutes = candles([("1m", volume, 0.1), ("1m", volume, 0.25)])
    assert say(asked("1m"), minutes, candles([("1d", volume, 0.35)])) == []
    assert say(asked("1m"), minutes, candles([("1d", volume, 0.4)])) == [("differs", "value", 0.4, 0.35)]


@pytest.mark.parametrize("nothing", [0.0, None])
def test_without_volume_and_turnover_nothing_is_provable(nothing: float | None) -> None:
    """Prices alone do not add up to anything."""
    held = candles([("1m", nothing, nothing), ("1d", nothing, nothing)])
    assert say(asked("1m"), held) == [("not provable", "volume", 0.0, 0.0)]


def test_a_day_without_volume_over_minutes_with_some_differs() -> None:
    """Turnover stands in only where neither side has a volume; futures have a volume and no turnover."""
    assert say(asked("1m"), MINUTES, candles([("1d", None, 155.0)])) == [("differs", "volume", 0.0, 15.0)]
    assert say(asked("1m"), candles([("1m", 3.0, 0.0)]), candles([("1d", 3.0, 0.0)])) == []


def test_each_timeframe_is_compared_with_the_day() -> None:
    """Hours that lack a row are found though the minutes are whole."""
    places = pl.concat([asked("1m"), asked("1h")])
    found_ = found(places, MINUTES, candles([("1h", 10.0, 1.0), ("1d", 15.0, 1.0)]))
    assert [(one.timeframe, one.state) for one in found_] == [("1h", "differs")]


def test_noise_is_not_a_difference() -> None:
    """Fractions are equal to nine digits; whole numbers only to themselves."""
    assert agree(0.1 + 0.2, 0.3)
    assert not agree(0.30001, 0.3)
    assert not agree(1e12, 1e12 + 1)


@pytest.mark.recorded
def test_recorded_minutes_raise_no_alarm(recorded_dir: Path) -> None:
    """EQMX's recorded minutes, an hour of each day and no day's candle, are not provable; none is said to differ."""
    with (recorded_dir / "minute_candles/EQMX.csv").open(encoding="utf-8") as file:
        rows = [(dt.date.fromisoformat(row["begin"][:10]), float(row["volume"])) for row in csv.DictReader(file)]
    held = [candles([("1m", volume, 1.0)], date) for date, volume in rows]
    dates = sorted({date for date, _ in rows})
    places = pl.concat([asked("1m", date, day_is_covered=False) for date in dates])
    verdicts = found(places, *held)
    assert [one.trade_date for one in verdicts] == dates
    assert {one.state for one in verdicts} == {"not provable"}
