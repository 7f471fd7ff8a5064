"""What the server needs of an exchange, made or recorded."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Protocol

from lakehouse.market.instrument import Instrument
from lakehouse.simulator.candles import Candles
from lakehouse.simulator.history import HistoryRows
from lakehouse.simulator.security import CalendarDay, Rename, Security, Split


class Exchange(Protocol):
    """
    A market and its past.

    Everything lies ready up to `last_moment`; what the clock has not reached yet, the server hides. Codes are in
    capitals; *seen* is the naive Moscow second up to which trades are visible.
    """

    @property
    def first_moment(self) -> dt.datetime:
        """Where the clock may be set at the earliest."""
        ...

    @property
    def last_moment(self) -> dt.datetime:
        """Where the clock may be set at the latest."""
        ...

    @property
    def default_now(self) -> dt.datetime:
        """Where the clock starts."""
        ...

    def instruments(self) -> list[Instrument]:
        """Return what the demo loads."""
        ...

    def secids(self) -> Sequence[str]:
        """Return all codes, those no longer traded included."""
        ...

    def security(self, secid: str, today: int) -> Security | None:
        """Return the card of a code on the day that begins at *today*, None if it is unknown or not listed yet."""
        ...

    def intervals(self, secid: str) -> Sequence[int]:
        """Return the ISS intervals that have candles."""
        ...

    def chunks(self, secid: str, interval: int) -> range:
        """Return the numbers (periods.chunk_of) of the chunks that may hold candles of a series, oldest first."""
        ...

    def candles(self, secid: str, interval: int, chunk: int) -> Candles:
        """Return a chunk of a series on the primary board, each candle as it is once its period is over."""
        ...

    def forming(self, secid: str, interval: int, seen: int) -> Candles:
        """Return the candle whose period is not over, as far as it is *seen*: one, or none."""
        ...

    def history(self, secid: str) -> HistoryRows:
        """Return the end-of-day rows of a code on all boards."""
        ...

    def calendar(self) -> Sequence[CalendarDay]:
        """Return every date that the exchange knows of, oldest first."""
        ...

    def splits(self) -> Sequence[Split]:
        """Return all splits, oldest first."""
        ...

    def renames(self) -> Sequence[Rename]:
        """Return all changes of codes, oldest first."""
        ...
