"""The minutes of a day, made so that together they are the day, to the last security and kopeck."""

from __future__ import annotations

import numpy as np

from lakehouse.simulator.candles import ExactCandles
from lakehouse.simulator.periods import Floats, Ints
from lakehouse.simulator.sessions import ACTIVITY


def make_minutes(
    rng: np.random.Generator, day: ExactCandles, session: Ints, *, trades: int, liquidity: float, tick: int, lot: int
) -> ExactCandles:
    """
    Return the minutes with trades of one *day* (one candle): open, close, high, low, volume and turnover add up to it.

    Args:
        rng: Chance of this day alone.
        session: Minutes of the day in which trades can happen.
        trades: Number of trades of the day; no more minutes are made.
        liquidity: Chance of a trade in an ordinary minute.
        tick: Price step in points.
        lot: Securities in a lot.
    """
    lots = int(day.volume[0]) // lot
    minute = _traded_minutes(rng, session, liquidity, min(lots, trades) if lots else len(session))
    open_, close, high, low = (int(price[0]) // tick for price in (day.open, day.close, day.high, day.low))
    prices = _path(rng, len(minute), open_, close, high, low)
    weights = ACTIVITY[minute] * rng.lognormal(0, 0.7, len(minute))
    begin = day.begin[0] + minute * 60
    if not lots:
        return ExactCandles.priced(begin, prices * tick, np.zeros_like(begin), _share(int(day.turnover[0]), weights))
    lot_ticks = int(day.turnover[0]) // (tick * lot)
    volume = 1 + _share(lots - len(minute), _tilted(weights, prices.mean(axis=0), lot_ticks / lots))
    prices, turnover = _turnover(prices, volume, lot_ticks, high, low)
    return ExactCandles.priced(begin, prices * tick, volume * lot, turnover * tick * lot)


def _traded_minutes(rng: np.random.Generator, session: Ints, liquidity: float, at_most: int) -> Ints:
    chances = liquidity ** (1 / ACTIVITY[session])
    minute = session[rng.random(len(session)) < chances]
    if not len(minute):
        minute = session[[int(rng.integers(len(session)))]]
    if len(minute) > at_most:
        minute = np.sort(rng.choice(minute, at_most, replace=False))
    return minute


def _path(rng: np.random.Generator, count: int, open_: int, close: int, high: int, low: int) -> Ints:
    """Return open, close, high and low of each minute in ticks, shape (4, count); together they are the day's."""
    steps = np.arange(1, count + 1) / count
    bridge = np.cumsum(rng.standard_normal(count))
    bridge -= steps * bridge[-1]
    bridge *= 0.45 * (high - low) / max(float(np.ptp(bridge)), 1e-9)
    closes = np.clip(np.rint(open_ + (close - open_) * steps + bridge), low, high).astype(np.int64)
    closes[-1] = close
    wick = (high - low) / (2 * np.sqrt(count) + 2)
    gaps = np.rint(rng.standard_normal(count) * wick / 4).astype(np.int64)
    opens = np.clip(np.append(open_, closes[:-1]) + gaps, low, high)
    opens[0] = open_
    wicks = rng.exponential(wick / 2, (2, count)).astype(np.int64)
    highs = np.minimum(np.maximum(opens, closes) + wicks[0], high)
    lows = np.maximum(np.minimum(opens, closes) - wicks[1], low)
    highs[np.argmax(highs)] = high
    lows[np.argmin(lows)] = low
    return np.stack([opens, closes, highs, lows])


def _tilted(weights: Floats, typical: Floats, average: float) -> Floats:
    """Return *weights* changed so that the *typical* prices weigh to *average*, if some lie on either side."""
    excess = weights * (typical - average)
    above, below = excess[excess > 0].sum(), -excess[excess < 0].sum()
    return np.where(excess < 0, weights * above / below, weights) if above > 0 and below > 0 else weights


def _share(total: int, weights: Floats) -> Ints:
    """Return whole numbers that add up to *total*, in proportion to *weights*."""
    shared = np.cumsum(weights)
    bounds = np.rint(shared * (total / shared[-1])).astype(np.int64)
    bounds[-1] = total
    return np.asarray(np.diff(bounds, prepend=0))


def _turnover(prices: Ints, lots: Ints, lot_ticks: int, high: int, low: int) -> tuple[Ints, Ints]:
    """
    Return the prices, and a turnover for each minute between its lots at its low and at its high, *lot_ticks* in all.

    Where that cannot be, the largest minutes reach the day's high and low, too.
    """
    opens, closes, highs, lows = prices
    for row in np.argsort(-lots, kind="stable"):
        if int((lots * lows).sum()) <= lot_ticks <= int((lots * highs).sum()):
            break
        highs[row], lows[row] = high, low
    room = lots * (highs - lows)
    need = lot_ticks - int((lots * lows).sum())
    bounds = np.rint(np.cumsum(room) * (need / max(int(room.sum()), 1))).astype(np.int64)
    bounds[-1] = need
    return np.stack([opens, closes, highs, lows]), lots * lows + np.diff(bounds, prepend=0)
