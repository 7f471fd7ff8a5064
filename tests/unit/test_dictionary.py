from __future__ import annotations

from pathlib import Path

import pytest

from infra import dictionary
from infra.installing.environment import ROOT
from lakehouse.market.candle import CANDLES, FACT_CANDLE, GOLD, HISTORY, QUARANTINE, SILVER


def test_dictionary_is_current() -> None:
    """The committed dictionary is what the declarations say."""
    assert dictionary.main(["--check"]) == 0


def test_dictionary_has_every_column() -> None:
    """Every table has its section, and every column its line with its meaning."""
    text = dictionary.dictionary()
    for table in (*SILVER, QUARANTINE, *GOLD):
        section = text.partition(f"## {table.name}\n")[2].partition("\n## ")[0]
        for column in table.columns:
            line = next(line for line in section.splitlines() if line.startswith(f"| `{column.name}` |"))
            assert line.endswith(f"| {column.unit} | {column.meaning} |")


def test_a_bonds_price_is_never_said_to_be_money_and_turnover_always_is() -> None:
    """In the dictionary and GET /v1/schema, which are made of these columns, and in what analysts are told of df."""
    prices = {"open", "high", "low", "close", "legal_close", "waprice", "sma_20"}
    for table in (CANDLES, HISTORY, FACT_CANDLE):
        for column in table.columns:
            assert ("of bonds % of face value (clean)" in column.unit) == (column.name in prices), column.name
        assert table.column("value").unit == "instrument currency"
    told = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8")
    close, value = FACT_CANDLE.column("close").unit, FACT_CANDLE.column("value").unit
    assert f"| `open`, `high`, `low`, `close` | float64 | {close} |" in told
    assert f"| `value` | float64 | {value} |" in told


def test_stale_dictionary_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dictionary that is missing or differs is told with the remedy; writing it is the remedy."""
    path = tmp_path / "dictionary.md"
    assert dictionary.main(["--check"], path) == 1
    assert capsys.readouterr().err == (
        "Error: docs/dictionary.md is not what the tables are: run `python -m infra.dictionary`\n"
    )
    assert dictionary.main([], path) == 0
    assert dictionary.main(["--check"], path) == 0
