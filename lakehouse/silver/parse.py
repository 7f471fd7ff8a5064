"""One Bronze object -> the rows of a Silver table, good and broken, as Arrow. Pure but for reading the object."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from lakehouse.bronze.objects import BronzeCorrupt, BronzeObject, decode_object
from lakehouse.iss.saved import read_saved
from lakehouse.market.errors import LakehouseError
from lakehouse.market.table import Table
from lakehouse.market.timeframe import Timeframe
from lakehouse.silver.arrow import arrow_field
from lakehouse.silver.columns import Mask, Values, absent, moscow_to_utc, read_values
from lakehouse.silver.families import FAMILIES, Family, scope_of
from lakehouse.silver.rules import broken_rules, period_start

_EPOCH = np.datetime64(0, "s")


class BronzeUnreadable(LakehouseError):
    """A Bronze object does not hold what its name says."""


@dataclass(frozen=True)
class Source:
    """
    An object to be parsed, as the ledger describes it.

    Attributes:
        object_id: Its place in the total order (rank, fetched_at, object_key) of the objects of one derivation.
        series_id: One number for equal values of the table's key columns that the request fixed.
        known_from: When its rows became known; 1970-01-01 for an upload.
        wanted: Spans (UTC, [from, till)) outside which an object that is not new is not looked at; None for all.
        final_till: The last date whose rows were final when it was read: its own trailer says so.
    """

    object_id: int
    series_id: int
    object_key: str
    family: str
    engine: str
    market: str
    board: str
    secid: str
    timeframe: str
    span_from: dt.datetime
    span_till: dt.datetime
    fetched_at: dt.datetime
    known_from: dt.datetime
    is_new: bool
    wanted: Sequence[tuple[dt.datetime, dt.datetime]] | None = None
    final_till: dt.date = dt.date.min


@dataclass(frozen=True)
class Page:
    """
    Rows of one HTTP answer, columns in lower case.

    *line* is the answer's 1-based line in the object, *first* the number of the first row in the answer.
    """

    line: int
    columns: tuple[str, ...]
    rows: list[list[Any]]
    first: int = 0


CONTROL = (
    pa.field("object_id", pa.int32(), nullable=False),
    pa.field("series_id", pa.int32(), nullable=False),
    pa.field("tier", pa.int32(), nullable=False),
    pa.field("is_new", pa.bool_(), nullable=False),
    pa.field("known_from", pa.timestamp("us", tz="UTC"), nullable=False),
    pa.field("line", pa.int32(), nullable=False),
    pa.field("row", pa.int32(), nullable=False),
    pa.field("rule", pa.string()),
    pa.field("payload", pa.string()),
)


def row_names(table: Table) -> tuple[str, ...]:
    """Return the columns of *table* that come from an object's rows, neither from its request nor from versions."""
    scope = scope_of(table)
    return tuple(name for name in table.names if name not in (*scope, "known_from", "known_till", "source"))


def rows_schema(table: Table) -> pa.Schema:
    """Return the schema of what `parse` returns for objects of *table*."""
    fields = [arrow_field(table.column(name)).with_nullable(True) for name in row_names(table)]
    return pa.schema([*CONTROL, *fields])


def parse(source: Source, body: bytes) -> Iterator[pa.RecordBatch]:
    """
    Parse one Bronze object.

    Args:
        source: The object as the ledger describes it.
        body: Its bytes.

    Yields:
        One batch per shape of page (usually one) with `rows_schema`. A row that breaks a rule has `rule` and `payload`.

    Raises:
        BronzeUnreadable: if it cannot be read, or a successful answer in it lacks the family's block.
    """
    family = FAMILIES[source.family]
    by_columns: dict[tuple[str, ...], list[Page]] = {}
    try:
        bronze = decode_object(body)
    except BronzeCorrupt as error:
        raise BronzeUnreadable(f"{source.object_key}: {error}; then: lakehouse rebuild ledger") from error
    source = replace(source, final_till=bronze.trailer.settled.final_till)
    for page in pages(source.object_key, family, bronze):
        by_columns.setdefault(page.columns, []).append(page)
    for columns, same in by_columns.items():
        yield _batch(source, family, columns, same)


def pages(object_key: str, family: Family, bronze: BronzeObject) -> Iterator[Page]:
    """Yield the pages of an object; answers that were no success, and proofs, hold no rows of it."""
    for line, exchange in enumerate(bronze.exchanges, 1):
        if exchange.status == 200 and not exchange.is_proof:
            origin = bronze.trailer.origin
            answer = read_saved(origin, exchange.body) if origin else _json(exchange.body)
            block = answer.get(family.block) if isinstance(answer, dict) else None
            if block is None:
                raise BronzeUnreadable(
                    f"{object_key}#{line}: the answer of {exchange.url} has no block {family.block!r}; "
                    "this object should not have been landed, remove it and fetch its window again"
                )
            overlap = exchange.overlap
            page = Page(line, tuple(map(str.lower, block["columns"])), block["data"][overlap:], overlap)
            yield _with_description(page, answer["description"]) if family.name == "securities" else page


def _json(body: bytes | str) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # orjson refuses NaN and numbers beyond a double; the row with it goes to quarantine, not the whole object
        return json.loads(body)


def _with_description(page: Page, description: Mapping[str, Any]) -> Page:
    """Append the security's description to the row of each of its boards."""
    names = [str(name).lower() for name in description["columns"]]
    card = {str(row[names.index("name")]).lower(): row[names.index("value")] for row in description["data"]}
    currency = card.get("currencyid") or card.get("faceunit")
    if "currencyid" in page.columns:
        at = page.columns.index("currencyid")
        currencies = [row[at] or currency for row in page.rows]
    else:
        currencies = [currency] * len(page.rows)
    texts = [card.get(name) for name in ("shortname", "name", "isin", "type")]
    # The exchange calls the rouble SUR in cards and RUB in boards
    rows = [
        [*row, *texts, "RUB" if currency == "SUR" else currency]
        for row, currency in zip(page.rows, currencies, strict=True)
    ]
    return Page(page.line, (*page.columns, "shortname", "name", "isin", "type", "currency"), rows)


def _batch(source: Source, family: Family, columns: tuple[str, ...], same: list[Page]) -> pa.RecordBatch:
    raw = [row for page in same for row in page.rows]
    read = _read(family, columns, raw)
    at = _position(read, len(raw))
    outside = _outside(source, family, read, at)
    rules = broken_rules(family.table, read, outside, _asked_secid(source), source.timeframe)
    payload = np.full(len(raw), None, object)
    for row in np.flatnonzero(rules != None):  # noqa: E711 - element by element
        payload[row] = json.dumps(dict(zip(columns, raw[row], strict=True)), ensure_ascii=False)
    control = [
        *_constants(source, family, len(raw)),
        np.repeat(np.array([page.line for page in same], np.int32), [len(page.rows) for page in same]),
        np.concatenate([np.arange(page.first, page.first + len(page.rows), dtype=np.int32) for page in same]),
        pa.array(rules, pa.string()),
        pa.array(payload, pa.string()),
    ]
    row_columns = _table_columns(source, family.table, read, at)
    batch = pa.RecordBatch.from_arrays(
        [pa.array(values) if isinstance(values, np.ndarray) else values for values in (*control, *row_columns)],
        schema=rows_schema(family.table),
    )
    wanted = _wanted(source, at, _unreadable_position(read))
    return batch if wanted.all() else batch.filter(pa.array(wanted))


def _read(family: Family, columns: tuple[str, ...], raw: list[list[Any]]) -> dict[str, Values]:
    by_name = dict(zip(columns, zip(*raw, strict=True), strict=True)) if raw else dict.fromkeys(columns, ())
    read: dict[str, Values] = {}
    for name, theirs in family.columns.items():
        type_ = family.table.column(name).type
        values = by_name.get(theirs)
        read[name] = absent(type_, len(raw)) if values is None else read_values(type_, values)
    return read


def _position(read: Mapping[str, Values], rows: int) -> npt.NDArray[np.datetime64]:
    """Return the UTC instant at which each row lies; 1970 where the table has none."""
    name = _position_name(read)
    return np.full(rows, _EPOCH) if name is None else moscow_to_utc(read[name].data.astype("datetime64[s]"))


def _position_name(read: Mapping[str, Values]) -> str | None:
    return next((name for name in ("begin_at", "trade_date") if name in read), None)


def _unreadable_position(read: Mapping[str, Values]) -> Mask | None:
    name = _position_name(read)
    return None if name is None else read[name].null | read[name].bad


def _outside(source: Source, family: Family, read: Mapping[str, Values], at: npt.NDArray[np.datetime64]) -> Mask:
    unreadable = _unreadable_position(read)
    if family.proves != "span" or unreadable is None:
        return np.zeros(len(at), np.bool_)
    return ((at < _utc(source.span_from)) | (at >= _utc(source.span_till))) & ~unreadable


def _wanted(source: Source, at: npt.NDArray[np.datetime64], unreadable: Mask | None) -> Mask:
    if source.is_new or source.wanted is None:
        return np.ones(len(at), np.bool_)
    inside = np.zeros(len(at), np.bool_)
    for from_, till in source.wanted:
        inside |= (at >= _utc(from_)) & (at < _utc(till))
    return inside if unreadable is None else inside & ~unreadable


def _utc(instant: dt.datetime) -> np.datetime64:
    return np.datetime64(int(instant.timestamp()), "s")


def _asked_secid(source: Source) -> str:
    return source.secid if source.family in ("history", "securities") else ""


def _constants(source: Source, family: Family, rows: int) -> list[pa.Array]:
    known_from = pa.scalar(source.known_from, pa.timestamp("us", tz="UTC"))
    return [
        np.full(rows, source.object_id, np.int32),
        np.full(rows, source.series_id, np.int32),
        np.full(rows, family.tier, np.int32),
        np.full(rows, source.is_new),
        pa.repeat(known_from, rows),
    ]


def _table_columns(
    source: Source, table: Table, read: Mapping[str, Values], at: npt.NDArray[np.datetime64]
) -> Iterator[pa.Array]:
    complete = {**read, **(_derived(source, read, at) if "begin_at" in read else {})}
    for name in row_names(table):
        yield (
            complete[name].to_arrow(table.column(name).type)
            if name in complete
            else pa.nulls(len(at), arrow_field(table.column(name)).type)
        )


def _derived(source: Source, read: Mapping[str, Values], at: npt.NDArray[np.datetime64]) -> dict[str, Values]:
    """What a candle's begin decides: instant, trading date, partition, and whether it was over when it was read."""
    timeframe = Timeframe(source.timeframe)
    begin, end = read["begin_at"], read["end_at"]
    trade_date = begin.data.astype("datetime64[D]")
    dates, positions = np.unique(trade_date, return_inverse=True)
    buckets = np.array([timeframe.bucket(date) for date in dates.tolist()], object)
    is_final = last_date(trade_date, timeframe) <= np.datetime64(source.final_till)
    return {
        "begin_at": replace(begin, data=at),
        "end_at": replace(end, data=moscow_to_utc(end.data)),
        "trade_date": replace(begin, data=trade_date),
        "bucket": replace(begin, data=buckets[positions] if len(dates) else np.zeros(0, object)),
        "is_final": replace(begin, data=is_final),
    }


def last_date(trade_date: npt.NDArray[np.datetime64], timeframe: Timeframe) -> npt.NDArray[np.datetime64]:
    """Return the last date of the candles that begin on *trade_date*."""
    start = period_start(trade_date, timeframe)
    if timeframe is Timeframe.WEEK:
        return np.asarray(start + np.timedelta64(6, "D"))
    if timeframe in (Timeframe.MONTH, Timeframe.QUARTER):
        months = 1 if timeframe is Timeframe.MONTH else 3
        following = (start.astype("datetime64[M]") + np.timedelta64(months, "M")).astype("datetime64[D]")
        return np.asarray(following - np.timedelta64(1, "D"))
    return start


def parse_batches(batches: Iterator[pa.RecordBatch], read_object: Callable[[str], bytes]) -> Iterator[pa.RecordBatch]:
    """Parse the objects that *batches* describe (`SOURCES`), one after the other: what Spark runs in mapInArrow."""
    for batch in batches:
        for described in batch.to_pylist():
            wanted = described.pop("wanted")
            spans = None if wanted is None else [(span["from"], span["till"]) for span in wanted]
            source = Source(**described, wanted=spans)
            yield from parse(source, read_object(source.object_key))


_INSTANT = pa.timestamp("us", tz="UTC")
SOURCES = pa.schema(
    [
        pa.field("object_id", pa.int32()),
        pa.field("series_id", pa.int32()),
        *(
            pa.field(name, pa.string())
            for name in ("object_key", "family", "engine", "market", "board", "secid", "timeframe")
        ),
        *(pa.field(name, _INSTANT) for name in ("span_from", "span_till", "fetched_at", "known_from")),
        pa.field("is_new", pa.bool_()),
        pa.field("wanted", pa.list_(pa.struct([pa.field("from", _INSTANT), pa.field("till", _INSTANT)]))),
    ]
)
