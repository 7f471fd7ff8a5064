"""What pages and functions ask of PostgreSQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from lakehouse.database.connection import connect
from lakehouse.market.errors import BadInput
from lakehouse.market.moscow import day_start
from lakehouse.serving.publish import publish_gold
from lakehouse.serving.queries import _CANDLES, CandlePage, DataMoved, Publication, candles, instruments, publication
from tests.gold_lake import FIRST_DATE, GoldLake, fact, instrument, minutes

pytestmark = [pytest.mark.postgres]

RENAMED = 20
CARDS = [
    instrument(1, "SBER", shortname="Сбербанк", name="Сбербанк России ПАО ао", isin="RU0009029540"),
    instrument(2, "SBERP", shortname="Сбербанк-п", name="Сбербанк России ПАО ап", isin="RU0009029557"),
    instrument(3, "T", secids="TCSG,T", shortname="Т-Технологии", name="МКПАО Т-Технологии", isin="RU000A107UL4"),
    instrument(4, "GMKN", shortname="ГМКНорНик", name="ГМК Норильский никель", isin="RU0007288411"),
    instrument(5, "X5", shortname="КЦ ИКС 5", name="ПАО Корпоративный центр ИКС 5"),
]


def day(number: int) -> dt.date:
    return FIRST_DATE + dt.timedelta(number)


@pytest.fixture
def gold(dsn: str, tmp_path: Path) -> GoldLake:
    lake = GoldLake(tmp_path)
    gmkn = [
        fact(4, at, 15000.0 if at < 10 else 150.0, split_factor=0.01 if at < 10 else 1.0, sma_20=150.0)
        for at in range(25)
    ]
    t = [fact(3, at, 300.0, secid="TCSG" if at < RENAMED else "T") for at in range(30)]
    lake.create([*gmkn, *t, *(fact(1, at, 100.0 + at) for at in range(25)), *minutes(1, 30)], CARDS)
    publish_gold(dsn, lake.lake)
    return lake


@pytest.fixture
def conn(dsn: str, gold: GoldLake) -> Iterator[Connection[Any]]:
    with connect(dsn, "lakehouse_read") as connection:
        yield connection


def column(page: CandlePage, name: str) -> list[Any]:
    return [row[page.columns.index(name)] for row in page.rows]


def test_before_the_first_load_there_is_nothing(dsn: str) -> None:
    """An empty platform answers: version 0, no instruments, and a ticker that is not loaded."""
    with connect(dsn, "lakehouse_read") as conn:
        assert publication(conn) == Publication(0, None, None)
        assert instruments(conn) == []
        with pytest.raises(BadInput, match="'SBER' is not a ticker that is loaded"):
            candles(conn, "SBER", None, "1d")


def test_publication_says_what_readers_see(conn: Connection[Any]) -> None:
    """Version 1, of Gold's version 0, published just now."""
    now = publication(conn)
    assert (now.data_version, now.delta_version) == (1, 0)
    assert now.published_at is not None
    assert abs(dt.datetime.now(dt.UTC) - now.published_at) < dt.timedelta(minutes=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sber", ["SBER", "SBERP"]),
        ("SBERP", ["SBERP"]),
        ("t", ["T"]),
        ("tcsg", ["T"]),
        ("tcs", ["T"]),
        ("ru0009029557", ["SBERP"]),
        ("сбер", ["SBER", "SBERP"]),
        ("никель", ["GMKN"]),
        ("икс 5", ["X5"]),
        ("икель", ["GMKN"]),
        ("zzz", []),
        ("%", []),
        ("_", []),
        (" gmkn ", ["GMKN"]),
    ],
)
def test_instruments_are_found_as_one_types(conn: Connection[Any], text: str, expected: list[str]) -> None:
    """By code, former code, ISIN and parts of the name, in any letter case; the exact code first."""
    assert [row.secid for row in instruments(conn, text)][: len(expected)] == expected
    if not expected:
        assert instruments(conn, text) == []


def test_instruments_say_what_exists(conn: Connection[Any]) -> None:
    """Each instrument has its codes and timeframes, shortest first, with Moscow dates and counts."""
    found = {row.secid: row for row in instruments(conn)}
    assert len(found) == len(CARDS)
    assert found["T"].secids == ["TCSG", "T"]
    assert [(s.timeframe, s.first, s.last, s.rows) for s in found["SBER"].timeframes] == [
        ("1m", FIRST_DATE, FIRST_DATE, 30),
        ("1d", FIRST_DATE, day(24), 25),
    ]
    assert found["X5"].timeframes == []
    assert [row.secid for row in instruments(conn, limit=1)] == ["GMKN"]


def test_dates_are_moscow_dates_and_inclusive(conn: Connection[Any]) -> None:
    """A day's candle begins at 21:00 UTC of the day before; it is found by its Moscow date."""
    page = candles(conn, "SBER", "TQBR", "1d", day(3), day(5))
    assert column(page, "trade_date") == [day(3), day(4), day(5)]
    assert column(page, "begin_at")[0] == day_start(day(3))
    assert page.data_version == 1
    assert page.next_token is None


def test_prices_are_adjusted_or_raw(conn: Connection[Any]) -> None:
    """`split` makes prices and volumes before a split comparable, `none` leaves them and moves the SMA to them."""
    adjusted = candles(conn, "GMKN", None, "1d", day(9), day(10), "split")
    raw = candles(conn, "GMKN", None, "1d", day(9), day(10), "none")
    assert column(adjusted, "close") == [150.0, 150.0]
    assert column(raw, "close") == [15000.0, 150.0]
    assert column(adjusted, "volume") == [1000.0, 10.0]
    assert column(raw, "volume") == [10.0, 10.0]
    assert column(adjusted, "sma_20") == [150.0, 150.0]
    assert column(raw, "sma_20") == [15000.0, 150.0]
    assert column(adjusted, "rsi_14") == column(raw, "rsi_14")


@pytest.mark.parametrize("secid", ["T", "TCSG"])
def test_a_former_code_finds_the_instrument(conn: Connection[Any], secid: str) -> None:
    """TCSG and T are one series; each candle says which code it had on its day."""
    page = candles(conn, secid, None, "1d")
    assert column(page, "secid") == ["TCSG"] * RENAMED + ["T"] * 10


@pytest.mark.parametrize("limit", [1, 7, 25, 1000])
def test_pages_join_to_the_whole(conn: Connection[Any], limit: int) -> None:
    """Following the tokens gives every candle once, in order, whatever the size of a page."""
    whole = candles(conn, "SBER", None, "1d", limit=10_000)
    rows, token = [], None
    while True:
        page = candles(conn, "SBER", None, "1d", limit=limit, token=token)
        assert len(page.rows) <= limit
        rows += page.rows
        token = page.next_token
        if token is None:
            break
    assert rows == whole.rows
    assert len(rows) == 25


def test_a_token_of_a_moved_version_is_refused(dsn: str, conn: Connection[Any], gold: GoldLake) -> None:
    """A publish between two pages: the second one says so instead of mixing versions."""
    page = candles(conn, "SBER", None, "1d", limit=5)
    gold.put(fact(1, 40))
    publish_gold(dsn, gold.lake)
    with pytest.raises(DataMoved, match=r"candles of SBER 1d: the data moved from version 1 to 2 .* start again"):
        candles(conn, "SBER", None, "1d", limit=5, token=page.next_token)
    assert candles(conn, "SBER", None, "1d", limit=5).data_version == 2


def test_a_token_of_another_query_is_refused(conn: Connection[Any]) -> None:
    """A token continues the query it came with and no other."""
    page = candles(conn, "SBER", None, "1d", limit=5)
    for changed in ({"adjust": "none"}, {"till": day(9)}, {"board": "TQBR"}):
        with pytest.raises(BadInput, match="the token does not continue this query"):
            candles(conn, "SBER", **({"board": None, "timeframe": "1d", "token": page.next_token} | changed))


def test_no_candles_is_an_empty_page(conn: Connection[Any]) -> None:
    """A known instrument without candles in the range, or of the timeframe, answers with no rows and the version."""
    for page in (candles(conn, "SBER", None, "1d", day(300), day(400)), candles(conn, "X5", None, "1h")):
        assert (page.rows, page.data_version, page.next_token) == ([], 1, None)


def test_unknown_tickers_boards_and_timeframes_are_refused(conn: Connection[Any]) -> None:
    """Each refusal says what was asked and what there is."""
    with pytest.raises(BadInput, match="'SBERR' is not a ticker that is loaded"):
        candles(conn, "SBERR", None, "1d")
    with pytest.raises(BadInput, match="SBER is published from its main board TQBR, not from SMAL"):
        candles(conn, "SBER", "SMAL", "1d")
    with pytest.raises(BadInput, match="timeframe '5m' is not one of 1m, 10m"):
        candles(conn, "SBER", None, "5m")


def test_a_page_reads_its_rows_by_index(conn: Connection[Any]) -> None:
    """A page in a large table walks the key: no scan of all facts, no sort of a whole series."""
    conn.execute("SET enable_seqscan = off")
    parameters = {"secid": "SBER", "timeframe": "1d", "from_at": day_start(day(0)), "till_at": day_start(day(20))}
    plan = conn.execute("EXPLAIN " + _CANDLES["split"], parameters | {"after": None, "limit": 11}).fetchall()
    text = "\n".join(row[0] for row in plan)
    assert "fact_candle_1_pkey" in text
