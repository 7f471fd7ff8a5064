"""Instants as people write them."""

from __future__ import annotations

import datetime as dt

import pytest

from lakehouse.market.moscow import parse_instant


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-03-05", "2026-03-04T21:00+00:00", "2026-03-05T20:59:59.999999+00:00"),
        ("2012-07-02", "2012-07-01T20:00+00:00", "2012-07-02T19:59:59.999999+00:00"),
        ("2014-10-26", "2014-10-25T20:00+00:00", "2014-10-26T20:59:59.999999+00:00"),
        ("2026-03-05T18:00", "2026-03-05T18:00+00:00", "2026-03-05T18:00+00:00"),
        ("2026-03-05 18:00:30", "2026-03-05T18:00:30+00:00", "2026-03-05T18:00:30+00:00"),
        ("2026-03-05T18:00Z", "2026-03-05T18:00+00:00", "2026-03-05T18:00+00:00"),
        ("2026-03-05T18:00+03:00", "2026-03-05T15:00+00:00", "2026-03-05T15:00+00:00"),
    ],
)
def test_a_date_is_a_whole_day_of_moscow_and_a_time_is_utc_unless_it_says_otherwise(
    text: str, first: str, last: str
) -> None:
    """Four hours ahead of UTC from 2011 to 2014, three since; the day between had 25."""
    assert parse_instant(text) == dt.datetime.fromisoformat(first)
    assert parse_instant(text, is_end=True) == dt.datetime.fromisoformat(last)


@pytest.mark.parametrize("text", ["", "lately", "2026-02-30", "1772700000", "0001-01-01", "0001-01-01T00:00+05:00"])
def test_what_is_no_instant_is_refused(text: str) -> None:
    """And so is what lies beyond the calendar, by an hour too."""
    with pytest.raises(ValueError, match=r"[Ii]nvalid|beyond the calendar|day is out of range"):
        parse_instant(text)
    with pytest.raises(ValueError, match=r"^9999-12-31 lies beyond the calendar$"):
        parse_instant("9999-12-31", is_end=True)
