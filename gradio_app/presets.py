"""Examples of the page Analysis: programs that work on whatever candles are loaded (presets.toml)."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lakehouse.market.timeframe import Timeframe
from lakehouse.serving.queries import InstrumentRow

_FILE = Path(__file__).parent / "presets.toml"


@dataclass(frozen=True)
class Preset:
    """A program, and the data it is made for: the first of *timeframes* that is loaded, at most *instruments*."""

    key: str
    name: str
    about: str
    code: str
    timeframes: tuple[Timeframe, ...]
    instruments: int

    def choose(self, loaded: Sequence[InstrumentRow], wanted: Sequence[str]) -> tuple[Timeframe, list[str]]:
        """
        Return which of what is loaded the program takes: the instruments *wanted* first, then those with most candles.

        Where no timeframe of its own is loaded it is the first one, and no instruments.
        """
        for timeframe in self.timeframes:
            rows = {
                row.secid: series.rows for row in loaded for series in row.timeframes if series.timeframe == timeframe
            }
            if rows:
                order = sorted(rows, key=lambda secid: (secid not in wanted, -rows[secid], secid))
                return timeframe, order[: self.instruments]
        return self.timeframes[0], []


def _read() -> tuple[Preset, ...]:
    document = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return tuple(
        Preset(**{**item, "code": item["code"].strip() + "\n", "timeframes": tuple(map(Timeframe, item["timeframes"]))})
        for item in document["preset"]
    )


PRESETS = _read()
