"""What a build has to look at: the instruments as Silver lists them now, and the series that something happened to."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
from deltalake.exceptions import DeltaError

from lakehouse.gold.dates import ENGINE, SHOWS_TRADING, list_dates
from lakehouse.gold.instruments import Listed, list_instruments
from lakehouse.gold.periods import PERIODS, split_periods
from lakehouse.gold.reading import FeedGone, Rows, Silver, read_gold
from lakehouse.market.candle import CALENDAR, CANDLES, DIM_DATE, DIM_INSTRUMENT, INSTRUMENTS, RENAMES, SPLITS
from lakehouse.market.instrument import Instrument
from lakehouse.market.table import Table
from lakehouse.market.timeframe import Timeframe
from lakehouse.silver.lake import Lake

_LISTING = ("engine", "market", "board", "secid")
EVERY_TIMEFRAME = frozenset(timeframe.value for timeframe in Timeframe)


@dataclass(frozen=True)
class Changes:
    """
    What Gold should be, and where it may not be that yet.

    Attributes:
        listed: All instruments, by id.
        dates: All rows of dim_date.
        affected: The timeframes to compute, by id, ids that are no more among them; None for everything.
        candles_version: Version of silver.candles to read.
    """

    listed: Mapping[int, Listed]
    dates: Rows
    affected: Mapping[int, frozenset[str]] | None
    candles_version: int


def read_everything(now: Silver) -> Changes:
    """Return what Gold should be, everything to be compared."""
    calendar = now.rows(CALENDAR)
    listed = _list(now, None)
    return Changes(listed, list_dates(calendar, _trading_dates(now, None)), None, now.versions[CANDLES.name])


def read_changes(before: Silver, now: Silver) -> Changes:
    """
    Return what Gold should be, and the series that changed between two states of Silver.

    Raises:
        FeedGone: if the change feed does not reach back.
    """
    changed = now.changed_candles(before.versions[CANDLES.name], (*_LISTING, "timeframe", "trade_date"))
    dates_by_timeframe: dict[Instrument, dict[str, set[dt.date]]] = {}
    for row in changed:
        dates_by_timeframe.setdefault(_listing(row), {}).setdefault(row["timeframe"], set()).add(row["trade_date"])
    codes = {listing.secid for listing in dates_by_timeframe} | _known_codes(now.lake)
    listed = _list(now, codes)
    try:
        was_listed = _list(before, codes)
    except (DeltaError, OSError) as error:
        raise FeedGone(f"{now.lake.url}: Silver as of the last build cannot be read any more ({error})") from error
    touched = {row["trade_date"] for row in changed}
    dates = _dates(now, touched, calendar_moved=not _is_same(before, now, CALENDAR))
    return Changes(listed, dates, _affected(listed, was_listed, dates_by_timeframe), now.versions[CANDLES.name])


def _affected(
    listed: Mapping[int, Listed],
    was_listed: Mapping[int, Listed],
    changed: Mapping[Instrument, Mapping[str, set[dt.date]]],
) -> dict[int, frozenset[str]]:
    affected = dict.fromkeys(set(was_listed) - set(listed), EVERY_TIMEFRAME)
    for identity, each in listed.items():
        if not each.has_same_series(was_listed.get(identity)):
            affected[identity] = EVERY_TIMEFRAME
            continue
        found: dict[str, set[dt.date]] = {}
        for place in each.places:
            for timeframe, dates in changed.get(place.listing, {}).items():
                found.setdefault(timeframe, set()).update(dates)
        if found:
            affected[identity] = frozenset(found) | _made_from_days(each, found.get(Timeframe.DAY, set()))
    return affected


def _made_from_days(each: Listed, days: set[dt.date]) -> set[str]:
    """Return the timeframes of which a candle is made from one of the *days*."""
    return {
        timeframe.value
        for timeframe in PERIODS
        for first, last in split_periods(each.splits, timeframe)
        if any(first <= day <= last for day in days)
    }


def _list(silver: Silver, codes: set[str] | None) -> dict[int, Listed]:
    """List the instruments; without a main board in the cards, of *codes* (None: all) the one with candles counts."""
    cards = silver.rows(INSTRUMENTS)
    main = {card["secid"] for card in cards if card["is_primary"]}
    unknown = None if codes is None else sorted(codes - main)
    rows_by_board: dict[Instrument, int] = {}
    if unknown is None or unknown:
        where = pl.col("secid").is_in(sorted(main)).not_() if unknown is None else pl.col("secid").is_in(unknown)
        rows_by_board = {_listing(row): row["len"] for row in silver.count_candles(_LISTING, where)}
    former = silver.former_rows(INSTRUMENTS)
    return list_instruments(cards, silver.rows(RENAMES), silver.rows(SPLITS), rows_by_board, former)


def _known_codes(lake: Lake) -> set[str]:
    return {secid for row in read_gold(lake, DIM_INSTRUMENT) for secid in row["secids"].split(",")}


def _dates(now: Silver, touched: set[dt.date], *, calendar_moved: bool) -> Rows:
    calendar = now.rows(CALENDAR)
    said = {row["trade_date"] for row in calendar if row["engine"] == ENGINE}
    shown = {row["trade_date"] for row in read_gold(now.lake, DIM_DATE)}
    asked = (touched | shown if calendar_moved else touched) - said
    return list_dates(calendar, _trading_dates(now, asked) | (shown - said - asked))


def _trading_dates(silver: Silver, asked: set[dt.date] | None) -> set[dt.date]:
    """Return the dates, of those *asked* (None: all), on which candles show that there was trading."""
    where = pl.col("engine") == ENGINE
    partitions = [("timeframe", "in", [timeframe.value for timeframe in SHOWS_TRADING])]
    if asked is not None:
        if not asked:
            return set()
        where = where & pl.col("trade_date").is_in(sorted(asked))
        partitions.append(("bucket", "in", sorted({each.bucket(date) for each in SHOWS_TRADING for date in asked})))
    return {row["trade_date"] for row in silver.count_candles(["trade_date"], where, partitions)}


def _is_same(before: Silver, now: Silver, *tables: Table) -> bool:
    return all(before.versions[table.name] == now.versions[table.name] for table in tables)


def _listing(row: Mapping[str, str]) -> Instrument:
    return Instrument(row["engine"], row["market"], row["board"], row["secid"])
