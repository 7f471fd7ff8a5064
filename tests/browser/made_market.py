"""A small made market for the pages: days and minutes, a split, a rename, an index without volume."""

from __future__ import annotations

import datetime as dt
import math
import random
from dataclasses import dataclass, field
from typing import Any

from lakehouse.market.instrument import instrument_id, price_unit
from lakehouse.market.moscow import day_start, to_utc
from lakehouse.market.timeframe import Timeframe

LAST_DATE = dt.date(2026, 11, 24)  # a Tuesday
SPLIT_DATE = dt.date(2026, 9, 1)
SPLIT_FACTOR = 0.01


@dataclass(frozen=True)
class Made:
    """An instrument to make: its codes, oldest first, and how many trading days of days and of minutes it has."""

    secids: tuple[str, ...]
    board: str
    name: str
    days: int
    minute_days: int = 0
    market: str = "shares"
    price: float = 280.0
    has_volume: bool = True
    is_split: bool = False
    rows: dict[Timeframe, list[dict[str, Any]]] = field(default_factory=dict, hash=False)

    @property
    def instrument_id(self) -> int:
        return instrument_id("stock", self.market, self.secids[0])


MARKET = (
    Made(("SBER",), "TQBR", "Сбербанк России ПАО ао", 520, minute_days=45),
    Made(("YNDX", "YDEX"), "TQBR", "МКПАО Яндекс", 300, price=4100.0),
    Made(("GMKN",), "TQBR", "ГМК Норильский никель ПАО ао", 300, price=120.0, is_split=True),
    Made(("IMOEX",), "SNDX", "Индекс МосБиржи", 300, market="index", price=2700.0, has_volume=False),
)
MINUTES_A_DAY = 840  # 10:00 to 23:59


def candles(made: Made) -> list[dict[str, Any]]:
    """Return the rows of gold.fact_candle of one instrument, its days and its minutes."""
    dates = trading_dates(max(made.days, made.minute_days))
    days = [(day_start(date), date) for date in dates[-made.days :]]
    minutes = [
        (to_utc(dt.datetime.combine(date, dt.time(10)) + dt.timedelta(minutes=minute)), date)
        for date in dates[len(dates) - made.minute_days :]
        for minute in range(MINUTES_A_DAY)
        if (date.day + minute) % 97  # minutes without trades are not there
    ]
    return _walk(made, Timeframe.DAY, days, 0.015) + _walk(made, Timeframe.MINUTE, minutes, 0.0006)


def instrument(made: Made) -> dict[str, Any]:
    """Return the row of gold.dim_instrument."""
    return {
        "instrument_id": made.instrument_id,
        "secid": made.secids[-1],
        "engine": "stock",
        "market": made.market,
        "board": made.board,
        "secids": ",".join(made.secids),
        "shortname": made.name[:12],
        "name": made.name,
        "isin": None,
        "type": "stock_index" if made.market == "index" else "common_share",
        "currency": "RUB",
        "decimals": 2,
        "is_traded": True,
        "price_unit": price_unit("stock", made.market),
    }


def dates() -> list[dict[str, Any]]:
    """Return the rows of gold.dim_date."""
    return [
        {
            "trade_date": date,
            "is_traded": True,
            "reason": None,
            "year": date.year,
            "quarter": (date.month + 2) // 3,
            "month": date.month,
            "week_day": date.isoweekday(),
        }
        for date in trading_dates(520)
    ]


def trading_dates(count: int) -> list[dt.date]:
    """Return the last *count* weekdays, oldest first."""
    found: list[dt.date] = []
    date = LAST_DATE
    while len(found) < count:
        if date.isoweekday() <= 5:
            found.append(date)
        date -= dt.timedelta(days=1)
    return found[::-1]


def _walk(
    made: Made, timeframe: Timeframe, begins: list[tuple[dt.datetime, dt.date]], spread: float
) -> list[dict[str, Any]]:
    chance = random.Random(f"{made.secids[0]} {timeframe}")
    closes: list[float] = []
    rows: list[dict[str, Any]] = []
    adjusted, gain, loss = made.price, 0.0, 0.0
    for begin_at, trade_date in begins:
        factor = SPLIT_FACTOR if made.is_split and trade_date < SPLIT_DATE else 1.0
        opened, adjusted = adjusted, max(1.0, round(adjusted * math.exp(chance.gauss(0, spread)), 2))
        change = adjusted - closes[-1] if closes else 0.0
        gain, loss = (gain * 13 + max(change, 0.0)) / 14, (loss * 13 + max(-change, 0.0)) / 14
        closes.append(adjusted)
        volume = float(chance.randrange(100, 90_000)) if made.has_volume else None
        rows.append(
            {
                "instrument_id": made.instrument_id,
                "timeframe": str(timeframe),
                "begin_at": begin_at,
                "trade_date": trade_date,
                "secid": made.secids[-1],
                "open": opened / factor,
                "high": max(opened, adjusted) * (1 + spread / 3) / factor,
                "low": min(opened, adjusted) * (1 - spread / 3) / factor,
                "close": adjusted / factor,
                "value": adjusted * (volume or 1e6),
                "volume": volume,
                "is_final": True,
                "split_factor": factor,
                "sma_20": sum(closes[-20:]) / 20 if len(closes) >= 20 else None,
                "rsi_14": 100 * (gain / (gain + loss)) if len(closes) > 14 and gain + loss else None,
                "bucket": timeframe.bucket(trade_date),
            }
        )
    return rows
