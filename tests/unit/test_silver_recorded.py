"""Rows of the exchange's recorded data through parsing and rules: all arrive with their own values, none is refused."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lakehouse.bronze.ledger import LedgerObject
from lakehouse.market.moscow import to_utc
from lakehouse.silver.parse import Source, parse
from tests.bronze_objects import CANDLE_COLUMNS, block, bronze_object, candles_object

pytestmark = pytest.mark.recorded

EVER: dict[str, Any] = {
    "from_": dt.date(2001, 1, 1),
    "till": dt.date(2026, 12, 31),
    "fetched_at": dt.datetime(2027, 1, 2, tzinfo=dt.UTC),
}
PRICES = ("open", "high", "low", "close")


def records(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def number(text: str) -> float | None:
    return float(text) if text else None


def parsed(object_and_body: tuple[LedgerObject, bytes]) -> list[dict[str, Any]]:
    object_, body = object_and_body
    names = ("object_key", "family", "engine", "market", "board", "secid", "timeframe")
    times = ("span_from", "span_till", "fetched_at")
    described: dict[str, Any] = {name: getattr(object_, name) for name in (*names, *times)}
    source = Source(object_id=0, series_id=0, known_from=object_.fetched_at, is_new=True, **described)
    return [row for batch in parse(source, body) for row in batch.to_pylist()]


def assert_all_there(found: Sequence[dict[str, Any]], given: Sequence[dict[str, str]], columns: Sequence[str]) -> None:
    assert [row["rule"] for row in found] == [None] * len(given)
    for name in columns:
        assert [row[name] for row in found] == [number(record[name]) for record in given]


@pytest.mark.parametrize(
    ("file", "secid", "board", "timeframe"),
    [("daily_candles/SBER.csv", "SBER", "TQBR", "1d"), ("minute_candles/EQMX.csv", "EQMX", "TQTF", "1m")],
)
def test_recorded_candles_are_all_accepted(
    recorded_dir: Path, file: str, secid: str, board: str, timeframe: str
) -> None:
    """Partial days, odd ends, dates without a time and holes are the exchange's own: no rule refuses them."""
    given = records(recorded_dir / file)
    texts = ("begin", "end")
    rows = [[record[name] if name in texts else number(record[name]) for name in CANDLE_COLUMNS] for record in given]
    found = parsed(candles_object(rows, secid=secid, board=board, timeframe=timeframe, **EVER))
    assert_all_there(found, given, (*PRICES, "value", "volume"))
    begins = [to_utc(dt.datetime.fromisoformat(record["begin"])) for record in given]
    assert [row["begin_at"] for row in found] == begins
    assert len(found) == {"SBER": 3489, "EQMX": 2527 - 1}[secid]


@pytest.mark.parametrize("secid", ["SBER", "GAZP", "VTBR", "GMKN", "T", "TCSG"])
def test_recorded_history_is_all_accepted(recorded_dir: Path, secid: str) -> None:
    """Raw prices across splits and boards are no rule's business."""
    given = records(recorded_dir / "daily_history" / f"{secid}.csv")
    columns = ("BOARDID", "TRADEDATE", "SECID", "OPEN", "HIGH", "LOW", "CLOSE", "VOLUME", "VALUE")
    names = ("open", "high", "low", "close", "volume", "value")
    rows = [[record["board"], record["date"], secid, *(number(record[name]) for name in names)] for record in given]
    found = parsed(bronze_object("history", [{"history": block(columns, rows)}], rows=len(rows), secid=secid, **EVER))
    assert_all_there(found, given, names)
    assert [(row["board"], f"{row['trade_date']}") for row in found] == [(one["board"], one["date"]) for one in given]


def test_an_index_has_no_volume(recorded_dir: Path) -> None:
    """IMOEX's history: prices, no turnover."""
    given = records(recorded_dir / "index_history" / "IMOEX.csv")
    columns = ("BOARDID", "SECID", *given[0])
    rows = [["SNDX", "IMOEX", one["TRADEDATE"], *(number(one[name]) for name in list(one)[1:])] for one in given]
    made = bronze_object(
        "history", [{"history": block(columns, rows)}], rows=len(rows), market="index", secid="IMOEX", **EVER
    )
    found = parsed(made)
    assert_all_there(found, [{name.lower(): text for name, text in one.items()} for one in given], PRICES)
    assert {row["volume"] for row in found} == {None}
