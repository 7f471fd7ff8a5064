"""What a derivation reads beside rows and the table itself, as Arrow: pure over the plan of its inputs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from lakehouse.market.moscow import to_moscow
from lakehouse.market.table import Table
from lakehouse.market.timeframe import Timeframe
from lakehouse.silver.families import FAMILIES, families_of, scope_of
from lakehouse.silver.inputs import Inputs, buckets, known_from
from lakehouse.silver.parse import SOURCES
from lakehouse.silver.versions import row_keys

_INSTANT = pa.timestamp("us", tz="UTC")


def sources(inputs: Inputs) -> pa.Table:
    """Return the objects to parse (`SOURCES`), heavy ones apart."""
    rows: list[dict[str, Any]] = []
    for object_id, object_ in enumerate(inputs.objects):
        wanted = inputs.wanted[object_id]
        rows.append(
            {
                "object_id": object_id,
                "series_id": inputs.series_ids[object_id],
                **{name: getattr(object_, name) for name in SOURCES.names if hasattr(object_, name)},
                "known_from": known_from(object_),
                "is_new": inputs.is_new[object_id],
                "wanted": None if wanted is None else [{"from": from_, "till": till} for from_, till in wanted],
            }
        )
    # Spark cuts a local table into equal slices: heavy objects must not meet in one
    rows.sort(key=lambda row: -inputs.objects[row["object_id"]].rows)
    return pa.Table.from_pylist(rows[::2] + rows[1::2][::-1], schema=SOURCES)


def objects(inputs: Inputs) -> pa.Table:
    """Return the view `objects`: what names an object in a `source`, and in the quarantine."""
    columns: dict[str, pa.Array] = {
        "object_id": pa.array(range(len(inputs.objects)), pa.int32()),
        "is_new": pa.array(inputs.is_new, pa.bool_()),
        "fetched_at": pa.array([object_.fetched_at for object_ in inputs.objects], _INSTANT),
    }
    for name in ("object_key", "family", "engine", "market", "board", "secid", "timeframe"):
        columns[name] = pa.array([getattr(object_, name) for object_ in inputs.objects], pa.string())
    return pa.table(columns)


def series(inputs: Inputs) -> pa.Table:
    """Return the view `series`: the values of the table's scope columns, by series_id."""
    columns = {"series_id": pa.array(range(len(inputs.scopes)), pa.int32())}
    for place, name in enumerate(scope_of(inputs.table)):
        columns[name] = pa.array([scope[place] for scope in inputs.scopes], pa.string())
    return pa.table(columns)


def silent(inputs: Inputs) -> pa.Table:
    """Return the view `silent`: the complete objects that may lack a key."""
    entries = inputs.silent
    columns = {
        "object_id": pa.array([entry.object_id for entry in entries], pa.int32()),
        "series_id": pa.array([entry.series_id for entry in entries], pa.int32()),
        "known_from": pa.array([entry.known_from for entry in entries], _INSTANT),
        "is_new": pa.array([entry.is_new for entry in entries], pa.bool_()),
        "tier": pa.array([FAMILIES[inputs.objects[entry.object_id].family].tier for entry in entries], pa.int32()),
        "board": pa.array([entry.board for entry in entries], pa.string()),
        "secid": pa.array([entry.secid for entry in entries], pa.string()),
    }
    return pa.table({**columns, **_bounds(inputs.table, [entry.span for entry in entries])})


def spans(inputs: Inputs) -> pa.Table:
    """Return the intervals, one row per bucket they touch, so that the join with the table is one of equals."""
    table, scope = inputs.table, scope_of(inputs.table)
    entries: list[tuple[int, bool, str, tuple[dt.datetime, dt.datetime]]] = []
    for interval in inputs.intervals:
        names = [""]
        if table.partition_by:
            timeframe = Timeframe(inputs.scopes[interval.series_id][scope.index("timeframe")])
            names = buckets(timeframe, interval.span)
        entries += [(interval.series_id, interval.fast, name, interval.span) for name in names]
    columns = {
        "series_id": pa.array([entry[0] for entry in entries], pa.int32()),
        "fast": pa.array([entry[1] for entry in entries], pa.bool_()),
        "bucket": pa.array([entry[2] for entry in entries], pa.string()),
    }
    for place, name in enumerate(scope):
        columns[name] = pa.array([inputs.scopes[entry[0]][place] for entry in entries], pa.string())
    return pa.table({**columns, **_bounds(table, [entry[3] for entry in entries])})


def position(table: Table) -> str | None:
    """Return the column of *table* by which a span covers a row; None where objects speak of whole series."""
    if not any(family.proves == "span" for family in families_of(table)):
        return None
    return "begin_at" if "begin_at" in row_keys(table) else "trade_date"


def _bounds(table: Table, extents: Sequence[tuple[dt.datetime, dt.datetime]]) -> dict[str, pa.Array]:
    """Return *extents* in the type of the table's position: instants, or the Moscow dates that begin inside."""
    if position(table) != "trade_date":
        return {
            "from_at": pa.array([span[0] for span in extents], _INSTANT),
            "till_at": pa.array([span[1] for span in extents], _INSTANT),
        }
    return {
        "from_at": pa.array([_first_date(span[0]) for span in extents], pa.date32()),
        "till_at": pa.array([_first_date(span[1]) for span in extents], pa.date32()),
    }


def _first_date(instant: dt.datetime) -> dt.date:
    """Return the first Moscow date that begins at *instant* or later."""
    moscow = to_moscow(instant)
    return moscow.date() if moscow.time() == dt.time() else moscow.date() + dt.timedelta(days=1)
