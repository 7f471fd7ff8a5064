"""End-of-day rows of the made market: its days, days without trades, and odd lots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lakehouse.simulator import history
from lakehouse.simulator.answer import Columns
from lakehouse.simulator.chance import chance
from lakehouse.simulator.clock import from_seconds, to_seconds
from lakehouse.simulator.days import Days
from lakehouse.simulator.history import HistoryRows
from lakehouse.simulator.issues import Code, Issue
from lakehouse.simulator.periods import SECONDS_A_DAY, Floats

_DAYS_WITH_ODD_LOTS = 0.15
_COUPON_DAYS = 182
_TOTAL = 3  # TRADINGSESSION of a row over all sessions of the day
_NOTHING = {"NUMTRADES": 0, "VALUE": 0, "VOLUME": 0}
_Values = Mapping[str, Any]


def make_history(issue: Issue, code: Code, days: Days, seed: int, has_session_date: bool) -> HistoryRows:
    """Return the end-of-day rows of *code*; *has_session_date* adds the newest column."""
    columns = _columns(issue) + (history.TRADE_SESSION_DATE if has_session_date else ())
    first, last = to_seconds(code.first), to_seconds(code.last)
    rows = [
        (date, board, _row(columns, issue, code, board, date, values))
        for date, board, values in _days(issue, days, seed)
        if first <= date <= last
    ]
    return HistoryRows.sorted(columns, rows, (issue.board, "SMAL"))


def _columns(issue: Issue) -> Columns:
    if issue.is_index:
        return history.INDEX
    return history.SHARES if issue.coupon is None else history.BONDS


def _row(columns: Columns, issue: Issue, code: Code, board: str, date: int, values: _Values) -> list[Any]:
    text = from_seconds(date).date().isoformat()
    common: dict[str, Any] = {
        "BOARDID": board,
        "TRADEDATE": text,
        "TRADE_SESSION_DATE": text,
        "SHORTNAME": code.shortname,
        "SECID": code.secid,
        "TRADINGSESSION": _TOTAL,
        "CURRENCYID": "RUB" if issue.is_index else "SUR",
    }
    if issue.is_index:
        common |= {"NAME": code.name, "DECIMALS": issue.decimals}
    elif issue.coupon is not None:
        days = (date - to_seconds(code.first)) // SECONDS_A_DAY % _COUPON_DAYS
        common |= {"COUPONPERCENT": issue.coupon, "FACEVALUE": 1000, "ACCINT": round(issue.coupon * 10 * days / 365, 2)}
    known = {**common, **values}
    return [known.get(column.name) for column in columns]


def _days(issue: Issue, days: Days, seed: int) -> Iterator[tuple[int, str, _Values]]:
    """Yield midnight, board and values of every row of the issue, under all its codes."""
    rng = chance(seed, f"{issue.key} history")
    dice, moves = rng.random((2, len(days.candles))), rng.standard_normal(len(days.candles))
    for silent in days.silent.tolist():
        yield silent, issue.board, _NOTHING
    for row, values in enumerate(_values(issue, days, moves)):
        if not days.has_history[row]:
            continue
        date, lot = int(days.candles.begin[row]), int(days.lot[row])
        yield date, issue.board, values
        if issue.has_odd_lots and lot > 1 and dice[0, row] < _DAYS_WITH_ODD_LOTS:
            yield date, "SMAL", _odd_lot(values["CLOSE"], 1 + int(dice[1, row] * (lot - 1)))


def _odd_lot(price: float, volume: int) -> _Values:
    """Return a single deal of less than a lot, for which the exchange states no legal close."""
    prices = dict.fromkeys(("OPEN", "CLOSE", "HIGH", "LOW", "WAPRICE"), price)
    return {**prices, "NUMTRADES": 1, "VOLUME": volume, "VALUE": round(price * volume, 2)}


def _values(issue: Issue, days: Days, moves: Floats) -> Iterator[_Values]:
    candles, scale = days.candles, 10**issue.decimals
    spread = np.rint(0.05 * moves * (candles.high - candles.low) / days.tick).astype(np.int64) * days.tick
    before = np.append(candles.close[0], candles.close[:-1])
    columns: dict[str, list[float]] = {
        name.upper(): (getattr(candles, name) / scale).tolist() for name in ("open", "close", "high", "low")
    }
    columns["VALUE"] = np.round(candles.turnover * issue.roubles, 2).tolist()
    if not issue.is_index:
        average = np.round(candles.turnover / candles.volume / scale, issue.decimals).tolist()
        columns |= {
            "VOLUME": candles.volume.tolist(),
            "NUMTRADES": days.trades.tolist(),
            "LEGALCLOSEPRICE": (np.clip(candles.close + spread, candles.low, candles.high) / scale).tolist(),
            **dict.fromkeys(("WAPRICE", "MARKETPRICE2", "MARKETPRICE3"), average),
            **dict.fromkeys(("MP2VALTRD", "MARKETPRICE3TRADESVALUE", "ADMITTEDVALUE"), columns["VALUE"]),
            "TRENDCLSPR": np.round((candles.close / before - 1) * 100, 2).tolist(),
        }
        columns["ADMITTEDQUOTE"] = columns["LEGALCLOSEPRICE"]
    for row in zip(*columns.values(), strict=True):
        yield dict(zip(columns, row, strict=True))
