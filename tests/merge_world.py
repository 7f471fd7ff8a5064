"""
A small world for the merge: from a seed, Bronze objects of a few series, and by plain reasoning what Silver must be.

Everything that Bronze can hold is in it: windows that overlap, begin within a day or reach over a month's end, values
that are revised and come back, candles that vanish, rows that are doubled or broken or lie outside, objects that prove
nothing, uploads, equal times of fetching, days that still form.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from lakehouse.bronze.ledger import LedgerObject, proved_span
from lakehouse.bronze.objects import Exchange, Trailer, encode_object
from lakehouse.bronze.window import Series, Window
from lakehouse.market.candle import CANDLES, HISTORY
from lakehouse.market.moscow import day_start, to_utc
from lakehouse.market.table import Table
from tests.bronze_objects import CANDLE_COLUMNS, HISTORY_COLUMNS, block

D = dt.date.fromisoformat
T = dt.datetime.fromisoformat
UPLOADED_AT = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
FIRST, SECOND = D("2024-02-29"), D("2024-03-01")
MINUTES = [T(f"{date}T10:0{minute}") for date in (FIRST, SECOND) for minute in range(3)]
# Moscow times: two while the second day forms, with a quarter of an hour that is not shown yet; the others later
FETCHED = ["2024-03-01T10:16:30", "2024-03-01T10:30", "2024-03-04T12:00", "2024-03-04T12:01", "2024-03-05T09:00"]
PAGE = 2

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Row:
    """A row as the exchange writes it: its key, what a version is made of, `end`, and whether it breaks a rule."""

    key: Key
    values: tuple[float | None, ...]
    end: dt.datetime | None
    is_broken: bool
    written: tuple[Any, ...]


@dataclass(frozen=True)
class Made:
    """An object: the ledger's row of it, its bytes, and the rows that it was made of, in their order."""

    seed: int
    described: LedgerObject
    trailer: Trailer
    body: bytes
    rows: tuple[Row, ...]

    @property
    def order(self) -> tuple[Any, ...]:
        return (self.described.rank, self.described.fetched_at, self.described.object_key)

    @property
    def known_from(self) -> dt.datetime:
        return UPLOADED_AT if self.described.rank < 0 else self.described.fetched_at

    @property
    def table(self) -> Table:
        return CANDLES if self.described.family == "candles" else HISTORY

    def source(self, place: int) -> str:
        """Return how Silver names the row at *place*."""
        return f"{self.described.object_key}#{place // PAGE + 1}.{place % PAGE}"

    def covers(self, key: Key) -> bool:
        """Return whether its span holds the key's moment; the last part of a key is that moment or date."""
        at = key[-1] if isinstance(key[-1], dt.datetime) else day_start(key[-1])
        return self.described.span_from <= at < self.described.span_till


def world(seed: int) -> list[Made]:
    """Return the objects of *seed*, in no order."""
    rng = random.Random(f"world {seed}")
    secid = f"S{seed}"
    minutes = Series("candles", "stock", "shares", "TQBR", secid, "1m")
    days = Series("candles", "stock", "shares", "TQBR", secid, "1d")
    history = Series("history", "stock", "shares", secid=secid)
    wanted = [minutes] * rng.randint(2, 6) + [days] * rng.randint(0, 3) + [history] * rng.randint(0, 3)
    made = [_made(rng, seed, series) for series in wanted]
    return list({one.described.object_key: one for one in made}.values())


def versions(objects: Iterable[Made]) -> list[tuple[Any, ...]]:
    """
    Return every version that *objects* derive, sorted: the slow and plain way.

    A version is (table, key, values, known_from, known_till, source, end_at, is_final).
    """
    by_series: dict[Key, list[Made]] = {}
    for made in objects:
        by_series.setdefault((made.seed, made.table.name, made.described.timeframe), []).append(made)
    found: list[tuple[Any, ...]] = []
    for same in by_series.values():
        same.sort(key=lambda made: made.order)
        for key in {row.key for made in same for row in made.rows if not row.is_broken}:
            found += _versions(same[0].table.name, key, same)
    return sorted(found, key=repr)


def quarantined(objects: Iterable[Made]) -> list[str]:
    """Return the sources of the rows that break a rule, sorted."""
    return sorted(made.source(place) for made in objects for place, row in enumerate(made.rows) if row.is_broken)


def hash_of(found: Iterable[tuple[Any, ...]]) -> str:
    """Return one hash of versions, in whichever order they come."""
    return hashlib.sha256("\n".join(sorted(map(repr, found))).encode()).hexdigest()


@dataclass(frozen=True)
class _Open:
    values: tuple[float | None, ...]
    known_from: dt.datetime
    source: str
    end: dt.datetime | None
    is_final: bool


def _versions(table: str, key: Key, same: Sequence[Made]) -> Iterator[tuple[Any, ...]]:
    counted = {made.known_from: seen for made in same if (seen := _observed(made, key)) is not None}
    current: _Open | None = None
    for known_from, seen in sorted(counted.items()):
        if seen and current and seen.values == current.values:
            current = replace(current, end=seen.end, is_final=seen.is_final)
            continue
        if current:
            yield _closed(table, key, current, known_from)
        current = seen or None
    if current:
        yield _closed(table, key, current, None)


def _observed(made: Made, key: Key) -> _Open | Literal[False] | None:
    """Return what an object says of a key: its last good row, False for not there, None for nothing."""
    rows = [(place, row) for place, row in enumerate(made.rows) if row.key == key]
    good = [(place, row) for place, row in rows if not row.is_broken]
    if good:
        place, row = good[-1]
        is_final = made.table is CANDLES and _date(row.key) <= made.trailer.settled.final_till
        return _Open(row.values, made.known_from, made.source(place), row.end, is_final)
    is_proof = made.described.complete and made.described.rank >= 0
    if not rows and is_proof and made.covers(key):
        return False
    return None


def _closed(table: str, key: Key, version: _Open, known_till: dt.datetime | None) -> tuple[Any, ...]:
    attributes = (version.end, version.is_final) if table == CANDLES.name else ()
    return (table, key, version.values, version.known_from, known_till, version.source, *attributes)


def stored_version(table: Table, row: dict[str, Any]) -> tuple[Any, ...]:
    """Return a row of a table as `versions` writes it."""
    row = {name: value.astimezone(dt.UTC) if isinstance(value, dt.datetime) else value for name, value in row.items()}
    key = tuple(row[name] for name in _KEYS[table.name])
    attributes = (row["end_at"], row["is_final"]) if table is CANDLES else ()
    values = tuple(row[name] for name in _VALUES[table.name])
    return (table.name, key, values, row["known_from"], row["known_till"], row["source"], *attributes)


_KEYS = {CANDLES.name: ("secid", "timeframe", "begin_at"), HISTORY.name: ("secid", "board", "trade_date")}
_VALUES = {CANDLES.name: ("close", "volume"), HISTORY.name: ("close", "volume", "trades")}


def _date(key: Key) -> dt.date:
    moment: dt.datetime = key[-1]
    return (moment + dt.timedelta(hours=3)).date()


def _made(rng: random.Random, seed: int, series: Series) -> Made:
    fetched_at = to_utc(T(rng.choice(FETCHED)))
    window = _window(rng, series)
    rows = tuple(_rows(rng, series, window, fetched_at))
    state = "complete" if rows else "no trades"
    last = max((_written_key(series, row) for row in rows if row.key[-1] is not None), default="")
    trailer = Trailer(window, fetched_at, len(rows), 1, "proof", rng.random() < 0.75, state, last)
    rank = -1 if rng.random() < 0.12 else 0
    columns = CANDLE_COLUMNS if series.family == "candles" else HISTORY_COLUMNS
    written = [row.written for row in rows]
    answers = [{series.family: block(columns, written[cut : cut + PAGE])} for cut in range(0, len(rows) + 1, PAGE)]
    exchanges = [Exchange("http://exchange", 200, {}, fetched_at, json.dumps(answer).encode()) for answer in answers]
    key, body = encode_object(exchanges, trailer)
    from_, till = proved_span(trailer)
    described = LedgerObject(
        key,
        **asdict(series),
        span_from=from_,
        span_till=till,
        complete=trailer.complete,
        fetched_at=fetched_at,
        rank=rank,
        rows=len(rows),
    )
    return Made(seed, described, trailer, body, tuple(_judged(row, described) for row in rows))


def _judged(row: Row, described: LedgerObject) -> Row:
    at = row.key[-1] if isinstance(row.key[-1], dt.datetime) else day_start(row.key[-1])
    return replace(row, is_broken=row.is_broken or not described.span_from <= at < described.span_till)


def _window(rng: random.Random, series: Series) -> Window:
    first, last = rng.choice([(FIRST, FIRST), (SECOND, SECOND), (FIRST, SECOND), (FIRST, SECOND)])
    begin = dt.datetime.combine(first, dt.time())
    if series.timeframe == "1m" and rng.random() < 0.3:
        begin = dt.datetime.combine(first, dt.time(10, 1))  # as one that begins with an anchor
    return Window(series, begin, last)


def _rows(rng: random.Random, series: Series, window: Window, fetched_at: dt.datetime) -> Iterator[Row]:
    span = window.span
    for key in _keys(series):
        at = key[-1] if isinstance(key[-1], dt.datetime) else day_start(key[-1])
        is_inside = span[0] <= at < min(span[1], fetched_at)
        chances = (0, 1, 1, 1, 1, 1, 1, 2) if is_inside else (0,) * 19 + (1,)
        for _ in range(rng.choice(chances)):
            yield _row(rng, series, key)


def _keys(series: Series) -> list[Key]:
    if series.family == "history":
        return [(series.secid, board, date) for date in (FIRST, SECOND) for board in ("SMAL", "TQBR")]
    begins = MINUTES if series.timeframe == "1m" else [dt.datetime.combine(date, dt.time()) for date in (FIRST, SECOND)]
    return [(series.secid, series.timeframe, to_utc(begin)) for begin in begins]


def _row(rng: random.Random, series: Series, key: Key) -> Row:
    close, volume = rng.choice((None, 1.0, 1.5, 2.0)), rng.choice((10.0, 10.0, 10.0, 11.0))
    is_broken = rng.random() < 0.07
    shown = -volume if is_broken else volume
    if series.family == "history":
        trades = rng.choice((5.0, 5.0, 6.0))
        written = (key[1], f"{key[2]}", key[0], trades, 7.5, 1, 1, 2, close, shown)
        return Row(key, (close, volume, trades), None, is_broken, written)
    begin = key[2] + dt.timedelta(hours=3)
    end = begin + dt.timedelta(seconds=rng.choice((59, 59, 30)))
    texts = (f"{begin:%Y-%m-%d %H:%M:%S}", f"{end:%Y-%m-%d %H:%M:%S}")
    return Row(key, (close, volume), end - dt.timedelta(hours=3), is_broken, (1, close, 2, 1, 7.5, shown, *texts))


def _written_key(series: Series, row: Row) -> str:
    return str(row.written[1] if series.family == "history" else row.written[6])
