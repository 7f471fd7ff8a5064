"""Candles for a program: what an analysis is handed."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo

from lakehouse.database.connection import connect
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.market.errors import BadInput
from lakehouse.serving import frames
from lakehouse.serving.frames import Frame, Selection, load_frame
from lakehouse.serving.publish import publish_gold
from lakehouse.serving.queries import candles, publication
from tests.gold_lake import FIRST_DATE, GoldLake, fact, instrument, minutes

pytestmark = [pytest.mark.postgres]

CARDS = [instrument(1, "SBER"), instrument(3, "T", secids="TCSG,T"), instrument(4, "GMKN"), instrument(5, "X5")]


@pytest.fixture(scope="module")
def gold(postgres: EmbeddedPostgres, migrated_database: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a database of this module, which only reads it."""
    with connect(postgres.dsn) as conn:
        conn.execute(sql.SQL("CREATE DATABASE frames TEMPLATE {}").format(sql.Identifier(migrated_database)))
    dsn = make_conninfo(postgres.dsn, dbname="frames")
    lake = GoldLake(Path(tmp_path_factory.mktemp("frames")))
    gmkn = [
        fact(4, at, 15000.0 if at < 10 else 150.0, split_factor=0.01 if at < 10 else 1.0, sma_20=150.0)
        for at in range(25)
    ]
    t = [fact(3, at, 300.0, secid="TCSG" if at < 20 else "T", volume=None, rsi_14=None) for at in range(30)]
    lake.create([*gmkn, *t, *(fact(1, at, 100.0 + at) for at in range(25)), *minutes(1, 500)], CARDS)
    publish_gold(dsn, lake.lake)
    return dsn


@pytest.fixture
def conn(gold: str) -> Iterator[Connection[Any]]:
    with connect(gold, "lakehouse_read") as connection:
        yield connection


def chosen(*secids: str, timeframe: str = "1d", from_: str = "", till: str = "", adjust: str = "split") -> Selection:
    return Selection.parse(list(secids), timeframe, from_, till, adjust)


def unpacked(frame: Frame) -> pd.DataFrame:
    with pa.ipc.open_file(frame.arrow) as reader:
        return reader.read_all().to_pandas()


def test_a_frame_has_the_instruments_in_the_order_chosen_oldest_first(conn: Connection[Any]) -> None:
    """A former code finds its instrument, whose rows all bear the code of today."""
    frame = load_frame(conn, chosen("TCSG", "SBER"))
    df = unpacked(frame)
    assert list(df.secid.unique()) == ["T", "SBER"]
    assert (frame.rows, len(df)) == (55, 55)
    assert all(rows.begin_at.is_monotonic_increasing for _, rows in df.groupby("secid", observed=True))
    assert frame.data_version == publication(conn).data_version


def test_columns_are_such_as_the_documentation_says(conn: Connection[Any]) -> None:
    """Instants are UTC, trade dates Moscow's, prices numbers, and what is missing is NaN."""
    df = unpacked(load_frame(conn, chosen("T")))
    assert {name: str(kind) for name, kind in df.dtypes.items()} == {
        "secid": "category",
        "begin_at": "datetime64[ns, UTC]",
        "trade_date": "datetime64[ns]",
        **dict.fromkeys(("open", "high", "low", "close", "value", "volume"), "float64"),
        "is_final": "bool",
        **dict.fromkeys(("split_factor", "sma_20", "rsi_14"), "float64"),
    }
    assert df.trade_date[0] == pd.Timestamp(FIRST_DATE)
    assert df.begin_at[0] == pd.Timestamp(FIRST_DATE, tz="Europe/Moscow")
    assert math.isnan(df.volume[0])
    assert math.isnan(df.rsi_14[0])


@pytest.mark.parametrize("adjust", ["none", "split"])
@pytest.mark.parametrize(("secid", "timeframe"), [("GMKN", "1d"), ("SBER", "1m"), ("T", "1d")])
def test_a_frame_equals_the_candles_of_the_api(conn: Connection[Any], secid: str, timeframe: str, adjust: Any) -> None:
    """Both ways to read give the same numbers, raw and adjusted."""
    page = candles(conn, secid, None, timeframe, adjust=adjust, limit=10_000)
    df = unpacked(load_frame(conn, chosen(secid, timeframe=timeframe, adjust=adjust)))
    expected = pd.DataFrame(page.rows, columns=list(page.columns))
    for name in ("open", "high", "low", "close", "value", "volume", "split_factor", "sma_20", "rsi_14"):
        assert df[name].fillna(-1).tolist() == expected[name].astype(float).fillna(-1).tolist(), name
    assert df.begin_at.tolist() == expected.begin_at.tolist()
    assert df.trade_date.dt.date.tolist() == expected.trade_date.tolist()
    assert df.is_final.tolist() == expected.is_final.tolist()


def test_dates_are_moscows_and_both_inclusive(conn: Connection[Any]) -> None:
    """From and till take whole Moscow days."""
    day = (FIRST_DATE + dt.timedelta(days=3)).isoformat()
    df = unpacked(load_frame(conn, chosen("SBER", from_=day, till=day)))
    assert df.trade_date.dt.date.astype(str).tolist() == [day]


def test_more_than_the_limit_is_refused_with_the_count(conn: Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many candles are told, never cut silently."""
    monkeypatch.setattr(frames, "MAX_ROWS", 54)
    with pytest.raises(BadInput, match=r"T, SBER 1d has 55 candles, and an analysis takes 54: choose fewer"):
        load_frame(conn, chosen("T", "SBER"))
    monkeypatch.setattr(frames, "MAX_ROWS", 55)
    assert load_frame(conn, chosen("T", "SBER")).rows == 55


def test_the_same_data_has_the_same_hash(conn: Connection[Any]) -> None:
    """The hash tells which data a run saw: it moves with the selection, not with the time."""
    first = load_frame(conn, chosen("SBER"))
    assert load_frame(conn, chosen("SBER")).sha256 == first.sha256
    assert load_frame(conn, chosen("SBER", adjust="none", till="2020-01-05")).sha256 != first.sha256


@pytest.mark.parametrize(
    ("selection", "why"),
    [
        (("NOPE", "SBER", "GONE"), "NOPE, GONE: no such ticker is loaded"),
        (("X5",), "X5 1d has no candles between the first day and now"),
    ],
)
def test_what_is_not_there_is_named(conn: Connection[Any], selection: tuple[str, ...], why: str) -> None:
    """Unknown tickers and empty selections are refused by name."""
    with pytest.raises(BadInput, match=why):
        load_frame(conn, chosen(*selection))


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (("SBER", "1d", "", "", "split"), "instruments: must be a list"),
        (([], "1d", "", "", "split"), "instruments: choose 1 to 50"),
        ([[f"A{n}" for n in range(51)], "1d", "", "", "split"], "instruments: choose 1 to 50"),
        ((["SBER'; DROP"], "1d", "", "", "split"), "is not a ticker"),
        (([7], "1d", "", "", "split"), "instruments: must be a list"),
        ((["SBER"], "5m", "", "", "split"), "timeframe '5m' is not one of"),
        ((["SBER"], "1d", "2024-02-30", "", "split"), "from: there is no day 2024-02-30"),
        ((["SBER"], "1d", {"a": 1}, "", "split"), "from: there is no day"),
        ((["SBER"], "1d", "0001-01-01", "", "split"), "from 0001-01-01 does not lie between"),
        ((["SBER"], "1d", "2024-01-02", "2024-01-01", "split"), "till 2024-01-01 lies before from 2024-01-02"),
        ((["SBER"], "1d", "", "", "dividends"), "prices: must be split"),
    ],
)
def test_a_wrong_selection_says_what_is_wrong(values: Any, why: str) -> None:
    """Whatever a script sends is refused with a reason, before any query."""
    with pytest.raises(BadInput, match=why):
        Selection.parse(*values)
