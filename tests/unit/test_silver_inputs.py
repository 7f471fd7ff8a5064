from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from lakehouse.bronze.ledger import LedgerObject
from lakehouse.market.candle import CALENDAR, CANDLES, SPLITS
from lakehouse.market.moscow import day_start
from lakehouse.market.timeframe import Timeframe
from lakehouse.silver import views
from lakehouse.silver.inputs import buckets, known_from, plan_inputs
from tests.bronze_objects import bronze_object, candles_object


def hour(number: int) -> dt.datetime:
    return dt.datetime(2024, 3, 20, number, tzinfo=dt.UTC)


def march(first: int, last: int, fetched: int, **more: Any) -> LedgerObject:
    return candles_object(
        [], from_=dt.date(2024, 3, first), till=dt.date(2024, 3, last), fetched_at=hour(fetched), **more
    )[0]


def test_an_object_that_meets_no_other_stands_alone() -> None:
    """Nothing can be missing from it that was there: no absences, no old objects, the fast path."""
    inputs = plan_inputs(CANDLES, [march(1, 5, 10), march(6, 9, 10), march(1, 5, 10, secid="GAZP")], [], trusted=True)
    assert [(interval.fast, interval.lone) for interval in inputs.intervals] == [(True, True)] * 3
    assert inputs.silent == []
    assert inputs.scopes == [("stock", "shares", "TQBR", secid, "1m") for secid in ("GAZP", "SBER")]


def test_newer_objects_take_the_fast_path_and_read_no_old_ones() -> None:
    """Current versions stand for what is older; what the new object lacks is not there."""
    new, old = march(4, 9, 11), march(1, 5, 10)
    inputs = plan_inputs(CANDLES, [new], [old], trusted=True)
    assert [interval.fast for interval in inputs.intervals] == [True]
    assert list(inputs.objects) == [new]
    assert [silent.span for silent in inputs.silent] == [(new.span_from, new.span_till)]


@pytest.mark.parametrize(
    ("fetched", "rank", "trusted"),
    [(10, 0, True), (9, 0, True), (11, -1, True), (11, 0, False)],
    ids=["equal time", "late", "upload", "untrusted table"],
)
def test_late_equal_and_uploaded_objects_take_the_full_path(fetched: int, rank: int, trusted: bool) -> None:
    """Then all overlapping objects are read, within the spans of the new ones."""
    new, old = march(4, 9, fetched, rank=rank), march(1, 5, 10)
    inputs = plan_inputs(CANDLES, [new], [old], trusted=trusted)
    assert [interval.fast for interval in inputs.intervals] == [False]
    wanted = {object_.object_key: spans for object_, spans in zip(inputs.objects, inputs.wanted, strict=True)}
    assert wanted == {new.object_key: None, old.object_key: [(new.span_from, new.span_till)]}


def test_one_late_window_does_not_slow_the_others() -> None:
    """The path is chosen per stretch of a series."""
    inputs = plan_inputs(CANDLES, [march(1, 2, 9), march(8, 9, 11)], [march(1, 2, 10), march(8, 9, 10)], trusted=True)
    assert [interval.fast for interval in inputs.intervals] == [False, True]
    assert len(inputs.objects) == 3


def test_an_old_object_proves_absence_only_where_it_is_read() -> None:
    """
    Read for a late neighbour, a merged object says nothing of the rest of its span, where versions stand for it.

    Its rows there are not at hand: each candle that it holds would be taken for one that it lacks.
    """
    whole, late, newer = march(1, 9, 10), march(1, 4, 9), march(5, 9, 11)
    inputs = plan_inputs(CANDLES, [late, newer], [whole], trusted=True)
    assert [interval.fast for interval in inputs.intervals] == [False, True]
    spans = {inputs.objects[silent.object_id].object_key: silent.span for silent in inputs.silent}
    assert spans[whole.object_key] == (late.span_from, late.span_till)
    assert spans[newer.object_key] == (newer.span_from, newer.span_till)


def test_only_complete_fetched_objects_prove_absence() -> None:
    """A failed object says nothing, and neither does an upload."""
    new = [march(1, 5, 11, complete=False), march(1, 5, 12, rank=-1), march(1, 5, 10)]
    inputs = plan_inputs(CANDLES, new, [], trusted=True)
    assert [inputs.objects[silent.object_id] for silent in inputs.silent] == [new[2]]


def test_uploads_come_first_and_were_known_before_everything() -> None:
    """Rank orders before fetch time."""
    fetched, uploaded = march(1, 5, 10), march(1, 5, 12, rank=-1)
    assert list(plan_inputs(CANDLES, [fetched, uploaded], [], trusted=True).objects) == [uploaded, fetched]
    assert known_from(uploaded) == dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def test_a_reference_list_covers_its_whole_series() -> None:
    """A list of splits of another day speaks of the same splits."""
    lists = [
        bronze_object(
            "splits",
            [],
            rows=0,
            market="",
            fetched_at=hour(number),
            from_=dt.date(2024, 3, number),
            till=dt.date(2024, 3, number),
        )[0]
        for number in (1, 2)
    ]
    inputs = plan_inputs(SPLITS, [lists[1]], [lists[0]], trusted=True)
    assert [(interval.fast, interval.lone) for interval in inputs.intervals] == [(True, False)]
    assert len(inputs.silent) == 1


def test_the_calendar_is_always_derived_from_all_its_objects() -> None:
    """What the timetable says counts only where the calendar is silent, which current versions cannot tell."""
    timetable = bronze_object("timetable", [], rows=0, market="", fetched_at=hour(1))[0]
    calendar = bronze_object("calendar", [], rows=0, market="", fetched_at=hour(2))[0]
    inputs = plan_inputs(CALENDAR, [calendar], [timetable], trusted=True)
    assert len(inputs.objects) == 2
    assert inputs.silent == []


def test_absence_from_the_exchanges_list_says_nothing_of_added_splits() -> None:
    """Nor the other way round: each object speaks against rows of its own tier, and of its own code."""
    listed, _ = bronze_object("splits", [], rows=0, market="")
    added, _ = bronze_object("added_splits", [], rows=0, market="", secid="BELU", fetched_at=hour(14))
    inputs = plan_inputs(SPLITS, [added], [listed], trusted=True)
    assert [interval.fast for interval in inputs.intervals] == [False]
    found = views.silent(inputs).select(["secid", "tier", "is_new"]).to_pylist()
    assert found == [{"secid": "", "tier": 0, "is_new": False}, {"secid": "BELU", "tier": -1, "is_new": True}]


def test_partitions_are_those_of_the_spans() -> None:
    """Months of minutes, years of hours, one for days; none is missed at a border."""
    span = (day_start(dt.date(2023, 12, 31)), day_start(dt.date(2024, 2, 1)))
    assert buckets(Timeframe.MINUTE, span) == ["2023-12", "2024-01"]
    assert buckets(Timeframe.HOUR, span) == ["2023", "2024"]
    assert buckets(Timeframe.DAY, span) == ["all"]
    inputs = plan_inputs(CANDLES, [march(1, 5, 10), march(1, 5, 10, timeframe="1d")], [], trusted=True)
    assert inputs.partitions == [("1d", "all"), ("1m", "2024-03")]
