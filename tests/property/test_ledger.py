"""Coverage is a function of the objects, whatever the order in which they come."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lakehouse.bronze.coverage import Coverage, claims, derive
from lakehouse.bronze.objects import Trailer
from lakehouse.bronze.window import Series, Window
from lakehouse.market.moscow import day_start

DAY = dt.timedelta(days=1)
FIRST = dt.date(2024, 3, 1)
SERIES = Series("candles", "stock", "shares", "TQBR", "SBER", "1d")

Landed = tuple[str, Trailer]


@st.composite
def landed(draw: st.DrawFn) -> Landed:
    """An object fetched on some day of March; its window ends on that day at the latest."""
    fetched_on = draw(st.integers(0, 20))
    from_, till = sorted([draw(st.integers(0, fetched_on)), draw(st.integers(0, fetched_on))])
    fetched_at = (
        day_start(FIRST + DAY * fetched_on) + dt.timedelta(minutes=15) + dt.timedelta(hours=draw(st.integers(0, 20)))
    )
    window = Window(SERIES, dt.datetime.combine(FIRST + DAY * from_, dt.time()), FIRST + DAY * till)
    state = draw(st.sampled_from(["complete", "complete", "no trades", "missing"]))
    anchor = {"begin": f"{draw(st.dates(FIRST + DAY * from_, FIRST + DAY * till))} 00:00:00", "rows": []}
    trailer = Trailer(
        window, fetched_at, 1, 1, "", state != "missing", state, "", anchor if state == "complete" else None
    )
    return f"iss/{from_}/{fetched_at:%Y%m%dT%H%M%SZ}-{draw(st.integers(0, 9999)):04}", trailer


unique = st.lists(landed(), max_size=8, unique_by=lambda pair: pair[0].rpartition("/")[2])


@given(unique, st.randoms(use_true_random=False))
def test_coverage_does_not_depend_on_order_or_repetition(objects: list[Landed], random: object) -> None:
    """Landing in another order, or twice, ends in the same rows, so a rebuild gives what was there."""
    shuffled = [*objects, *objects]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert derive(shuffled) == derive(objects)


@given(unique)
def test_newest_proof_of_a_date_counts(objects: list[Landed]) -> None:
    """A date has the row of the newest object that proves it final, else of the newest that says anything."""
    rows = derive(objects)
    assert all(one.till_date < other.from_date for one, other in pairwise(rows))
    for date in (FIRST + DAY * day for day in range(21)):
        said = [
            row for key, trailer in objects for row in claims(key, trailer) if row.from_date <= date <= row.till_date
        ]
        expected = max(said, key=_strength, default=None)
        found = next((row for row in rows if row.from_date <= date <= row.till_date), None)
        assert (found and (found.state, found.object_key)) == (expected and (expected.state, expected.object_key))


def _strength(row: Coverage) -> tuple[bool, str]:
    return row.is_final, row.object_key.rpartition("/")[2]
