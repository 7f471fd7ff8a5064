"""The coverage ledger: which objects there are and what they prove. Everything here can be rebuilt from the store."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb
from psycopg.types.range import TimestamptzRange

from lakehouse.bronze.coverage import FAILED, Coverage, claims, derive, overlay
from lakehouse.bronze.objects import MAX_BYTES, BronzeCorrupt, Trailer, trailer_under
from lakehouse.bronze.window import Series, Window
from lakehouse.market.instrument import Instrument
from lakehouse.market.moscow import to_utc
from lakehouse.market.sessions import DELAY
from lakehouse.storage.store import ObjectTooLarge, Store

# Only these are planned by dates; reference tables are simply the newest object.
COVERED_FAMILIES = ("candles", "history")
PREFIX = "iss/"


@dataclass(frozen=True)
class LedgerObject:
    """
    An object of Bronze.

    *complete*: what lies in its span (UTC, end excluded) and is not in it did not exist when it was fetched.
    """

    object_key: str
    family: str
    engine: str
    market: str
    board: str
    secid: str
    timeframe: str
    span_from: dt.datetime
    span_till: dt.datetime
    complete: bool
    fetched_at: dt.datetime
    rank: int
    rows: int


def proved_span(trailer: Trailer) -> tuple[dt.datetime, dt.datetime]:
    """
    Return the span (UTC) of which an object speaks: its window as far as the exchange showed it.

    The last quarter of an hour before the fetch is left out, as its absence says nothing, unless rows of it were given.
    """
    from_, till = trailer.window.span
    seen = to_utc(dt.datetime.fromisoformat(trailer.last)) + dt.timedelta(seconds=1) if trailer.last else from_
    return from_, max(from_ + dt.timedelta(seconds=1), min(till, max(trailer.fetched_at - DELAY, seen)))


def record_landed(conn: Connection, object_key: str, trailer: Trailer) -> None:
    """Record an object that lies in the store, and what it proves. Recording it again changes nothing."""
    with conn.transaction():
        _insert_objects(conn, [(object_key, trailer)])
        if trailer.window.series.family in COVERED_FAMILIES:
            _overlay(conn, trailer.window.series, claims(object_key, trailer))


def record_failed(conn: Connection, window: Window, error: str) -> None:
    """Record that a window could not be read: what was final stays so, the rest is failed and due at once."""
    claim = Coverage(window.from_at.date(), window.till, FAILED, error=error)
    with conn.transaction():
        _overlay(conn, window.series, [claim])


def coverage(conn: Connection, series: Series) -> list[Coverage]:
    """Return what is known of a series, by date."""
    return _coverage(conn, series, dt.date.min, dt.date.max)


def newest(conn: Connection, series: Series) -> LedgerObject | None:
    """Return the complete object of a series that was fetched last."""
    query = _OBJECTS + _OF_SERIES + " AND complete ORDER BY fetched_at DESC, object_key DESC LIMIT 1"
    with conn.cursor(row_factory=class_row(LedgerObject)) as cursor:
        return cursor.execute(query, _names(series)).fetchone()


def card_of_first_candles(conn: Connection, instrument: Instrument) -> LedgerObject | None:
    """Return the card of a security that was in force when candles of it on its board were first read."""
    with conn.cursor(row_factory=class_row(LedgerObject)) as cursor:
        return cursor.execute(_OBJECTS + _OF_FIRST_CANDLES, vars(instrument)).fetchone()


def newest_of_family(conn: Connection, family: str) -> list[LedgerObject]:
    """Return the complete object that was fetched last of each series of a *family* of reference."""
    with conn.cursor(row_factory=class_row(LedgerObject)) as cursor:
        return cursor.execute(_NEWEST_OF_FAMILY, [family]).fetchall()


def objects_of_family(conn: Connection, family: str, engine: str) -> list[LedgerObject]:
    """Return all complete objects of a *family* of reference."""
    with conn.cursor(row_factory=class_row(LedgerObject)) as cursor:
        return cursor.execute(_OBJECTS + " WHERE family = %s AND engine = %s AND complete", [family, engine]).fetchall()


def later_than_known(conn: Connection, series: Series, now: dt.datetime | None = None) -> dt.datetime:
    """
    Return a moment at which something may become known of *series*: at least a second after all that is known of it.

    Args:
        now: The present; by default the exchange's clock when it last answered. Whole seconds count, as keys have them.
    """
    row = conn.execute(_LATEST, _names(series)).fetchone()
    newest_of_all, newest_of_series = row or (None, None)
    at = (now or newest_of_all or dt.datetime.now(dt.UTC)).replace(microsecond=0)
    return max(at, newest_of_series + dt.timedelta(seconds=1)) if newest_of_series else at


def mark_merged(conn: Connection, keys: Sequence[str]) -> None:
    """Record that Silver holds the objects of *keys*."""
    conn.execute("UPDATE lake.bronze_object SET merged_at = now() WHERE object_key = ANY(%s)", [list(keys)])


@dataclass(frozen=True)
class Junk:
    """A file in Bronze that is no object, and why; it is left where it is, and nothing of it is read."""

    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}; move it out of Bronze"


def look_at(store: Store, key: str) -> Trailer | Junk:
    """Return what the object under *key* proves, or why there is none."""
    try:
        return trailer_under(key, store.get(key, MAX_BYTES))
    except (BronzeCorrupt, ObjectTooLarge, OSError) as error:
        return Junk(key, " ".join(str(error).split()))


def look_through(store: Store, keys: Iterable[str]) -> Iterator[tuple[str, Trailer] | Junk]:
    """Yield the objects under *keys*, each with what it proves, and what in Bronze is no object."""
    for key in keys:
        found = look_at(store, key)
        yield found if isinstance(found, Junk) else (key, found)
    for other in store.strangers(PREFIX):
        yield Junk(other.key, f"it {other.stranger}")


def rebuild(conn: Connection, store: Store, on_junk: Callable[[Junk], None] | None = None) -> int:
    """
    Make the ledger what the objects of *store* say, in one transaction; return how many there are.

    Objects known before keep their merged_at. Failures left no object and are forgotten: their dates are due anyway.
    Whoever lands meanwhile waits, and records his object afterwards. *on_junk* is told of every file that is no object.
    """
    with conn.transaction():
        conn.execute("LOCK TABLE lake.bronze_object, lake.coverage IN EXCLUSIVE MODE")
        landed: list[tuple[str, Trailer]] = []
        for found in look_through(store, store.list(PREFIX)):
            if not isinstance(found, Junk):
                landed.append(found)
            elif on_junk:
                on_junk(found)
        keys = [key for key, _ in landed]
        conn.execute("DELETE FROM lake.bronze_object WHERE NOT object_key = ANY(%s)", [keys])
        conn.execute("DELETE FROM lake.coverage")
        _insert_objects(conn, landed)
        covered = [(key, trailer) for key, trailer in landed if trailer.window.series.family in COVERED_FAMILIES]
        covered.sort(key=lambda pair: pair[1].window.series)
        for series, objects in groupby(covered, key=lambda pair: pair[1].window.series):
            _insert_coverage(conn, series, derive(objects))
    return len(landed)


_OBJECTS: LiteralString = """
    SELECT object_key, family, engine, market, board, secid, timeframe,
        lower(span) AS span_from, upper(span) AS span_till, complete, fetched_at, rank, coalesce(rows, 0) AS rows
    FROM lake.bronze_object o"""
_OF_SERIES: LiteralString = """
    WHERE family = %(family)s AND engine = %(engine)s AND market = %(market)s AND board = %(board)s
        AND secid = %(secid)s AND timeframe = %(timeframe)s"""
# A card read soon after stands for one that was asked for in other letters: sber
_OF_FIRST_CANDLES: LiteralString = """,
        (SELECT min(fetched_at) AS at FROM lake.bronze_object
        WHERE family = 'candles' AND rank = 0
            AND (engine, market, board, secid) = (%(engine)s, %(market)s, %(board)s, %(secid)s)) AS first
    WHERE family = 'securities' AND secid = %(secid)s AND complete
    ORDER BY fetched_at <= first.at DESC, abs(extract(epoch FROM fetched_at - first.at)), object_key LIMIT 1"""
_NEWEST_OF_FAMILY: LiteralString = (
    "SELECT DISTINCT ON (engine, market, board, secid, timeframe) * FROM ("  # noqa: S608 - made of literals
    + _OBJECTS
    + " WHERE family = %s AND complete) o"
    + " ORDER BY engine, market, board, secid, timeframe, fetched_at DESC, object_key DESC"
)
_LATEST: LiteralString = """
    SELECT max(fetched_at), max(fetched_at) FILTER (WHERE (family, engine, market, board, secid, timeframe)
        = (%(family)s, %(engine)s, %(market)s, %(board)s, %(secid)s, %(timeframe)s))
    FROM lake.bronze_object"""
_INSERT_OBJECT: LiteralString = """
    INSERT INTO lake.bronze_object (object_key, family, engine, market, board, secid, timeframe, span, complete,
        fetched_at, rank, rows, pages, end_proof)
    VALUES (%(object_key)s, %(family)s, %(engine)s, %(market)s, %(board)s, %(secid)s, %(timeframe)s, %(span)s,
        %(complete)s, %(fetched_at)s, %(rank)s, %(rows)s, %(pages)s, %(end_proof)s)
    ON CONFLICT (object_key) DO UPDATE SET (span, complete, fetched_at, rank, rows, pages, end_proof)
        = (excluded.span, excluded.complete, excluded.fetched_at, excluded.rank, excluded.rows, excluded.pages,
            excluded.end_proof)"""
_INSERT_COVERAGE: LiteralString = """
    INSERT INTO lake.coverage (family, engine, market, board, secid, timeframe, from_date, till_date, state, object_key,
        next_due_at, anchor, error)
    VALUES (%(family)s, %(engine)s, %(market)s, %(board)s, %(secid)s, %(timeframe)s, %(from_date)s, %(till_date)s,
        %(state)s, %(object_key)s, %(next_due_at)s, %(anchor)s, %(error)s)"""
_IN_SPAN: LiteralString = _OF_SERIES + " AND from_date <= %(till)s AND till_date >= %(from)s"
_DELETE_COVERAGE: LiteralString = "DELETE FROM lake.coverage"
_COVERAGE: LiteralString = """
    SELECT from_date, till_date, state, coalesce(object_key, '') AS object_key, next_due_at, anchor,
        coalesce(error, '') AS error
    FROM lake.coverage"""


def _names(series: Series) -> dict[str, Any]:
    return dict(vars(series))


def _insert_objects(conn: Connection, landed: Iterable[tuple[str, Trailer]]) -> None:
    rows = [
        {
            **_names(trailer.window.series),
            "object_key": object_key,
            "span": TimestamptzRange(*proved_span(trailer)),
            "complete": trailer.complete,
            "fetched_at": trailer.fetched_at,
            "rank": trailer.rank,
            "rows": trailer.rows,
            "pages": trailer.pages,
            "end_proof": trailer.end_proof,
        }
        for object_key, trailer in landed
    ]
    with conn.cursor() as cursor:
        cursor.executemany(_INSERT_OBJECT, rows)


def _overlay(conn: Connection, series: Series, new: Sequence[Coverage]) -> None:
    if not new:
        return
    # Two windows of a series may land at once; where they touch, one cuts the other's row.
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"coverage {series!r}"])
    from_, till = min(row.from_date for row in new), max(row.till_date for row in new)
    rows = before = _coverage(conn, series, from_, till)
    for claim in new:
        rows = overlay(rows, claim)
    if rows == before:
        return
    conn.execute(_DELETE_COVERAGE + _IN_SPAN, {**_names(series), "from": from_, "till": till})
    _insert_coverage(conn, series, rows)


def _insert_coverage(conn: Connection, series: Series, rows: Iterable[Coverage]) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            _INSERT_COVERAGE,
            [
                {**_names(series), **vars(row), "anchor": None if row.anchor is None else Jsonb(row.anchor)}
                for row in rows
            ],
        )


def _coverage(conn: Connection, series: Series, from_: dt.date, till: dt.date) -> list[Coverage]:
    with conn.cursor(row_factory=class_row(Coverage)) as cursor:
        return cursor.execute(
            _COVERAGE + _IN_SPAN + " ORDER BY from_date", {**_names(series), "from": from_, "till": till}
        ).fetchall()
