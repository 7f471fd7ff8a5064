"""End-of-day rows of the made market."""

from __future__ import annotations

from typing import Any

import pytest

from lakehouse.simulator.clock import from_seconds
from lakehouse.simulator.demo import demo_from, demo_request
from lakehouse.simulator.exchange import MadeExchange
from lakehouse.simulator.periods import DAY

EXCHANGE = MadeExchange(seed=1)


def by_date(secid: str, board: str) -> dict[str, dict[str, Any]]:
    """Return the rows of a board by date."""
    history = EXCHANGE.history(secid)
    names = [column.name for column in history.columns]
    rows = [dict(zip(names, row, strict=True)) for row in history.rows]
    return {row["TRADEDATE"]: row for row in rows if row["BOARDID"] == board}


@pytest.mark.parametrize(
    ("secid", "board"), [("SBER", "TQBR"), ("VTBR", "TQBR"), ("EQMX", "TQTF"), ("SU26238RMFS4", "TQOB")]
)
def test_a_row_is_the_day_s_candle(secid: str, board: str) -> None:
    """Prices and volume of a day's row equal its candle's; days without trades have neither candle nor prices."""
    rows, candles = by_date(secid, board), EXCHANGE.candles(secid, DAY, 0)
    traded = {date: row for date, row in rows.items() if row["NUMTRADES"]}
    at = {f"{from_seconds(begin):%Y-%m-%d}": place for place, begin in enumerate(candles.begin.tolist())}
    assert set(traded) <= set(at)
    for date, row in traded.items():
        place = at[date]
        for name in ("open", "close", "high", "low", "volume"):
            assert row[name.upper()] == getattr(candles, name)[place], (date, name)
        assert row["VALUE"] == pytest.approx(candles.value[place], abs=0.006)
    silent = [row for date, row in rows.items() if date not in traded]
    assert silent
    assert all(row[name] is None for row in silent for name in ("OPEN", "HIGH", "LOW", "CLOSE", "LEGALCLOSEPRICE"))
    assert not {row["TRADEDATE"] for row in silent} & set(at)


def test_the_closure_of_2022_has_rows_without_trades() -> None:
    """2022-02-28 to 03-23 has rows with no trades and no prices, and weekend sessions have no row."""
    rows = by_date("SBER", "TQBR")
    closed = [row for date, row in rows.items() if "2022-02-28" <= date <= "2022-03-23"]
    assert len(closed) == 17
    assert all(row["NUMTRADES"] == 0 and row["VOLUME"] == 0 and row["CLOSE"] is None for row in closed)
    weekend = [f"{from_seconds(begin):%Y-%m-%d}" for begin in EXCHANGE.candles("SBER", DAY, 0).begin.tolist()]
    assert set(weekend) - set(rows)


def test_an_index_has_neither_volume_nor_trades() -> None:
    """Rows of IMOEX have a value, and null volume and trades."""
    rows = by_date("IMOEX", "SNDX")
    assert all(row["VOLUME"] is None and row["NUMTRADES"] is None and row["VALUE"] > 0 for row in rows.values())
    assert "2022-03-01" not in rows


def test_odd_lots_have_no_legal_close() -> None:
    """Some days of GAZP have a row of the board SMAL, with less than a lot and a null legal close."""
    rows, days = by_date("GAZP", "SMAL"), by_date("GAZP", "TQBR")
    assert 0.1 < len(rows) / len(days) < 0.2
    assert all(row["LEGALCLOSEPRICE"] is None and 0 < row["VOLUME"] < 10 for row in rows.values())


def test_the_newest_column_can_be_left_out() -> None:
    """TRADE_SESSION_DATE is there unless the exchange is told to be older."""
    older = MadeExchange(1, has_session_date=False)
    for secid in ("SBER", "IMOEX", "SU26238RMFS4"):
        newest = [column.name for column in EXCHANGE.history(secid).columns]
        assert newest[-1] == "TRADE_SESSION_DATE"
        assert [column.name for column in older.history(secid).columns] == newest[:-1]
        assert older.history(secid).rows[0] == EXCHANGE.history(secid).rows[0][:-1]


def test_the_demo_asks_for_days_of_all_and_minutes_of_some() -> None:
    """The demo's market is 16 shares, a code that moved home, an index, a fund and a bond, on their boards."""
    request = dict(demo_request(EXCHANGE))
    boards = [instrument.board for instrument in EXCHANGE.instruments()]
    assert (boards.count("TQBR"), boards.count("SNDX"), boards.count("TQTF"), boards.count("TQOB")) == (17, 1, 1, 1)
    assert list(request) == [instrument.secid for instrument in EXCHANGE.instruments()]
    assert all("1d" in timeframes for timeframes in request.values())
    assert request["SBER"] == ("1d", "1h", "10m", "1m")
    assert {str(timeframe) for timeframe in demo_from(EXCHANGE)} == {"1h", "10m", "1m"}
