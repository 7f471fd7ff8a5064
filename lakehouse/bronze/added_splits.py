"""
Splits that the exchange does not list (docs/iss.md section 7), added by an administrator: Bronze objects of a family of
their own.

An object holds all that are added of one code at its time: the newest of a code counts, and an empty one when the last
is taken back. Silver merges them into silver.splits, where the exchange's row of the same date outranks them; of one
that the exchange lists a few days off, both are there, and `overruled` says that the exchange's counts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from psycopg import Connection

from lakehouse.bronze.ledger import (
    PREFIX,
    LedgerObject,
    later_than_known,
    newest_of_family,
    objects_of_family,
    record_landed,
)
from lakehouse.bronze.objects import Exchange, Trailer, decode_object, encode_object
from lakehouse.bronze.reference import answer_of
from lakehouse.bronze.window import EVER, Series, Window
from lakehouse.iss.blocks import read_block
from lakehouse.iss.reference import SPLITS
from lakehouse.market.errors import BadInput
from lakehouse.market.instrument import parse_secid
from lakehouse.market.moscow import to_moscow
from lakehouse.storage.store import Store

FAMILY = "added_splits"
# Trading may halt for a week around a split, and sources then differ in its date; two splits do not follow so soon
NEAR = dt.timedelta(days=10)
MAX_SECURITIES = 1_000_000
_MAX_REASON = 200
_COLUMNS = ("secid", "tradedate", "before", "after", "reason", "added_by", "added_at")


@dataclass(frozen=True, order=True)
class KnownSplit:
    """
    A split (1 -> 8) or consolidation (100 -> 1): *before* securities became *after* on *trade_date*.

    Attributes:
        trade_date: The first trading date after it.
        reason: Why it was added; this and what follows is empty of a split that the exchange lists.
        added_by: Who added it.
        added_at: When, by the exchange's clock; ISO 8601.
        overruled_by: Date of the exchange's split that counts instead of this one; None where this one counts.
    """

    engine: str
    secid: str
    trade_date: dt.date
    before: float
    after: float
    reason: str = ""
    added_by: str = ""
    added_at: str = ""
    overruled_by: dt.date | None = None

    def __str__(self) -> str:
        return f"{self.secid} {self.before:g} -> {self.after:g} on {self.trade_date}"


def is_added(source: str) -> bool:
    """Whether a row of silver.splits with this `source` was added, not listed by the exchange."""
    return source.startswith(f"{PREFIX}{FAMILY}/")


def overruled(trade_date: dt.date, listed: Iterable[dt.date]) -> dt.date | None:
    """Return the nearest of the dates on which the exchange lists a split that is this one, None if there is none."""
    near = [date for date in listed if abs(date - trade_date) <= NEAR]
    return min(near, key=lambda date: abs(date - trade_date), default=None)


def known_splits(conn: Connection[Any], store: Store, secid: str | None = None) -> list[KnownSplit]:
    """Return what the exchange lists and what was added, sorted; of one code if given."""
    listed = [split for object_ in newest_of_family(conn, "splits") for split in _held(store, object_, secid)]
    dates: dict[tuple[str, str], list[dt.date]] = {}
    for split in listed:
        dates.setdefault((split.engine, split.secid), []).append(split.trade_date)
    added = [
        replace(split, overruled_by=overruled(split.trade_date, dates.get((split.engine, split.secid), ())))
        for object_ in newest_of_family(conn, FAMILY)
        if secid in (None, object_.secid)
        for split in _held(store, object_, secid)
    ]
    return sorted([*listed, *added], key=lambda split: (split.engine, split.secid, split.trade_date, split.added_by))


def add_split(conn: Connection[Any], store: Store, split: KnownSplit, now: dt.datetime | None = None) -> str:
    """
    Add a split, in the caller's transaction; return the key of the object that landed.

    Args:
        split: With its reason and who adds it.
        now: The present; by default the exchange's clock when it last answered.

    Raises:
        BadInput: if it cannot be, its security is not held, or one is known of about that date: nothing is stored.
    """
    _check(split)
    _check_held(conn, split)
    at = _alone(conn, split, now)
    if split.trade_date > to_moscow(at).date():
        raise BadInput(f"{split}: that date has not come, and prices until then are not of it; add it on that date")
    known = [each for each in known_splits(conn, store, split.secid) if each.engine == split.engine]
    for each in known:
        if abs(each.trade_date - split.trade_date) <= NEAR:
            raise BadInput(f"{split}: {_is_known(each)}; within {NEAR.days} days they would count twice")
    if _was_listed(conn, store, split):
        raise BadInput(f"{split}: the exchange listed one of that date and took it back, and what it says counts")
    added = [each for each in known if each.added_by]
    return _land(conn, store, split, [*added, replace(split, added_at=at.isoformat())], at)


def remove_split(
    conn: Connection[Any],
    store: Store,
    secid: str,
    trade_date: dt.date,
    *,
    engine: str = "stock",
    by: str = "",
    now: dt.datetime | None = None,
) -> tuple[KnownSplit, str]:
    """
    Take back a split that was added, in the caller's transaction; return it, and the key of the object that landed.

    Raises:
        BadInput: if none was added on *trade_date*.
    """
    sought = KnownSplit(engine, parse_secid(secid), trade_date, 1, 1, added_by=by)
    at = _alone(conn, sought, now)
    known = [each for each in known_splits(conn, store, secid) if each.engine == engine]
    found = [each for each in known if each.added_by and each.trade_date == trade_date]
    if not found:
        is_listed = any(each.trade_date == trade_date for each in known)
        why = "the exchange lists that one, and only added ones can be taken back" if is_listed else "none was added"
        raise BadInput(f"{secid} on {trade_date}: {why}; `lakehouse splits --secid {secid}` lists them")
    left = [each for each in known if each.added_by and each.trade_date != trade_date]
    return found[0], _land(conn, store, sought, left, at)


def _check(split: KnownSplit) -> None:
    parse_secid(split.secid)
    sides = (split.before, split.after)
    if not all(float(side).is_integer() and 1 <= side <= MAX_SECURITIES for side in sides) or sides[0] == sides[1]:
        raise BadInput(
            f"{split}: say in whole numbers, 1 to {MAX_SECURITIES:,}, how many securities became how many others: "
            "1 8 where each became eight, 100 1 where a hundred became one"
        )
    if split.trade_date < EVER:
        raise BadInput(f"{split}: the exchange has no trades before {EVER}")
    if not (split.reason.strip() and split.reason.isprintable() and len(split.reason) <= _MAX_REASON):
        raise BadInput(f"{split}: say in one line of at most {_MAX_REASON} characters where it is said")


def _check_held(conn: Connection[Any], split: KnownSplit) -> None:
    held = conn.execute(
        "SELECT FROM lake.bronze_object WHERE family IN ('candles', 'history') AND engine = %s AND secid = %s LIMIT 1",
        (split.engine, split.secid),
    ).fetchone()
    if held is None:
        raise BadInput(
            f"{split}: no candles of {split.secid} ({split.engine}) are held: is it the exchange's code? "
            f"Then first: lakehouse ingest {split.secid}"
        )


def _was_listed(conn: Connection[Any], store: Store, split: KnownSplit) -> bool:
    # Silver ranks whatever the exchange ever said of a date above what was added
    lists = objects_of_family(conn, "splits", split.engine)
    return any(each.trade_date == split.trade_date for list_ in lists for each in _held(store, list_, split.secid))


def _is_known(split: KnownSplit) -> str:
    if not split.added_by:
        return f"the exchange lists {split}, which counts"
    way = f"lakehouse splits remove {split.secid} {split.trade_date}"
    return f"{split} was added by {split.added_by}; to change it: {way}"


def _series(split: KnownSplit) -> Series:
    return Series(FAMILY, split.engine, secid=split.secid)


def _alone(conn: Connection[Any], split: KnownSplit, now: dt.datetime | None) -> dt.datetime:
    """Wait for others who change the code's splits, and return the moment of this change: later than theirs."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{_series(split)!r}"])
    return later_than_known(conn, _series(split), now)


def _land(conn: Connection[Any], store: Store, split: KnownSplit, added: Sequence[KnownSplit], at: dt.datetime) -> str:
    rows = [[*_values(each)] for each in sorted(added)]
    body = orjson.dumps({"splits": {"columns": _COLUMNS, "data": rows}})
    window = Window(_series(split), dt.datetime.combine(EVER, dt.time()), to_moscow(at).date())
    trailer = Trailer(window, at, len(rows), 1, f"all that are added, by {split.added_by}", complete=True)
    key, encoded = encode_object([Exchange("lakehouse splits", 200, {}, at, body)], trailer)
    store.put(key, encoded)
    record_landed(conn, key, trailer)
    return key


def _values(split: KnownSplit) -> Iterator[Any]:
    yield from (split.secid, split.trade_date, split.before, split.after)
    yield from (split.reason, split.added_by, split.added_at)


def _held(store: Store, object_: LedgerObject, secid: str | None) -> Iterator[KnownSplit]:
    """Yield the splits that an object holds; rows that are none are in quarantine."""
    for exchange in decode_object(store.get(object_.object_key)).exchanges:
        for row in read_block(answer_of(exchange), "splits", SPLITS["splits"]).records():
            if secid in (None, row["secid"]) and (split := _split(object_.engine, row)):
                yield split


def _split(engine: str, row: dict[str, Any]) -> KnownSplit | None:
    try:
        date, before, after = dt.date.fromisoformat(row["tradedate"]), float(row["before"]), float(row["after"])
    except (TypeError, ValueError):
        return None
    if not (isinstance(row["secid"], str) and before > 0 and after > 0):
        return None
    reason, by, at = (str(row.get(name, "")) for name in ("reason", "added_by", "added_at"))
    return KnownSplit(engine, row["secid"], date, before, after, reason, by, at)
