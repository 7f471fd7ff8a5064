"""Which objects a merge reads, and what each may say: pure planning over the ledger's rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lakehouse.bronze.ledger import LedgerObject
from lakehouse.market.moscow import to_moscow
from lakehouse.market.table import Table
from lakehouse.market.timeframe import Timeframe
from lakehouse.silver.families import FAMILIES, scope_of

UPLOADED_AT = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ALWAYS = (dt.datetime(1, 1, 2, tzinfo=dt.UTC), dt.datetime(9999, 12, 30, tzinfo=dt.UTC))

Span = tuple[dt.datetime, dt.datetime]


@dataclass(frozen=True)
class Interval:
    """
    A stretch of one scope that new objects cover.

    Attributes:
        fast: Every merged object that covers any of it is older than all new ones: the table's current versions stand
            for them.
        lone: One new object covers it and no merged one does.
    """

    series_id: int
    span: Span
    fast: bool
    lone: bool


@dataclass(frozen=True)
class Silent:
    """A complete object: what it does not hold of the keys in *span* is not there."""

    object_id: int
    series_id: int
    known_from: dt.datetime
    is_new: bool
    board: str
    secid: str
    span: Span


@dataclass(frozen=True)
class Inputs:
    """
    What one derivation reads.

    Attributes:
        scopes: The values of the table's scope columns, by series_id.
        objects: The objects to parse, in their total order; `object_id` is the index.
        wanted: Per object the spans to look at, None for all.
    """

    table: Table
    scopes: Sequence[tuple[str, ...]]
    objects: Sequence[LedgerObject]
    is_new: Sequence[bool]
    series_ids: Sequence[int]
    wanted: Sequence[Sequence[Span] | None]
    intervals: Sequence[Interval]
    silent: Sequence[Silent]

    @property
    def partitions(self) -> list[tuple[str, ...]]:
        """The partitions of the table in which the intervals lie, none missed."""
        if not self.table.partition_by:
            return []
        found: set[tuple[str, ...]] = set()
        for interval in self.intervals:
            timeframe = Timeframe(self.scopes[interval.series_id][scope_of(self.table).index("timeframe")])
            found.update((timeframe.value, bucket) for bucket in buckets(timeframe, interval.span))
        return sorted(found)


def known_from(object_: LedgerObject) -> dt.datetime:
    """Return when an object's rows became known: an upload's never, so before all others."""
    return object_.fetched_at if object_.rank >= 0 else UPLOADED_AT


def total_order(object_: LedgerObject) -> tuple[Any, ...]:
    """Return the place of an object among all that speak of a key."""
    return (object_.rank, object_.fetched_at, object_.object_key)


def plan_inputs(table: Table, new: Sequence[LedgerObject], old: Iterable[LedgerObject], *, trusted: bool) -> Inputs:
    """
    Decide what a derivation reads.

    Args:
        new: Objects to be merged.
        old: All merged objects of the same scopes that overlap them.
        trusted: Whether the table is known to equal what the merged objects derive. If not, nothing stands for them.
    """
    names = scope_of(table)
    keys = {object_.object_key for object_ in new}
    by_scope: dict[tuple[str, ...], tuple[list[LedgerObject], list[LedgerObject]]] = {}
    for is_old, objects in enumerate((new, [object_ for object_ in old if object_.object_key not in keys])):
        for object_ in objects:
            by_scope.setdefault(tuple(getattr(object_, name) for name in names), ([], []))[is_old].append(object_)
    scopes = sorted(scope for scope, (fresh, _) in by_scope.items() if fresh)
    intervals: list[Interval] = []
    read: list[tuple[LedgerObject, int, bool, list[Span] | None, bool]] = []
    for series_id, scope in enumerate(scopes):
        fresh, merged = by_scope[scope]
        mine = [_interval(series_id, span, fresh, merged, trusted) for span in _united(fresh)]
        intervals += mine
        read += [(object_, series_id, True, None, _crowded(object_, mine)) for object_ in fresh]
        for object_ in merged:
            if slow := [i.span for i in mine if not i.fast and _overlap(i.span, _extent(object_))]:
                read.append((object_, series_id, False, slow, True))
    read.sort(key=lambda entry: total_order(entry[0]))
    return Inputs(
        table=table,
        scopes=scopes,
        objects=[entry[0] for entry in read],
        series_ids=[entry[1] for entry in read],
        is_new=[entry[2] for entry in read],
        wanted=[entry[3] for entry in read],
        intervals=intervals,
        silent=[
            Silent(object_id, series_id, known_from(object_), is_new, object_.board, object_.secid, span)
            for object_id, (object_, series_id, is_new, spans, crowded) in enumerate(read)
            if crowded and _proves(object_)
            for span in _looked_at(object_, spans)
        ],
    )


def buckets(timeframe: Timeframe, span: Span) -> list[str]:
    """Return the buckets that hold the candles of *timeframe* which begin in *span*."""
    first, last = (to_moscow(instant).date() for instant in (span[0], span[1] - dt.timedelta(microseconds=1)))
    found = [timeframe.bucket(first)]
    month = first.replace(day=1)
    while (month := (month + dt.timedelta(days=32)).replace(day=1)) <= last:
        if (bucket := timeframe.bucket(month)) != found[-1]:
            found.append(bucket)
    return found


def _interval(
    series_id: int, span: Span, fresh: list[LedgerObject], merged: list[LedgerObject], trusted: bool
) -> Interval:
    new = [object_ for object_ in fresh if _overlap(span, _extent(object_))]
    old = [object_ for object_ in merged if _overlap(span, _extent(object_))]
    tiers = {FAMILIES[object_.family].tier for object_ in (*new, *old)}
    is_newer = all(object_.rank >= 0 for object_ in new) and (
        max((object_.fetched_at for object_ in old), default=UPLOADED_AT) < min(object_.fetched_at for object_ in new)
    )
    # Rows of a lower tier leave no trace in the table that could tell what a higher one removed
    fast = trusted and is_newer and tiers == {0}
    return Interval(series_id, span, fast, lone=trusted and len(new) == 1 and not old)


def _crowded(object_: LedgerObject, intervals: list[Interval]) -> bool:
    return any(not interval.lone for interval in intervals if _overlap(interval.span, _extent(object_)))


def _proves(object_: LedgerObject) -> bool:
    return object_.complete and object_.rank >= 0 and FAMILIES[object_.family].proves != "nothing"


def _extent(object_: LedgerObject) -> Span:
    return (object_.span_from, object_.span_till) if FAMILIES[object_.family].proves == "span" else _ALWAYS


def _looked_at(object_: LedgerObject, wanted: Sequence[Span] | None) -> list[Span]:
    """Return where an object is read: beyond that, its rows are not at hand, and what they lack is not absent."""
    from_, till = _extent(object_)
    return [(max(from_, span[0]), min(till, span[1])) for span in wanted or [(from_, till)]]


def _united(objects: Iterable[LedgerObject]) -> list[Span]:
    united: list[Span] = []
    for from_, till in sorted(map(_extent, objects)):
        if united and from_ < united[-1][1]:
            united[-1] = (united[-1][0], max(till, united[-1][1]))
        else:
            united.append((from_, till))
    return united


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]
