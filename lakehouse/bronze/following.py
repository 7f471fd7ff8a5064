"""Where a series that is kept up goes on: under the next code of its instrument, or on its next primary board."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lakehouse.bronze.borders import read_candle_borders
from lakehouse.bronze.calendars import known_calendar
from lakehouse.bronze.context import FetchContext
from lakehouse.bronze.held import is_kept_up
from lakehouse.bronze.ledger import coverage
from lakehouse.bronze.reference import read_reference, resolve_instrument, was_primary
from lakehouse.bronze.window import candle_series, settled_date
from lakehouse.market.errors import BadInput
from lakehouse.market.instrument import Instrument
from lakehouse.market.renames import Chain, codes_around
from lakehouse.market.timeframe import Timeframe

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Successor:
    """
    Where candles go on.

    Attributes:
        from_: The first date of it that counts.
        reason: What happened, for a report.
    """

    instrument: Instrument
    from_: dt.date
    reason: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.instrument.secid}@{self.instrument.board}"


def codes_of(
    context: FetchContext, instrument: Instrument, chains: Sequence[Chain], now: dt.datetime
) -> tuple[list[str], Chain]:
    """Return the codes that the instrument had before, oldest first, and those that it has had since, with dates."""
    borders = read_candle_borders(context, instrument, now).values()
    today = settled_date(now)
    before, after = codes_around(chains, instrument.secid, max((each.end.date() for each in borders), default=today))
    # The exchange may tell of a rename before its day
    return [each.secid for each in before], tuple(each for each in after if each.after < today)


def later_codes(
    context: FetchContext, instrument: Instrument, codes: Chain, now: dt.datetime, board: str | None = None
) -> Iterator[Successor | str]:
    """Yield the instrument under its later *codes*, on *board* or else its primary one; what cannot be, in words."""
    for each in codes:
        reason = f"called {each.secid} from {each.after + _DAY} on"
        try:
            later = resolve_instrument(context, each.secid, now, board=board, like=instrument)
        except BadInput as error:
            yield f"{reason}, which cannot be read: {error}"
        else:
            yield Successor(later, each.after + _DAY, reason)


def successors(
    context: FetchContext, held: Instrument, chains: Sequence[Chain], now: dt.datetime
) -> Iterator[Successor | str]:
    """
    Yield where an instrument that is held goes on; what cannot be read, in words.

    One held on its primary board is followed to the primary board of today, and of its later codes; one on another
    board stays on that.
    """
    primary = _primary_board(context, held, now)
    is_on_main = primary == held or was_primary(context, held)
    if primary and primary != held and is_on_main:
        yield Successor(primary, _moved_on(context, held, now), f"moved to the board {primary.board}")
    _, codes = codes_of(context, held, chains, now)
    yield from later_codes(context, held, codes, now, None if is_on_main else held.board)


def kept_up(context: FetchContext, instrument: Instrument, timeframes: Sequence[Timeframe]) -> set[Timeframe]:
    """Return the timeframes of which candles are held and kept up (`held.is_kept_up`)."""
    with context.connect() as conn:
        held = {each: coverage(conn, candle_series(instrument, each)) for each in timeframes}
    newest = {each: max(rows, key=lambda row: row.till_date) for each, rows in held.items() if rows}
    return {each for each, row in newest.items() if is_kept_up(row)}


def _primary_board(context: FetchContext, held: Instrument, now: dt.datetime) -> Instrument | None:
    try:
        return resolve_instrument(context, held.secid, now)
    except BadInput:  # several, or none
        return None


def _moved_on(context: FetchContext, held: Instrument, now: dt.datetime) -> dt.date:
    """Return the date behind the last one of the former board; if that is traded still, the last one of trading."""
    card = read_reference(context, "securities", secid=held.secid, now=now).blocks["boards"].records()
    tills = [row["history_till"] for row in card if row["boardid"] == held.board and row["history_till"]]
    with context.connect() as conn:
        last = known_calendar(context, conn, held.engine).last_begun(now)
    return min([dt.date.fromisoformat(max(tills)) + _DAY, last] if tills else [last])
