"""
What a run gave back, as the host believes it.

The child that ran a stranger's program writes one JSON document; nothing in it is trusted. What can be shown is taken
over piece by piece into the types below; a figure or a table that cannot is replaced by a line that says why.

    {"v": 1, "status": "done" | "error", "error": text | null, "is_truncated": true | false, "items": [
        {"kind": "text", "stream": "out" | "err", "text": text},
        {"kind": "table", "name": text, "columns": [text, ...], "rows": [[text, ...], ...], "row_count": n},
        {"kind": "figure", "json": {"data": [...], "layout": {...}}}]}
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from lakehouse.market.errors import LakehouseError
from lakehouse.sandbox.figures import BadFigure, checked_figure
from lakehouse.sandbox.text import clean, cut, cut_bytes

MAX_ITEMS = 500
MAX_FIGURES = 50
MAX_DEPTH = 40
MAX_CONTAINERS = 200_000  # objects and lists of the whole document
MAX_COLUMNS = 200
MAX_ROWS = 10_000
MAX_CELL = 1_000  # characters
MAX_NAME = 200
MAX_ERROR = 16_000
MAX_ROW_COUNT = 10**12

# A text that never ends goes to the end: no position is looked at twice
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class BadResult(LakehouseError):
    """What the child wrote is no result: it is broken, larger than a result may be, or made to harm."""


class Bounds(Protocol):
    """How large a result may be."""

    @property
    def result_bytes(self) -> int:
        """Most bytes of the document."""

    @property
    def text_bytes(self) -> int:
        """Most bytes of its texts, all together."""


@dataclass(frozen=True)
class Text:
    """What was printed, or a value's text."""

    text: str
    stream: Literal["out", "err"]


@dataclass(frozen=True)
class TableItem:
    """The first rows of a table, as text; *row_count* is how many it had."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    row_count: int


@dataclass(frozen=True)
class Figure:
    """A figure of Plotly, with ``data`` and ``layout``, and the names of what was left out of it."""

    document: dict[str, Any]
    left_out: tuple[str, ...]


Item = Text | TableItem | Figure


@dataclass(frozen=True)
class Document:
    """A result: what was shown in the order made, the error in the analyst's own lines, whether text was cut."""

    status: Literal["done", "error"]
    items: tuple[Item, ...]
    error: str | None
    is_truncated: bool


class _BadItem(LakehouseError):
    """An item that cannot be shown."""


def parse(raw: bytes, limits: Bounds) -> Document:
    """Return what can be shown of a child's result; raise BadResult, and nothing else, when it is no result."""
    if len(raw) > limits.result_bytes:
        raise BadResult(
            f"the result is larger than {limits.result_bytes >> 20} MiB: show fewer rows, draw fewer points"
        )
    document = _json_object(raw)
    status, items, error = document.get("status"), document.get("items"), document.get("error")
    if document.get("v") != 1 or not isinstance(items, list) or not isinstance(error, str | None):
        raise BadResult("the result is not what a run writes: the program changed it, or it was cut")
    if status not in ("done", "error"):
        raise BadResult("the result names no outcome: the program changed it, or it was cut")
    shown = _Shown(limits.text_bytes)
    for item in items[:MAX_ITEMS]:
        shown.add(item)
    shown.is_truncated |= len(items) > MAX_ITEMS or document.get("is_truncated") is True
    error = None if error is None else cut(clean(cut(error, 2 * MAX_ERROR)), MAX_ERROR)
    return Document(status, tuple(shown.items), error, shown.is_truncated)


class _Shown:
    """The items so far, and how much text may still come."""

    def __init__(self, text_bytes: int) -> None:
        self.items: list[Item] = []
        self.is_truncated = False
        self.text_left = text_bytes
        self.figures = 0

    def add(self, raw: object) -> None:
        kind = raw.get("kind") if isinstance(raw, dict) else None
        try:
            if not isinstance(raw, dict):
                raise _BadItem("something was left out: it is no text, table or figure")
            if kind == "text":
                self._add_text(raw)
            elif kind == "table":
                self.items.append(_table(raw))
            elif kind == "figure":
                self._add_figure(raw)
            else:
                raise _BadItem("something was left out: it is no text, table or figure")
        except BadFigure as error:
            self.items.append(Text(f"A figure was left out: {error}", "err"))
        except _BadItem as error:
            self.items.append(Text(str(error), "err"))

    def _add_text(self, raw: dict[str, Any]) -> None:
        text, stream = raw.get("text"), raw.get("stream")
        if not isinstance(text, str) or stream not in ("out", "err"):
            raise _BadItem("a text was left out: it is no text")
        shown = cut_bytes(clean(text), self.text_left)
        self.text_left -= len(shown.encode())
        self.is_truncated |= len(shown) < len(clean(text))
        if shown:
            self.items.append(Text(shown, stream))

    def _add_figure(self, raw: dict[str, Any]) -> None:
        self.figures += 1
        if self.figures > MAX_FIGURES:
            raise BadFigure(f"{MAX_FIGURES} are shown of one run")
        self.items.append(Figure(*checked_figure(raw.get("json"))))


def _table(raw: dict[str, Any]) -> TableItem:
    name, columns, rows, count = (raw.get(key) for key in ("name", "columns", "rows", "row_count"))
    if not isinstance(columns, list) or not isinstance(rows, list) or not isinstance(name, str | None):
        raise _BadItem("a table was left out: it has no columns or no rows")
    if len(columns) > MAX_COLUMNS or len(rows) > MAX_ROWS:
        raise _BadItem(
            f"a table was left out: {len(rows):,} rows of {len(columns):,} columns are more than "
            f"{MAX_ROWS:,} of {MAX_COLUMNS}: show less of it, such as df.head(1000)"
        )
    if any(not isinstance(row, list) or len(row) != len(columns) for row in rows):
        raise _BadItem("a table was left out: its rows are not as long as its columns are many")
    if type(count) is not int or not len(rows) <= count <= MAX_ROW_COUNT:
        count = len(rows)
    return TableItem(
        _cell(name or "", MAX_NAME),
        tuple(_cell(column, MAX_NAME) for column in columns),
        tuple(tuple(map(_cell, row)) for row in rows),
        count,
    )


def _cell(raw: object, most: int = MAX_CELL) -> str:
    if not isinstance(raw, str):
        raise _BadItem("a table was left out: its cells are not texts")
    return cut(clean(cut(raw, 2 * most)), most)


def _json_object(raw: bytes) -> dict[str, Any]:
    """Parse strict JSON: bounded in depth and parts before it is parsed, no key twice, no NaN."""
    _check_nesting(raw)
    try:
        document = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except BadResult:
        raise
    except (ValueError, RecursionError):  # also UnicodeDecodeError, and integers of thousands of digits
        raise BadResult("the result is no JSON: the program changed it, or it was cut") from None
    if not isinstance(document, dict):
        raise BadResult("the result is no JSON object: the program changed it")
    return document


def _check_nesting(raw: bytes) -> None:
    brackets = _STRING.sub(b"", raw).translate(None, _NO_BRACKETS)
    if len(brackets) > 2 * MAX_CONTAINERS:
        raise BadResult(f"the result has over {MAX_CONTAINERS:,} parts: show less")
    depth = 0
    for bracket in brackets:
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise BadResult(f"the result is nested deeper than {MAX_DEPTH} levels: show something simpler")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise BadResult("the result names a key twice: the program changed it")
    return document


def _no_number(_: str) -> None:
    """Stand for NaN and Infinity, which are no JSON: nothing."""
