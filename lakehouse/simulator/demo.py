"""What the demo loads from an exchange."""

from __future__ import annotations

import datetime as dt

from lakehouse.market.timeframe import Timeframe
from lakehouse.simulator.exchange import DEMO_NOW, MadeExchange
from lakehouse.simulator.protocol import Exchange

# A liquid share, one with odd lots, a split and a rename, one that hardly trades, a fund, an index
_WITH_MINUTES = ("SBER", "GAZP", "T", "NKSH", "EQMX", "IMOEX")
_FROM = {
    Timeframe.HOUR: dt.date(DEMO_NOW.year - 1, 7, 1),
    Timeframe.TEN_MINUTES: dt.date(DEMO_NOW.year, 1, 1),
    Timeframe.MINUTE: dt.date(DEMO_NOW.year, 6, 1),
}


def demo_request(exchange: Exchange) -> list[tuple[str, tuple[Timeframe, ...]]]:
    """Return the codes that the demo loads and their timeframes; one without candles has 1d, to bring its history."""
    requests: list[tuple[str, tuple[Timeframe, ...]]] = []
    for instrument in exchange.instruments():
        timeframes = [Timeframe.DAY]
        if not isinstance(exchange, MadeExchange):
            recorded = [Timeframe.from_interval(interval) for interval in exchange.intervals(instrument.secid)]
            timeframes = recorded or timeframes
        elif instrument.secid in _WITH_MINUTES:
            timeframes += _FROM
        requests.append((instrument.secid, tuple(timeframes)))
    return requests


def demo_from(exchange: Exchange) -> dict[Timeframe, dt.date]:
    """Return from which date each timeframe is loaded; one that is not there is loaded whole."""
    return dict(_FROM) if isinstance(exchange, MadeExchange) else {}
