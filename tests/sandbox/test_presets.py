"""The examples of the page Analysis, run as programs in the sandbox on a made market."""

from __future__ import annotations

from functools import cache

import pyarrow as pa
import pytest

from gradio_app.presets import PRESETS, Preset
from lakehouse.sandbox.document import Figure, Item, TableItem, Text
from lakehouse.sandbox.host import Sandbox
from tests.browser import made_market
from tests.sandboxes import PATIENT

# What each shows: figures, and columns of its last table
SHOWN = {
    "features": (1, {"secid", "return", "volatility", "atr", "rsi", "volume_z"}),
    "correlation": (1, {"one", "other", "correlation"}),
    "seasonality": (2, {"hour", "count", "mean", "std"}),
    "drawdown": (1, {"secid", "deepest, %", "from", "low", "back"}),
    "cross": (2, {"strategy", "buy and hold"}),
    "quality": (1, {"trade_date", "secid", "candles", "usual"}),
}


@cache
def frame(timeframe: str, instruments: int) -> bytes:
    """Return candles of the made market as the page hands them over, adjusted."""
    rows = [
        row
        for made in made_market.MARKET[:instruments]
        for row in made_market.candles(made)
        if row["timeframe"] == timeframe
    ]
    if timeframe == "1d":
        rows = [row for number, row in enumerate(rows) if number % 97 != 50]  # dates that are missing
    adjusted = [
        {name: row[name] * (row["split_factor"] if name in ("open", "high", "low", "close") else 1) for name in _PRICES}
        for row in rows
    ]
    table = pa.table(
        {
            "secid": pa.array([row["secid"] for row in rows]).dictionary_encode(),
            "begin_at": pa.array([row["begin_at"] for row in rows], pa.timestamp("ns", "UTC")),
            "trade_date": pa.array([row["trade_date"] for row in rows]).cast(pa.timestamp("ns")),
            **{name: pa.array([row[name] for row in adjusted], pa.float64()) for name in _PRICES},
            "volume": pa.array(
                [float("nan") if row["volume"] is None else row["volume"] for row in rows], pa.float64()
            ),
            "is_final": pa.array([row["is_final"] for row in rows]),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def run(sandbox: Sandbox, preset: Preset, timeframe: str, instruments: int) -> tuple[Item, ...]:
    outcome = sandbox.run(preset.code, frame(timeframe, instruments), user=f"preset-{preset.key}", limits=PATIENT)
    assert (outcome.status, outcome.error, outcome.message) == ("done", None, None)
    assert [item for item in outcome.items if isinstance(item, Text) and item.stream == "err"] == []
    return outcome.items


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: str(preset.key))
def test_an_example_gives_its_figures_and_its_table(sandbox: Sandbox, preset: Preset) -> None:
    """On daily candles of several instruments each example says something, draws, and ends with its table."""
    items = run(sandbox, preset, "1d", len(made_market.MARKET))
    figures, columns = SHOWN[preset.key]
    assert isinstance(items[0], Text)
    drawn = [item for item in items if isinstance(item, Figure)]
    assert len(drawn) == figures
    assert all(figure.document["data"] and figure.left_out == () for figure in drawn)
    table = next(item for item in reversed(items) if isinstance(item, TableItem))
    assert columns <= set(table.columns)
    assert table.rows


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: str(preset.key))
@pytest.mark.parametrize(("timeframe", "instruments"), [("1d", 1), ("1m", 1)])
def test_an_example_takes_what_there_is(sandbox: Sandbox, preset: Preset, timeframe: str, instruments: int) -> None:
    """One instrument, and minutes in place of days, are enough for each of them to end well."""
    assert any(isinstance(item, Figure) for item in run(sandbox, preset, timeframe, instruments))


def test_there_is_an_example_of_everything_promised() -> None:
    """Names are distinct, code fits the page, and every example is tested."""
    assert {preset.key for preset in PRESETS} == set(SHOWN)
    assert all(len(line) <= 125 for preset in PRESETS for line in preset.code.splitlines())


_PRICES = ("open", "high", "low", "close", "value")
