"""Facts of one series, and how stored ones differ from them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from lakehouse.gold.dates import list_dates
from lakehouse.gold.series import CANDLE, difference, facts
from lakehouse.gold.splits import Split
from lakehouse.market.candle import CANDLES, FACT_CANDLE
from lakehouse.market.moscow import day_start
from lakehouse.market.timeframe import Timeframe
from lakehouse.silver.arrow import arrow_schema

FIRST = dt.date(2024, 3, 1)


def candle(number: int, close: float | None, **rest: Any) -> dict[str, Any]:
    date = FIRST + dt.timedelta(number)
    prices = {"open": close, "high": close, "low": close, "close": close, "value": 1.0, "volume": 10.0}
    named = {"begin_at": day_start(date), "trade_date": date, "secid": "GMKN", "is_final": True, "bucket": "all"}
    return named | prices | rest


def candles(*rows: dict[str, Any]) -> pa.Table:
    schema = pa.schema([arrow_schema(CANDLES).field(name) for name in CANDLE])
    return pa.Table.from_pylist(list(rows), schema)


def daily(rows: pa.Table, *splits: Split) -> pa.Table:
    return facts(rows, 7, Timeframe.DAY, splits)


def ops(changed: pa.Table) -> list[tuple[str, dt.date]]:
    return sorted(zip(changed["op"].to_pylist(), changed["trade_date"].to_pylist(), strict=True))


def test_indicators_stand_on_adjusted_closes() -> None:
    """Over a split 1 -> 100 the raw close falls to a hundredth; SMA and RSI see a flat price, then a rise."""
    raw = [15000.0] * 20 + [150.0] * 20 + [151.0]
    split = Split(FIRST + dt.timedelta(20), 1, 100)
    found = daily(candles(*(candle(at, close) for at, close in enumerate(raw))), split)
    assert found["close"].to_pylist() == raw
    assert found["split_factor"].to_pylist() == [0.01] * 20 + [1.0] * 21
    assert found["sma_20"].to_pylist()[:19] == [None] * 19
    assert found["sma_20"].to_pylist()[19:] == pytest.approx([150.0] * 21 + [150.05])
    assert found["rsi_14"].to_pylist()[-2:] == [None, 100]


def test_facts_have_the_declared_columns_in_order() -> None:
    """Candles may come in any order; facts are sorted by begin and have the schema of the declaration."""
    found = daily(candles(candle(2, 3.0), candle(0, 1.0), candle(1, 2.0)))
    assert found.schema == arrow_schema(FACT_CANDLE)
    assert found["close"].to_pylist() == [1.0, 2.0, 3.0]


def test_a_candle_without_a_close_has_no_indicators() -> None:
    """A NULL close gives NULL indicators on its own row only."""
    rows = [candle(at, None if at == 25 else 100.0 + at % 3) for at in range(30)]
    found = daily(candles(*rows))
    assert [at for at, mean in enumerate(found["sma_20"].to_pylist()) if mean is None] == [*range(19), 25]
    assert [at for at, index in enumerate(found["rsi_14"].to_pylist()) if index is None] == [*range(14), 25]


def test_equal_facts_differ_in_nothing() -> None:
    """What is stored already is not written again, NULLs included."""
    found = daily(candles(*(candle(at, 1.0, value=None) for at in range(30))))
    assert len(difference(found, found)) == 0
    assert len(difference(found.slice(0, 0), found.slice(0, 0))) == 0


def test_only_rows_that_differ_are_written() -> None:
    """A new candle is inserted, a revised one and those whose indicators it moves are updated, a closed one dropped."""
    before = [candle(at, 1.0 + at % 5) for at in range(40)]
    after = [*before[1:35], candle(35, 9.0), *before[36:], candle(40, 2.0)]
    stored, wanted = daily(candles(*before[1:])), daily(candles(*after))
    updated = [("update", FIRST + dt.timedelta(at)) for at in range(35, 40)]
    assert ops(difference(wanted, stored)) == [("insert", FIRST + dt.timedelta(40)), *updated]
    assert ops(difference(stored.slice(1), stored)) == [("drop", FIRST + dt.timedelta(1))]


def test_the_first_candle_closed_moves_all_that_follow() -> None:
    """Wilder's smoothing remembers for ever: without its first candle a series has other indices from there on."""
    rows = [candle(at, 1.0 + at % 5) for at in range(40)]
    changed = difference(daily(candles(*rows[1:])), daily(candles(*rows)))
    assert ops(changed)[0] == ("drop", FIRST)
    assert changed["op"].to_pylist().count("update") > 20


def test_dates_are_the_calendar_and_days_with_candles() -> None:
    """Where the calendar speaks it decides; where it is silent, candles show that there was trading."""
    holiday, silent = dt.date(2024, 3, 8), dt.date(2004, 3, 7)
    calendar = [
        {"engine": "stock", "trade_date": holiday, "is_traded": False, "reason": "H"},
        {"engine": "currency", "trade_date": dt.date(2024, 3, 9), "is_traded": True, "reason": None},
    ]
    first, second = list_dates(calendar, [silent, holiday])
    assert first == {
        "trade_date": silent, "is_traded": True, "reason": None, "year": 2004, "quarter": 1, "month": 3, "week_day": 7,
    }  # fmt: skip
    assert (second["trade_date"], second["is_traded"], second["reason"]) == (holiday, False, "H")
