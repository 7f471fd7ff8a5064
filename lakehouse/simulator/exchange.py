"""The made market: the same for the same seed, days at once, minutes when they are asked for, nothing on disk."""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from lakehouse.market.instrument import Instrument
from lakehouse.simulator.calendar import FIRST_DATE, LAST_DATE, made_calendar
from lakehouse.simulator.candles import Candles, ExactCandles
from lakehouse.simulator.chance import chance
from lakehouse.simulator.clock import from_seconds, to_seconds
from lakehouse.simulator.days import Days, make_days
from lakehouse.simulator.history import HistoryRows
from lakehouse.simulator.issues import ISSUE_BY_SECID, ISSUES, RENAMES, SPLITS, Issue
from lakehouse.simulator.made_history import make_history
from lakehouse.simulator.minutes import make_minutes
from lakehouse.simulator.periods import (
    DAY,
    HOUR,
    INTERVALS,
    INTRADAY,
    MINUTE,
    SECONDS_A_DAY,
    Ints,
    chunk_of,
    month_bounds,
    period_start,
    period_start_of,
)
from lakehouse.simulator.security import BOARDS, ENGINE, CalendarDay, Listing, Rename, Security, Split
from lakehouse.simulator.sessions import trading_minutes

DEMO_NOW = dt.datetime.fromisoformat("2026-07-01 06:00:00")
# The demo reads this code, too, which no rename joins to its successor
_MOVED_HOME = "YNDX"
_DAYS_OF_MINUTES_KEPT = 128  # several windows that are paged through at a time
_ODD_ENDS = 0.35


class MadeExchange:
    """
    A small Moscow Exchange from 2016-07-01 to 2027-12-31.

    *has_session_date* adds the newest column of end-of-day rows, TRADE_SESSION_DATE.
    """

    def __init__(self, seed: int = 1, *, has_session_date: bool = True) -> None:
        self.seed = seed
        self._has_session_date = has_session_date
        self._days = lru_cache(maxsize=None)(lambda key: make_days(ISSUE_BY_SECID[key], seed))
        self._minutes = lru_cache(maxsize=_DAYS_OF_MINUTES_KEPT)(self._make_minutes)
        self._history = lru_cache(maxsize=None)(self._make_history)

    @property
    def first_moment(self) -> dt.datetime:
        """Where the clock may be set at the earliest."""
        return dt.datetime.combine(FIRST_DATE, dt.time())

    @property
    def last_moment(self) -> dt.datetime:
        """Where the clock may be set at the latest."""
        return dt.datetime.combine(LAST_DATE, dt.time())

    @property
    def default_now(self) -> dt.datetime:
        """Before the opening of a Wednesday: every earlier day is final."""
        return DEMO_NOW

    def instruments(self) -> list[Instrument]:
        """Return today's codes, which lead to those before a rename, and the one that no rename leads to."""
        codes = [issue.codes[-1].secid for issue in ISSUES]
        today = to_seconds(DEMO_NOW)
        traded = [code for code in codes if code == _MOVED_HOME or self._is_traded(code, today)]
        return [
            Instrument(ENGINE, BOARDS[board].market, board, code)
            for code in traded
            for board in [ISSUE_BY_SECID[code].board]
        ]

    def secids(self) -> Sequence[str]:
        """Return all codes, those no longer traded included."""
        return list(ISSUE_BY_SECID)

    def security(self, secid: str, today: int) -> Security | None:
        """Return the card of a code on the day that begins at *today*, None if it is unknown or not listed yet."""
        issue = ISSUE_BY_SECID.get(secid)
        if issue is None or to_seconds(issue.code(secid).first) > today:
            return None
        code, era = issue.code(secid), issue.era(from_seconds(today).date())
        boards = [issue.board, *(["SMAL"] if issue.has_odd_lots else [])]
        return Security(
            secid,
            code.shortname,
            code.name,
            code.latname,
            code.isin,
            issue.type,
            decimals=issue.decimals,
            lot=era.lot,
            step=era.tick / 10**issue.decimals,
            face=1000 if issue.coupon is not None else None,
            listings=tuple(self._listing(secid, board, today) for board in boards),
        )

    def _listing(self, secid: str, board: str, today: int) -> Listing:
        rows = self.history(secid)
        last = int(np.searchsorted(rows.dates, today))
        dates = [int(rows.dates[row]) for row in range(last) if rows.boards[row] == board]
        from_, till = (from_seconds(dates[0]).date(), from_seconds(dates[-1]).date()) if dates else (None, None)
        is_primary = board == ISSUE_BY_SECID[secid].board
        return Listing(BOARDS[board], is_primary, self._is_traded(secid, today), from_, till)

    def _is_traded(self, secid: str, today: int) -> bool:
        code = ISSUE_BY_SECID[secid].code(secid)
        return to_seconds(code.first) <= today < to_seconds(code.last) + SECONDS_A_DAY

    def intervals(self, secid: str) -> Sequence[int]:
        """Return the ISS intervals that have candles: all."""
        return INTERVALS if secid in ISSUE_BY_SECID else ()

    def chunks(self, secid: str, interval: int) -> range:
        """Return the numbers of the chunks of a series, oldest first."""
        code = ISSUE_BY_SECID[secid].code(secid)
        return range(chunk_of(to_seconds(code.first), interval), chunk_of(to_seconds(code.last), interval) + 1)

    def candles(self, secid: str, interval: int, chunk: int) -> Candles:
        """Return a chunk of a series, each candle as it is once its period is over."""
        if interval in INTRADAY:
            first, stop = month_bounds(chunk)
            candles = self._minutes_of_days(secid, self._rows(secid, first, stop))
        else:
            candles = self._days_of(secid).candles[self._rows(secid, 0, 2**40)]
        gathered, last = candles, np.arange(len(candles))
        if interval not in (MINUTE, DAY):
            gathered, last = candles.gather(period_start(candles.begin, interval))
        return _as_sent(ISSUE_BY_SECID[secid], gathered, _ends(secid, interval, gathered.begin, candles.begin[last]))

    def forming(self, secid: str, interval: int, seen: int) -> Candles:
        """Return the candle whose period is not over, as far as it is *seen*: one, or none."""
        begin, today = period_start_of(seen, interval), period_start_of(seen, DAY)
        minutes = self._minutes_of_days(secid, self._rows(secid, today, today + SECONDS_A_DAY))
        minutes = minutes[(minutes.begin >= begin) & (minutes.begin + 60 <= seen)]
        if interval == MINUTE:
            return Candles.none()
        parts, end = minutes, minutes.begin[-1:] + 59
        if interval not in (*INTRADAY, DAY):
            before = self._days_of(secid).candles[self._rows(secid, begin, today)]
            day, _ = minutes.gather(np.full(len(minutes), today))
            parts = ExactCandles.concatenate([before, day])
            end = parts.begin[-1:]
        candle, _ = parts.gather(np.full(len(parts), begin))
        return _as_sent(ISSUE_BY_SECID[secid], candle, end)

    def history(self, secid: str) -> HistoryRows:
        """Return the end-of-day rows of a code on all boards."""
        return self._history(secid)

    def calendar(self) -> Sequence[CalendarDay]:
        """Return every date from 2016-07-01 to 2027-12-31."""
        return made_calendar(self.seed)

    def splits(self) -> Sequence[Split]:
        """Return all splits, oldest first."""
        return [Split(dt.date.fromisoformat(date), secid, before, after) for date, secid, before, after in SPLITS]

    def renames(self) -> Sequence[Rename]:
        """Return all changes of codes, oldest first."""
        return [Rename(dt.date.fromisoformat(date), old, new) for date, old, new in RENAMES]

    def _days_of(self, secid: str) -> Days:
        return self._days(ISSUE_BY_SECID[secid].key)

    def _rows(self, secid: str, first: int, stop: int) -> slice:
        """Return the rows of the days of a code from midnight *first* up to midnight *stop*."""
        code = ISSUE_BY_SECID[secid].code(secid)
        listed, delisted = to_seconds(code.first), to_seconds(code.last) + SECONDS_A_DAY
        return self._days_of(secid).rows(max(first, listed), min(stop, delisted))

    def _minutes_of_days(self, secid: str, rows: slice) -> ExactCandles:
        key = ISSUE_BY_SECID[secid].key
        return ExactCandles.concatenate([self._minutes(key, row) for row in range(rows.start, rows.stop)])

    def _make_history(self, secid: str) -> HistoryRows:
        issue = ISSUE_BY_SECID[secid]
        return make_history(issue, issue.code(secid), self._days_of(secid), self.seed, self._has_session_date)

    def _make_minutes(self, key: str, row: int) -> ExactCandles:
        issue, days = ISSUE_BY_SECID[key], self._days(key)
        midnight = int(days.candles.begin[row])
        session = trading_minutes(
            from_seconds(midnight).date(),
            is_weekend=not days.has_history[row],
            has_auctions=not issue.is_index,
            is_extended=issue.is_extended,
        )
        return make_minutes(
            chance(self.seed, issue.key, midnight // SECONDS_A_DAY),
            days.candles[row : row + 1],
            session,
            trades=int(days.trades[row]),
            liquidity=issue.liquidity,
            tick=int(days.tick[row]),
            lot=int(days.lot[row]),
        )


def _as_sent(issue: Issue, candles: ExactCandles, end: Ints) -> Candles:
    scale = 10**issue.decimals
    return Candles(
        candles.open / scale,
        candles.close / scale,
        candles.high / scale,
        candles.low / scale,
        # A product, not a quotient: turnovers carry the noise of floating point, as the exchange's do
        np.asarray(candles.turnover * issue.roubles, np.float64),
        candles.volume.astype(np.float64),
        candles.begin,
        end,
    )


def _ends(secid: str, interval: int, begin: Ints, last: Ints) -> Ints:
    """
    Return the ends of candles that are over; *last* is the begin of the last minute or day in each.

    The hour's is often the moment of its builder's last update instead of the boundary (docs/iss.md section 5).
    """
    if interval not in (*INTRADAY, DAY):
        return last
    boundary = begin + (SECONDS_A_DAY if interval == DAY else interval * 60) - 1
    if interval != HOUR:
        return boundary
    dice = (begin // 3600 * 2_654_435_761 + zlib.crc32(secid.encode())) % 2**32
    return np.where(dice < _ODD_ENDS * 2**32, last + dice % 60, boundary)
