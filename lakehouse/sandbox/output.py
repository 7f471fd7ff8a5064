"""
What an analyst's program shows, collected in the child as the one document that leaves it.

Bounds here are a courtesy (what is too much is cut, and said): the runner and the host keep their own.
"""

from __future__ import annotations

import io
from typing import Any, Literal

import orjson
import pandas as pd
from plotly.basedatatypes import BaseFigure

_TABLE_ROWS = 10_000
_TABLE_COLUMNS = 200
_TEXT_OF_ONE_OBJECT = 20_000
_ROOM_FOR_THE_REST = 4096


class Output:
    """
    Items in the order in which they were made.

    Args:
        text_bytes: Most that is printed.
        result_bytes: Most that the document takes.
    """

    def __init__(self, text_bytes: int, result_bytes: int) -> None:
        self._items: list[bytes] = []
        self._printed: list[str] = []
        self._stream = "out"
        self._text_left, self._left = text_bytes, result_bytes - _ROOM_FOR_THE_REST
        self._is_truncated = False

    def write(self, text: str, stream: Literal["out", "err"]) -> None:
        """Add printed text."""
        if stream != self._stream:
            self._flush()
            self._stream = stream
        encoded = text.encode("utf-8", "replace")
        if len(encoded) > self._text_left:
            self._is_truncated = True
        kept = encoded[: self._text_left].decode("utf-8", "ignore")
        self._text_left -= len(encoded[: self._text_left])
        if kept:
            self._printed.append(kept)

    def show(self, thing: Any) -> None:
        """Add a figure, a table, or the text of anything else."""
        if isinstance(thing, BaseFigure):
            self._add({"kind": "figure", "json": orjson.Fragment(thing.to_json(validate=False))}, "a figure")
        elif isinstance(thing, pd.DataFrame | pd.Series):
            self._add(_table(thing), "a table")
        else:
            text = thing if isinstance(thing, str) else repr(thing)
            if len(text) > _TEXT_OF_ONE_OBJECT:
                self._is_truncated = True
            self.write(text[:_TEXT_OF_ONE_OBJECT] + "\n", "out")

    def document(self, status: Literal["done", "error"], error: str | None) -> bytes:
        """Return the JSON document."""
        self._flush()
        items = [orjson.Fragment(item) for item in self._items]
        return orjson.dumps(
            {"v": 1, "status": status, "items": items, "error": error, "is_truncated": self._is_truncated}
        )

    def _flush(self) -> None:
        if self._printed:
            text, self._printed = "".join(self._printed), []
            self._add({"kind": "text", "stream": self._stream, "text": text}, "printed text")

    def _add(self, item: dict[str, Any], what: str) -> None:
        if item["kind"] != "text":
            self._flush()
        encoded = orjson.dumps(item)
        if len(encoded) > self._left:
            self._is_truncated = True
            told = f"[{what} of {len(encoded) / 1e6:.1f} MB is left out: the result would be too large]\n"
            encoded = orjson.dumps({"kind": "text", "stream": "err", "text": told})
            if len(encoded) > self._left:
                return
        self._left -= len(encoded) + 1
        self._items.append(encoded)


class Printer(io.TextIOBase):
    """A text stream that writes to the output."""

    def __init__(self, output: Output, stream: Literal["out", "err"]) -> None:
        self._output, self._to = output, stream

    def writable(self) -> bool:
        """Return whether it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Add *text* to the output."""
        self._output.write(text, self._to)
        return len(text)


def _table(thing: pd.DataFrame | pd.Series) -> dict[str, Any]:
    name = thing.name if isinstance(thing, pd.Series) else None
    frame = thing.to_frame() if isinstance(thing, pd.Series) else thing
    count = len(frame)
    frame = frame.iloc[:_TABLE_ROWS, :_TABLE_COLUMNS]
    levels = (
        [] if _is_plain(frame.index) else [frame.index.get_level_values(level) for level in range(frame.index.nlevels)]
    )
    names = [str(name) if name is not None else "" for name in frame.index.names] if levels else []
    columns = names + [" / ".join(map(str, each)) if isinstance(each, tuple) else str(each) for each in frame.columns]
    cells = [_texts(level) for level in levels] + [_texts(frame.iloc[:, at]) for at in range(frame.shape[1])]
    rows = list(map(list, zip(*cells, strict=True)))
    return {
        "kind": "table",
        "name": None if name is None else str(name),
        "columns": [_clean(column) for column in columns],
        "rows": rows,
        "row_count": count,
    }


def _is_plain(index: pd.Index) -> bool:
    return isinstance(index, pd.RangeIndex) and index.name is None


def _texts(values: Any) -> list[str]:
    missing = pd.isna(values)
    return ["" if is_missing else _clean(str(value)) for value, is_missing in zip(values, missing, strict=True)]


def _clean(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
