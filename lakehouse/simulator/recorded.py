"""
Recorded candles and end-of-day rows, served as they are.

A folder holds CSV files, each called by its security: daily_candles/, minute_candles/, daily_history/, index_history/
and corporate_actions/split_*.csv. Nothing is made: no forming candles, no interval that was not recorded, no column
that a file lacks.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lakehouse.market.errors import BadInput
from lakehouse.market.instrument import Instrument
from lakehouse.simulator import history
from lakehouse.simulator.calendar import dates
from lakehouse.simulator.candles import VALUES, Candles
from lakehouse.simulator.clock import from_seconds, to_seconds
from lakehouse.simulator.history import HistoryRows
from lakehouse.simulator.periods import (
    DAY,
    INTERVALS,
    INTRADAY,
    MINUTE,
    SECONDS_A_DAY,
    Ints,
    chunk_of,
    month_bounds,
)
from lakehouse.simulator.security import BOARDS, ENGINE, CalendarDay, Listing, Rename, Security, Split

_INTERVAL_OF = {"daily_candles": DAY, "minute_candles": MINUTE}
_FOLDERS = (*_INTERVAL_OF, "daily_history", "index_history")
# A share trades on TQBR, an index on SNDX; the one fund that was recorded
_FUNDS = {"EQMX": "TQTF"}
_INDEX_BOARD = "SNDX"
# A security without rows for so long is no longer traded
_ABSENCE = dt.timedelta(days=365)
_HISTORY_NAMES = {"OPEN": "open", "HIGH": "high", "LOW": "low", "CLOSE": "close", "VOLUME": "volume", "VALUE": "value"}
_Row = Mapping[str, str]


class RecordedExchange:
    """An exchange that knows what lies in *directory*; raises BadInput if nothing does, or a file cannot be read."""

    def __init__(self, directory: Path | str) -> None:
        root = Path(directory)
        self._candles = {
            (path.stem.upper(), interval): _read_candles(path)
            for folder, interval in _INTERVAL_OF.items()
            for path in _files(root / folder)
        }
        self._indices = {path.stem.upper(): _read_history(path) for path in _files(root / "index_history")}
        shares = {path.stem.upper(): _read_history(path) for path in _files(root / "daily_history")}
        self._history = {**shares, **self._indices}
        actions = _files(root / "corporate_actions", "split_*.csv")
        self._splits = [split for path in actions for split in _read_splits(path)]
        if not self._candles and not self._history:
            raise BadInput(f"no recorded candles or history in {root}: expected CSV files in {', '.join(_FOLDERS)}")

    @property
    def first_moment(self) -> dt.datetime:
        """Where the clock may be set at the earliest."""
        return dt.datetime.combine(self._dates[0], dt.time())

    @property
    def last_moment(self) -> dt.datetime:
        """Where the clock may be set at the latest."""
        return self.default_now + dt.timedelta(days=3650)

    @property
    def default_now(self) -> dt.datetime:
        """The morning after the last date in the files."""
        return dt.datetime.combine(self._dates[-1] + dt.timedelta(days=1), dt.time(6))

    @cached_property
    def _dates(self) -> list[dt.date]:
        seconds = [rows.dates for rows in self._history.values()] + [rows.begin for rows in self._candles.values()]
        days = np.unique(np.concatenate(seconds) // SECONDS_A_DAY)
        return [from_seconds(day * SECONDS_A_DAY).date() for day in days.tolist()]

    def instruments(self) -> list[Instrument]:
        """Return every security in the files, on its main board."""
        boards = {secid: BOARDS[self._main_board(secid)] for secid in self.secids()}
        return [Instrument(ENGINE, board.market, board.board, secid) for secid, board in boards.items()]

    def secids(self) -> Sequence[str]:
        """Return every security in the files."""
        return sorted({*self._history, *(secid for secid, _ in self._candles)})

    def _main_board(self, secid: str) -> str:
        return _INDEX_BOARD if secid in self._indices else _FUNDS.get(secid, "TQBR")

    def security(self, secid: str, today: int) -> Security | None:
        """Return the card of a security, None if it is in no file or its first row lies after the day *today*."""
        moments = self._moments(secid)
        if not len(moments) or moments[0] >= today + SECONDS_A_DAY:
            return None
        main = self._main_board(secid)
        rows = self.history(secid)
        boards = dict.fromkeys([main, *rows.boards])
        is_traded = moments[-1] >= today - _ABSENCE.total_seconds()
        return Security(
            secid,
            shortname=secid,
            name=secid,
            latname=secid,
            isin=None,
            type="stock_index" if secid in self._indices else "exchange_ppif" if secid in _FUNDS else "common_share",
            decimals=self._decimals(secid),
            lot=1,
            step=10 ** -self._decimals(secid),
            face=None,
            listings=tuple(_listing(rows, board, board == main, is_traded, today) for board in boards),
        )

    def _moments(self, secid: str) -> Ints:
        candles = [self._candles[secid, interval].begin for interval in self.intervals(secid)]
        return np.sort(np.concatenate([self.history(secid).dates, *candles]))

    def _decimals(self, secid: str) -> int:
        closes = [self._candles[secid, interval].close.tolist() for interval in self.intervals(secid)]
        rows = self.history(secid)
        at = [column.name for column in rows.columns].index("CLOSE")
        closes.append([row[at] for row in rows.rows])
        return max(len(f"{close:.9f}".rstrip("0").split(".")[1]) for part in closes for close in part)

    def intervals(self, secid: str) -> Sequence[int]:
        """Return the ISS intervals that were recorded."""
        return [interval for interval in INTERVALS if (secid, interval) in self._candles]

    def chunks(self, secid: str, interval: int) -> range:
        """Return the numbers of the chunks of a series, oldest first."""
        begin = self._candles[secid, interval].begin
        return range(chunk_of(int(begin[0]), interval), chunk_of(int(begin[-1]), interval) + 1)

    def candles(self, secid: str, interval: int, chunk: int) -> Candles:
        """Return a chunk of a series."""
        candles = self._candles[secid, interval]
        if interval not in INTRADAY:
            return candles
        first, stop = np.searchsorted(candles.begin, month_bounds(chunk)).tolist()
        return candles[first:stop]

    def forming(self, secid: str, interval: int, seen: int) -> Candles:
        """Return no candle: only whole ones were recorded."""
        return Candles.none()

    def history(self, secid: str) -> HistoryRows:
        """Return the end-of-day rows of a security on all boards."""
        return self._history.get(secid) or HistoryRows(history.SHARES, np.empty(0, np.int64), [], [])

    def calendar(self) -> Sequence[CalendarDay]:
        """Return every date from the first to the last in the files; those in a file are trading days."""
        traded = set(self._dates)
        return [_calendar_day(date, date in traded) for date in dates(self._dates[0], self._dates[-1])]

    def splits(self) -> Sequence[Split]:
        """Return the recorded splits, oldest first."""
        return sorted(self._splits, key=lambda split: (split.date, split.secid))

    def renames(self) -> Sequence[Rename]:
        """Return none: they were not recorded."""
        return []


def _calendar_day(date: dt.date, is_traded: bool) -> CalendarDay:
    is_weekend = date.isoweekday() > 5
    reason = ("T" if is_weekend else "N") if is_traded else ("W" if is_weekend else "H")
    return CalendarDay(date, is_traded, is_traded, reason, date if is_traded else None)


def _listing(rows: HistoryRows, board: str, is_main: bool, is_traded: bool, today: int) -> Listing:
    mine = [date for date, name in zip(rows.dates.tolist(), rows.boards, strict=True) if name == board and date < today]
    from_, till = (from_seconds(mine[0]).date(), from_seconds(mine[-1]).date()) if mine else (None, None)
    return Listing(BOARDS[board], is_main, is_traded and is_main, from_, till)


def _files(folder: Path, pattern: str = "*.csv") -> list[Path]:
    return sorted(folder.glob(pattern))


def _read(path: Path) -> Iterator[_Row]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as CSV: {error}") from error


def _read_candles(path: Path) -> Candles:
    rows = list(_read(path))
    try:
        columns = [np.array([float(row[name]) for row in rows]) for name in VALUES]
        times = [np.array([_seconds(row[name]) for row in rows], np.int64) for name in ("begin", "end")]
    except (KeyError, ValueError, TypeError) as error:
        raise BadInput(f"{path} is no file of candles ({', '.join(VALUES)}, begin, end): {error!r}") from error
    candles = Candles(*columns, *times)
    return candles[np.argsort(candles.begin, kind="stable")]


def _read_history(path: Path) -> HistoryRows:
    secid, rows = path.stem.upper(), list(_read(path))
    columns = history.INDEX if rows and "board" not in rows[0] else history.SHARES
    try:
        read = [_history_row(secid, [column.name for column in columns], row) for row in rows]
    except (KeyError, ValueError, TypeError) as error:
        raise BadInput(f"{path} is no file of end-of-day rows (date, open, high, low, close): {error!r}") from error
    return HistoryRows.sorted(columns, read, list(BOARDS))


def _history_row(secid: str, columns: Sequence[str], row: _Row) -> tuple[int, str, list[Any]]:
    """Return midnight, board and values; an index file spells its columns in capitals and names no board."""
    lower = {name.lower(): text for name, text in row.items()}
    date = lower.get("date") or lower["tradedate"]
    board = BOARDS[lower.get("board", _INDEX_BOARD)].board
    values: dict[str, Any] = {"BOARDID": board, "TRADEDATE": date, "SECID": secid}
    values |= {name: float(lower[theirs]) for name, theirs in _HISTORY_NAMES.items() if lower.get(theirs)}
    return _seconds(date), board, [values.get(name) for name in columns]


def _read_splits(path: Path) -> Iterator[Split]:
    secid = path.stem.removeprefix("split_").upper()
    for row in _read(path):
        yield Split(dt.date.fromisoformat(row["date"]), secid, int(row["before"]), int(row["after"]))


def _seconds(text: str) -> int:
    return to_seconds(dt.datetime.fromisoformat(text))
