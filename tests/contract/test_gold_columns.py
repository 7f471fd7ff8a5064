"""Gold is one thing: its declaration, PostgreSQL's tables and what the queries give."""

from __future__ import annotations

import pytest

from lakehouse.database.connection import connect
from lakehouse.gold.series import CANDLE, SERIES, difference_schema
from lakehouse.market.candle import CANDLES, FACT_CANDLE, GOLD
from lakehouse.market.table import Table, Type
from lakehouse.serving.publish import publish_gold
from lakehouse.serving.queries import CANDLE_COLUMNS, candles
from tests.gold_lake import FIRST_DATE, GoldLake, fact, instrument

POSTGRES: dict[Type, str] = {
    "string": "text",
    "double": "double precision",
    "long": "bigint",
    "int": "integer",
    "boolean": "boolean",
    "timestamp": "timestamp with time zone",
    "date": "date",
}


@pytest.mark.postgres
@pytest.mark.parametrize("table", GOLD, ids=lambda table: table.name)
def test_postgres_has_the_declared_columns(dsn: str, table: Table) -> None:
    """Readers find the columns of the declaration, in its order, with its types."""
    with connect(dsn) as conn:
        found = conn.execute(
            "SELECT column_name::text, data_type::text FROM information_schema.columns"
            " WHERE table_schema || '.' || table_name = %s ORDER BY ordinal_position",
            (table.name,),
        ).fetchall()
    assert found == [(column.name, POSTGRES[column.type]) for column in table.columns]


@pytest.mark.postgres
def test_postgres_refuses_null_where_the_declaration_does(dsn: str) -> None:
    """A column of facts is NOT NULL exactly where it is declared so."""
    with connect(dsn) as conn:
        found = conn.execute(
            "SELECT column_name::text FROM information_schema.columns WHERE table_schema = 'store'"
            " AND table_name = 'fact_candle' AND is_nullable = 'YES'"
        ).fetchall()
    assert {row[0] for row in found} == {column.name for column in FACT_CANDLE.columns if column.nullable}


def test_a_fact_is_made_of_candle_series_and_indicators() -> None:
    """Every column of fact_candle comes from Silver under the same name and type, names the series, or is computed."""
    computed = {"split_factor", "sma_20", "rsi_14"}
    assert {*CANDLE, *SERIES} | computed == set(FACT_CANDLE.names)
    for name in CANDLE:
        assert CANDLES.column(name).type == FACT_CANDLE.column(name).type
    assert difference_schema().names == [*FACT_CANDLE.names, "op"]


@pytest.mark.postgres
def test_a_page_has_the_columns_it_says(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A page's rows are as wide as its columns, which are columns of fact_candle, each in its place."""
    gold = GoldLake(tmp_path_factory.mktemp("gold"))
    row = fact(1, 0) | {"open": 2.0, "high": 9.0, "low": 1.0, "close": 3.0, "value": 4.0, "volume": 5.0, "sma_20": 6.0}
    gold.create([row], [instrument(1, "SBER")])
    publish_gold(dsn, gold.lake)
    with connect(dsn) as conn:
        page = candles(conn, "SBER", None, "1d", FIRST_DATE, FIRST_DATE)
    assert set(CANDLE_COLUMNS) < set(FACT_CANDLE.names)
    assert dict(zip(page.columns, page.rows[0], strict=True)) == {name: row[name] for name in CANDLE_COLUMNS}
