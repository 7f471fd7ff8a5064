"""The days of an issue, ten years at once: a random walk from one price to another, moved by one market."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lakehouse.simulator.calendar import made_calendar
from lakehouse.simulator.candles import ExactCandles
from lakehouse.simulator.chance import chance
from lakehouse.simulator.clock import to_seconds
from lakehouse.simulator.issues import Issue
from lakehouse.simulator.periods import Flags, Floats, Ints
from lakehouse.simulator.security import CalendarDay

_ANCHOR = dt.date(2026, 6, 30)
_MARKET_VOLATILITY = 0.009
_WEEKEND_CALM = 0.25
# Return of the whole market on days that everyone remembers
_SHOCKS = {
    dt.date(2020, 3, 10): -0.08,
    dt.date(2022, 2, 24): -0.29,
    dt.date(2022, 3, 24): 0.06,
    dt.date(2022, 9, 21): -0.08,
}
_ROUBLES_A_TRADE = 60_000


@dataclass(frozen=True)
class Days:
    """
    The days of an issue on which it traded, oldest first, and those of its history on which it did not.

    Attributes:
        candles: `begin` is midnight; prices are multiples of *tick*, volumes of *lot*.
        trades: Number of trades.
        has_history: Whether the day has an end-of-day row: a weekend session has none.
        silent: Midnights of days with an end-of-day row and no trades.
    """

    candles: ExactCandles
    trades: Ints
    tick: Ints
    lot: Ints
    has_history: Flags
    silent: Ints

    def row(self, midnight: int) -> int | None:
        """Return the row of a day, or None if nothing traded on it."""
        row = int(np.searchsorted(self.candles.begin, midnight))
        return row if row < len(self.candles) and self.candles.begin[row] == midnight else None

    def rows(self, first: int, stop: int) -> slice:
        """Return the rows of the days from *first* up to, not including, *stop*, both midnights."""
        bounds = np.searchsorted(self.candles.begin, [first, stop])
        return slice(int(bounds[0]), int(bounds[1]))


def make_days(issue: Issue, seed: int) -> Days:
    """Return the days of *issue* in the market of *seed*."""
    calendar = [day for day in made_calendar(seed) if issue.codes[0].first <= day.date <= issue.codes[-1].last]
    rng = chance(seed, issue.key)
    moves = rng.standard_normal((6, len(calendar)))
    could_trade, trades_today = _trading(issue, calendar, rng.random((2, len(calendar))))
    logs, returns = _walk(issue, seed, calendar, could_trade, moves[0])
    rows = np.flatnonzero(trades_today)
    traded = [calendar[row] for row in rows]
    eras = [issue.era(day.date) for day in traded]
    tick = np.array([era.tick for era in eras], np.int64)
    lot = np.array([era.lot for era in eras], np.int64)
    points = np.array([era.ratio for era in eras]) * 10**issue.decimals
    is_weekend = np.array([not day.has_history for day in traded], np.bool_)
    prices = _prices(logs, returns, rows, moves[1:4, rows], points / tick)
    lots, turnover, trades = _deals(issue, prices, moves[4:6, rows], returns[rows], is_weekend, tick, lot)
    begin = np.array([to_seconds(day.date) for day in traded], np.int64)
    candles = ExactCandles.priced(begin, prices * tick, lots * lot, turnover)
    silent = [calendar[row].date for row in np.flatnonzero(~trades_today) if calendar[row].has_history]
    midnights = np.array([] if issue.is_index else [to_seconds(date) for date in silent], np.int64)
    return Days(candles, trades, tick, lot, ~is_weekend, midnights)


def _trading(issue: Issue, calendar: list[CalendarDay], dice: Floats) -> tuple[Flags, Flags]:
    """Return on which dates the issue could trade, and on which it did."""
    halted = {day.date for day in calendar for first, last in issue.halts if first <= day.date <= last}
    is_open = [day.is_traded and (day.has_history or issue.is_extended) for day in calendar]
    could = np.array([open_ and day.date not in halted for open_, day in zip(is_open, calendar, strict=True)], np.bool_)
    # The first day trades, else a listing would begin before its first price
    did = could & ((dice[0] >= issue.silence) | (np.arange(len(calendar)) == np.argmax(could)))
    return could, did


@lru_cache(maxsize=8)
def _market(seed: int) -> dict[dt.date, float]:
    calendar = made_calendar(seed)
    moves = chance(seed, "market").standard_normal(len(calendar)) * _MARKET_VOLATILITY
    return {
        day.date: _SHOCKS.get(day.date, move * (1 if day.has_history else _WEEKEND_CALM)) if day.is_traded else 0.0
        for day, move in zip(calendar, moves.tolist(), strict=True)
    }


def _walk(
    issue: Issue, seed: int, calendar: list[CalendarDay], could_trade: Flags, moves: Floats
) -> tuple[Floats, Floats]:
    """Return the logarithm of each date's closing price in units of the last era, and each date's return."""
    market = _market(seed)
    calm = np.where([day.has_history for day in calendar], 1, _WEEKEND_CALM)
    own = moves * issue.volatility * calm * could_trade
    returns = own + issue.beta * np.array([market[day.date] for day in calendar])
    walk = np.log(issue.prices[0]) + np.cumsum(returns) - returns[0]
    anchor = next((row for row, day in enumerate(calendar) if day.date >= _ANCHOR), len(calendar) - 1)
    drift = (np.log(issue.prices[1]) - walk[anchor]) / max(anchor, 1)
    return walk + drift * np.arange(len(calendar)), returns


def _prices(logs: Floats, returns: Floats, rows: Ints, moves: Floats, ticks: Floats) -> Ints:
    """Return open, close, high and low of the traded *rows* in ticks, shape (4, n); *ticks* is ticks per price unit."""
    close = logs[rows]
    before = np.append(close[0] - returns[rows[0]], close[:-1])
    size = np.maximum(np.abs(returns[rows]), np.median(np.abs(returns[rows])))
    open_ = before + 0.3 * (close - before) + 0.2 * size * moves[0]
    high = np.maximum(open_, close) + 0.5 * size * np.abs(moves[1])
    low = np.minimum(open_, close) - 0.5 * size * np.abs(moves[2])
    prices = np.rint(np.exp(np.stack([open_, close, high, low])) * ticks)
    return np.asarray(np.maximum(prices, 1), np.int64)


def _deals(
    issue: Issue, prices: Ints, moves: Floats, returns: Floats, is_weekend: Flags, tick: Ints, lot: Ints
) -> tuple[Ints, Ints, Ints]:
    """Return lots, turnover (ExactCandles) and number of trades of each day."""
    open_, close, high, low = prices
    roubles = issue.turnover * np.exp(0.4 * moves[0]) * (1 + 15 * np.abs(returns)) * np.where(is_weekend, 0.06, 1)
    if issue.is_index:
        return np.zeros_like(open_), np.rint(roubles * 100).astype(np.int64), np.zeros_like(open_)
    typical = np.clip((open_ + close + high + low) / 4 + 0.08 * (high - low) * moves[1], low, high)
    lots = np.maximum(np.rint(roubles / (typical * tick * lot * issue.roubles)), 1).astype(np.int64)
    lot_ticks = np.clip(np.rint(lots * typical).astype(np.int64), lots * low, lots * high)
    trades = np.clip(np.rint(roubles / _ROUBLES_A_TRADE * np.exp(0.2 * moves[1])).astype(np.int64), 1, lots)
    return lots, lot_ticks * tick * lot, trades
