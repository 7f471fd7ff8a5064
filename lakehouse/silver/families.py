"""What each ISS family becomes: its table, its block, its columns, and what a complete answer proves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lakehouse.market.candle import CALENDAR, CANDLES, HISTORY, INSTRUMENTS, RENAMES, SPLITS
from lakehouse.market.table import Table

_OHLCV = {name: name for name in ("open", "high", "low", "close", "value", "volume")}
_SPLIT = {"secid": "secid", "trade_date": "tradedate", "before": "before", "after": "after"}


@dataclass(frozen=True)
class Family:
    """
    How an ISS family is read.

    Attributes:
        block: The block of the answer that holds the rows.
        scope: The key columns that a request fixes: objects of one scope may speak of the same key, others never do.
        columns: Our column -> the exchange's, in lower case.
        proves: What a complete answer lacks does not exist: within its `span`, in its whole `series`, or `nothing`.
        tier: Rows of a family of lower tier count only where none of a higher one speaks of the same key.
    """

    name: str
    table: Table
    block: str
    scope: tuple[str, ...]
    columns: Mapping[str, str]
    proves: Literal["span", "series", "nothing"]
    tier: int = 0


_ALL = (
    Family(
        "candles",
        CANDLES,
        "candles",
        ("engine", "market", "board", "secid", "timeframe"),
        {"begin_at": "begin", "end_at": "end", **_OHLCV},
        "span",
    ),
    Family(
        "history",
        HISTORY,
        "history",
        ("engine", "market", "secid"),
        {
            "board": "boardid",
            "secid": "secid",
            "trade_date": "tradedate",
            **_OHLCV,
            "trades": "numtrades",
            "legal_close": "legalcloseprice",
            "waprice": "waprice",
        },
        "span",
    ),
    Family(
        "securities",
        INSTRUMENTS,
        "boards",
        ("secid",),
        {
            "engine": "engine",
            "market": "market",
            "board": "boardid",
            "secid": "secid",
            # the card's description, which parse appends to each of its boards
            "shortname": "shortname",
            "name": "name",
            "isin": "isin",
            "type": "type",
            "currency": "currency",
            "decimals": "decimals",
            "is_traded": "is_traded",
            "is_primary": "is_primary",
            "history_from": "history_from",
            "history_till": "history_till",
        },
        "series",
    ),
    Family(
        "splits",
        SPLITS,
        "splits",
        ("engine",),
        _SPLIT,
        "series",
    ),
    # What the exchange does not list and an administrator added (bronze/added_splits.py). From the first on a merge
    # reads all lists of the exchange again, small ones and one a day, as of the calendar: see `inputs._interval`
    Family(
        "added_splits",
        SPLITS,
        "splits",
        ("engine",),
        _SPLIT,
        "series",
        tier=-1,
    ),
    Family(
        "changeover",
        RENAMES,
        "changeover",
        ("engine", "market"),
        {"old_secid": "old_secid", "new_secid": "new_secid", "action_date": "action_date"},
        "series",
    ),
    # The exchange drops past exceptions from the timetable: what it does not list, it says nothing about
    Family(
        "timetable",
        CALENDAR,
        "dailytable",
        ("engine",),
        {"trade_date": "date", "is_traded": "is_work_day"},
        "nothing",
        tier=-1,
    ),
    Family(
        "calendar",
        CALENDAR,
        "off_days",
        ("engine",),
        {"trade_date": "tradedate", "is_traded": "is_traded", "reason": "reason"},
        "nothing",
    ),
)

FAMILIES: Mapping[str, Family] = {family.name: family for family in _ALL}


def families_of(table: Table) -> tuple[Family, ...]:
    """Return the families whose rows *table* holds."""
    return tuple(family for family in _ALL if family.table is table)


def scope_of(table: Table) -> tuple[str, ...]:
    """Return the key columns of *table* that a request fixes."""
    return families_of(table)[0].scope


def has_tiers(table: Table) -> bool:
    """Whether rows of one family outrank those of another."""
    return any(family.tier for family in families_of(table))
