"""Rows in quarantine reach PostgreSQL, and are listed with rule, payload and Bronze reference."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from lakehouse.database.connection import connect
from lakehouse.market.candle import QUARANTINE
from lakehouse.market.errors import BadInput
from lakehouse.serving.publish_quarantine import publish_quarantine
from lakehouse.serving.quarantine import QuarantinedRow, RuleCount, quarantined, rule_counts
from lakehouse.silver.arrow import arrow_schema
from lakehouse.silver.lake import Lake

pytestmark = pytest.mark.postgres
AT = dt.datetime(2026, 3, 5, 7, tzinfo=dt.UTC)


def row(number: int, **rest: Any) -> dict[str, Any]:
    return {
        **{"family": "candles", "engine": "stock", "market": "shares", "board": "TQBR", "secid": "SBER"},
        **{"timeframe": "1d", "rule": "high below low", "payload": f'{{"close": {number}}}'},
        **{"source": f"iss/x#1.{number}", "fetched_at": AT + dt.timedelta(minutes=number), **rest},
    }


def write(lake: Path, *rows: dict[str, Any]) -> None:
    table = pa.Table.from_pylist(list(rows), schema=arrow_schema(QUARANTINE))
    write_deltalake(Lake(str(lake)).at(QUARANTINE).url, table, mode="overwrite")


def test_what_is_in_quarantine_is_listed(dsn: str, tmp_path: Path) -> None:
    """Newest fetch first, each with its table, rule, payload and place in Bronze; published once per version."""
    write(tmp_path, row(1), row(2, family="history", timeframe=None, board=""))
    assert publish_quarantine(dsn, Lake(str(tmp_path))) == 2
    assert publish_quarantine(dsn, Lake(str(tmp_path))) == -1
    with connect(dsn, "lakehouse_app") as conn:
        rows, token = quarantined(conn)
        assert rule_counts(conn) == [
            RuleCount("silver.candles", "high below low", 1),
            RuleCount("silver.history", "high below low", 1),
        ]
    assert token is None
    assert [found.table for found in rows] == ["silver.history", "silver.candles"]
    assert rows[1] == QuarantinedRow(
        "silver.candles", "stock", "shares", "TQBR", "SBER", "1d", "high below low", '{"close": 1}', "iss/x#1.1",
        AT + dt.timedelta(minutes=1),
    )  # fmt: skip


def test_what_left_the_quarantine_is_listed_no_more(dsn: str, tmp_path: Path) -> None:
    """The list equals the table, whatever was published before."""
    write(tmp_path, row(1), row(2))
    publish_quarantine(dsn, Lake(str(tmp_path)))
    write(tmp_path, row(2))
    assert publish_quarantine(dsn, Lake(str(tmp_path))) == 1
    with connect(dsn) as conn:
        assert [found.source for found in quarantined(conn)[0]] == ["iss/x#1.2"]
        assert [count.rows for count in rule_counts(conn)] == [1]


def test_a_list_without_end_is_cut_and_counted_whole(dsn: str, tmp_path: Path) -> None:
    """The newest rows are listed, long payloads cut; the counts are those of all rows."""
    write(tmp_path, *[row(number, payload="x" * 10_000) for number in range(5)])
    assert publish_quarantine(dsn, Lake(str(tmp_path)), listed=2) == 5
    with connect(dsn) as conn:
        rows, _ = quarantined(conn)
        assert ([found.source for found in rows], {len(found.payload) for found in rows}) == (
            ["iss/x#1.4", "iss/x#1.3"],
            {4000},
        )
        assert [count.rows for count in rule_counts(conn)] == [5]


def test_pages_hold_every_row_once(dsn: str, tmp_path: Path) -> None:
    """Rows of one instant are not lost between pages; filters hold over all pages."""
    write(tmp_path, *[row(number, fetched_at=AT) for number in range(7)], row(8, secid="GAZP"), row(9, rule="no begin"))
    publish_quarantine(dsn, Lake(str(tmp_path)))
    with connect(dsn) as conn:
        sources, token = [], None
        while True:
            page, token = quarantined(conn, table="candles", secid="SBER", rule="high below low", limit=3, token=token)
            sources += [found.source for found in page]
            if token is None:
                break
    assert sources == [f"iss/x#1.{number}" for number in range(7)]


@pytest.mark.parametrize("token", ["x", "////", "bnVsbA", "W10", "WyIyMDI2LTAzLTA1IiwieCJd", "WyIyMDI2Il0"])
def test_a_made_up_token_is_refused(dsn: str, token: str) -> None:
    """A token that the list did not give starts no list."""
    with connect(dsn) as conn, pytest.raises(BadInput, match=r"^the token is not one that this list gave: start again"):
        quarantined(conn, token=token)


def test_a_table_that_is_none_is_refused(dsn: str) -> None:
    """The message names the tables there are."""
    with connect(dsn) as conn, pytest.raises(BadInput, match=r"^table 'x' is not one of silver\.candles, silver\.hist"):
        quarantined(conn, table="x")


def test_nothing_is_published_before_silver_is_made(dsn: str, tmp_path: Path) -> None:
    """A lake without the table is no error."""
    assert publish_quarantine(dsn, Lake(str(tmp_path))) == -1
