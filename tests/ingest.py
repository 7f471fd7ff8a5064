"""An ingest as far as Bronze, and what its ledger and store say afterwards."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from deltalake import write_deltalake
from psycopg.rows import class_row

from lakehouse.bronze.coverage import Coverage
from lakehouse.bronze.doubts import VolumeGap, gaps
from lakehouse.bronze.fetch import FetchContext, Outcome, fetch_windows
from lakehouse.bronze.ledger import LedgerObject, coverage, mark_merged
from lakehouse.bronze.objects import decode_object
from lakehouse.bronze.prepare import instrument_windows
from lakehouse.bronze.window import Series, candle_series, history_series
from lakehouse.iss.errors import IssError
from lakehouse.market.candle import CANDLES
from lakehouse.market.instrument import Instrument
from lakehouse.market.moscow import day_start
from lakehouse.market.timeframe import Timeframe
from lakehouse.silver.arrow import arrow_schema
from lakehouse.silver.families import FAMILIES
from lakehouse.silver.inputs import known_from, total_order
from lakehouse.silver.lake import Lake
from lakehouse.silver.parse import Source, parse
from lakehouse.silver.volume_check import check_volumes
from lakehouse.storage.store import open_store
from tests.derivation import Key, Span, Spoken, Values, Version, derive

Row = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What is to be ingested: a timeframe of an instrument; with 1d come the end-of-day rows."""

    instrument: Instrument
    timeframe: Timeframe
    from_: dt.date
    till: dt.date | None

    @property
    def series(self) -> list[Series]:
        candles = candle_series(self.instrument, self.timeframe)
        return [candles, history_series(self.instrument)] if self.timeframe is Timeframe.DAY else [candles]


def ingest(context: FetchContext, wanted: Sequence[Wanted], now: dt.datetime) -> list[Outcome]:
    """Plan from the ledger and fetch what is due; where the exchange does not even tell its borders, nothing."""
    windows = []
    for one in wanted:
        try:
            windows += instrument_windows(
                context, one.instrument, [one.timeframe], from_=one.from_, till=one.till, now=now
            )
        except IssError:
            continue
    return fetch_windows(context, [(window, lambda pages, rows: None) for window in windows])


def covered(context: FetchContext, series: Series) -> list[Coverage]:
    """Return what the ledger says of a series."""
    with context.connect() as conn:
        return coverage(conn, series)


def rows_of(context: FetchContext, series: Series, object_key: str) -> Iterator[Row]:
    """Yield the rows of an object as the exchange wrote them, as far as Silver reads them."""
    family = FAMILIES[series.family]
    for exchange in decode_object(context.store().get(object_key)).exchanges:
        if not exchange.is_proof:
            rows = read_rows(series, orjson.loads(exchange.body)[family.block])
            yield from islice(rows, exchange.overlap, None)


def read_rows(series: Series, block: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows of a block, with the columns that Silver reads."""
    names = [name.lower() for name in block["columns"]]
    wanted = [name for name in FAMILIES[series.family].columns.values() if name != "end"]
    for row in block["data"]:
        values = dict(zip(names, row, strict=True))
        yield {name: values.get(name) for name in wanted}


def date_of(row: Row) -> dt.date:
    """Return the Moscow date of a row."""
    return dt.date.fromisoformat((row.get("begin") or row.get("tradedate") or "")[:10])


def derived(context: FetchContext) -> dict[Key, list[Version]]:
    """Return the versions of candles and end-of-day rows that all objects of the ledger derive."""
    with context.connect() as conn, conn.cursor(row_factory=class_row(LedgerObject)) as cursor:
        landed = cursor.execute(_LANDED).fetchall()
    spoken: dict[Key, list[Spoken]] = {}
    at_of: dict[Key, dict[Key, dt.datetime]] = {}
    for object_ in landed:
        scope = tuple(getattr(object_, name) for name in ("family", *FAMILIES[object_.family].scope))
        said, at_of_said = _spoken(context.store_url, object_)
        spoken.setdefault(scope, []).append(said)
        at_of.setdefault(scope, {}).update(at_of_said)
    return {
        scope + key: versions
        for scope, objects in spoken.items()
        for key, versions in derive(objects, at_of[scope]).items()
    }


def current(versions: Mapping[Key, Sequence[Version]]) -> dict[Key, Values]:
    """Return the values of what is there now."""
    return {key: found[-1].values for key, found in versions.items() if found[-1].known_till is None}


def compare_volumes(context: FetchContext, folder: Path, today: dt.date) -> list[VolumeGap]:
    """
    Make Silver what Bronze derives, without Spark, and compare its days with what is within them.

    Args:
        today: Candles of earlier dates are final.
    """
    candles = [name for name in CANDLES.hashed if name not in CANDLES.key]
    rows = []
    for (family, *key), values in current(derived(context)).items():
        if family == "candles":
            row = dict(zip((*CANDLES.key, *candles), (*key, *values), strict=True))
            bucket = Timeframe(row["timeframe"]).bucket(row["trade_date"])
            rows.append({**row, **_UNKNOWN, "bucket": bucket, "is_final": row["trade_date"] < today})
    table = pa.Table.from_pylist(rows, arrow_schema(CANDLES))
    lake = Lake(str(folder))
    write_deltalake(lake.at(CANDLES).url, table, mode="overwrite", partition_by=list(CANDLES.partition_by))
    with context.connect() as conn:
        mark_merged(conn, [key for (key,) in conn.execute("SELECT object_key FROM lake.bronze_object").fetchall()])
        check_volumes(context.dsn, lake)
        return gaps(conn)


_UNKNOWN = {"known_from": dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "known_till": None, "source": "", "end_at": None}
_LANDED = """
    SELECT object_key, family, engine, market, board, secid, timeframe, lower(span) AS span_from,
        upper(span) AS span_till, complete, fetched_at, rank, coalesce(rows, 0) AS rows
    FROM lake.bronze_object WHERE family IN ('candles', 'history')"""


@lru_cache(maxsize=1_000)  # objects never change, and one after another of them is asked for again
def _spoken(store_url: str, object_: LedgerObject) -> tuple[Spoken, dict[Key, dt.datetime]]:
    """Return what an object says, and where the keys of its rows lie."""
    table = FAMILIES[object_.family].table
    described = {name: value for name, value in asdict(object_).items() if name not in ("complete", "rank", "rows")}
    source = Source(object_id=0, series_id=0, known_from=known_from(object_), is_new=True, **described)
    batches = list(parse(source, open_store(store_url).get(object_.object_key)))
    rows: dict[Key, tuple[Any, ...]] = {}
    at_of: dict[Key, dt.datetime] = {}
    broken: set[Key] = set()
    for row in pa.Table.from_batches(batches).to_pylist() if batches else []:
        key = tuple(row[name] for name in table.key if name in row)
        at_of[key] = row["begin_at"] if "begin_at" in row else day_start(row["trade_date"])
        if row["rule"] is None:
            rows[key] = tuple(row[name] for name in table.hashed if name in row and name not in table.key)
        else:
            broken.add(key)
    span = Span(object_.span_from, object_.span_till if object_.complete else object_.span_from)
    return Spoken(total_order(object_), known_from(object_), span, rows, frozenset(broken)), at_of
