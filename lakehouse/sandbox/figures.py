"""
Figures that a stranger's program made, as the page may show them.

Only what is on the lists of figure_names.py remains; every text is made harmless (text.py); numbers are finite; sizes
are such that a browser draws them. The page brings its own template and configuration.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from dataclasses import dataclass, field
from typing import Any

from lakehouse.market.errors import LakehouseError
from lakehouse.sandbox.figure_bins import without_tiny_bins
from lakehouse.sandbox.figure_names import NAMES, TRACE_TYPES
from lakehouse.sandbox.text import clean, cut, figure_text, narrow_format

MAX_TRACES = 200
MAX_VALUES = 1_000_000  # numbers and texts of one figure
MAX_OBJECTS = 5_000
MAX_DEPTH = 12
MAX_TEXT = 2_000  # characters of one text
MAX_HEIGHT = 2_000  # pixels
_MAX_COUNT = 1_000  # of bins, ticks, contours
_MAX_CELLS = 50  # rows and columns of a grid of plots
_SHOWN_NAMES = 10

# xaxis2, scene3: a name with the number of its plot
_NUMBERED = re.compile(r"(xaxis|yaxis|scene|polar|coloraxis|legend)[1-9][0-9]?")
_COUNTS = frozenset({"nbinsx", "nbinsy", "ncontours", "nticks", "maxdisplayed"})
# What the page decides itself, so that nobody misses it
_QUIET = frozenset({"template", "width", "uid"})
_ITEM_BYTES = {"i1": 1, "u1": 1, "i2": 2, "u2": 2, "i4": 4, "u4": 4, "f4": 4, "f8": 8}
_FINEST = 2**53


class BadFigure(LakehouseError):
    """A figure that cannot be shown; the message says what to change."""


def checked_figure(raw: object) -> tuple[dict[str, Any], tuple[str, ...]]:
    """
    Return the figure to show, with ``data`` and ``layout``, and the names of what was left out of it.

    *raw* is what `json.loads` made of Plotly's own JSON. Raises BadFigure.
    """
    if not isinstance(raw, dict):
        raise BadFigure("this is no figure: it has neither data nor a layout")
    traces, layout = raw.get("data", []), raw.get("layout", {})
    if not isinstance(traces, list) or not isinstance(layout, dict):
        raise BadFigure("this is no figure: its data is no list, or its layout no object")
    if len(traces) > MAX_TRACES:
        raise BadFigure(f"the figure has {len(traces):,} traces, and {MAX_TRACES} can be shown: draw fewer")
    walk = _Walk()
    shown = {"data": [_trace(trace, walk) for trace in traces], "layout": _layout(layout, walk)}
    walk.left_out.update(clean(cut(str(name), 40)) for name in raw.keys() - {"data", "layout", "config"})
    return shown, tuple(sorted(walk.left_out - _QUIET))[:_SHOWN_NAMES]


@dataclass
class _Walk:
    """How much was seen of one figure, and what was left out."""

    values: int = 0
    objects: int = 0
    left_out: set[str] = field(default_factory=set)

    def count(self, values: int = 0, objects: int = 0) -> None:
        self.values += values
        self.objects += objects
        if self.values > MAX_VALUES:
            raise BadFigure(f"the figure has over {MAX_VALUES:,} values: draw fewer points, such as df.iloc[::10]")
        if self.objects > MAX_OBJECTS:
            raise BadFigure(f"the figure has over {MAX_OBJECTS:,} parts (shapes, annotations, axes): draw fewer")


def _trace(trace: object, walk: _Walk) -> dict[str, Any]:
    kind = trace.get("type", "scatter") if isinstance(trace, dict) else None
    if not isinstance(trace, dict) or not isinstance(kind, str) or kind not in TRACE_TYPES:
        shown = figure_text(cut(str(kind), 40))
        raise BadFigure(f"traces of the type {shown} are not offered; these are: {', '.join(sorted(TRACE_TYPES))}")
    checked = {**_object(trace, walk, 1), "type": kind}
    walk.left_out.update(without_tiny_bins(checked))
    return checked


def _layout(layout: dict[Any, Any], walk: _Walk) -> dict[str, Any]:
    shown = _object(layout, walk, 1)
    shown.pop("width", None)  # as wide as the page
    height = shown.pop("height", None)
    if type(height) in (int, float):
        shown["height"] = min(max(height, 100), MAX_HEIGHT)
    return shown


def _object(raw: dict[Any, Any], walk: _Walk, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise BadFigure(f"the figure is nested deeper than {MAX_DEPTH} levels")
    walk.count(objects=1)
    shown = {}
    for name, value in raw.items():
        if name in NAMES or _NUMBERED.fullmatch(name):
            shown[name] = _attribute(name, value, walk, depth)
        else:
            walk.left_out.add(figure_text(cut(name, 40)))
    return shown


def _attribute(name: str, value: object, walk: _Walk, depth: int) -> Any:
    shown = _value(value, walk, depth)
    if name in _COUNTS or name in ("rows", "columns"):
        most = _MAX_COUNT if name in _COUNTS else _MAX_CELLS
        return min(max(shown, 0), most) if type(shown) in (int, float) else None
    if name.endswith("format") and isinstance(shown, str):
        return narrow_format(shown)
    return shown


def _value(value: object, walk: _Walk, depth: int) -> Any:
    if isinstance(value, dict):
        return _array(value, walk) if "bdata" in value else _object(value, walk, depth + 1)
    if isinstance(value, list):
        return _list(value, walk, depth + 1)
    walk.count(values=1)
    return _scalar(value)


def _list(values: list[Any], walk: _Walk, depth: int) -> list[Any]:
    if depth > MAX_DEPTH:
        raise BadFigure(f"the figure is nested deeper than {MAX_DEPTH} levels")
    kinds = set(map(type, values))
    if dict in kinds or list in kinds:
        return [_value(value, walk, depth) for value in values]
    walk.count(values=len(values))
    if kinds <= {float} and all(map(math.isfinite, values)):
        return values
    return [_scalar(value) for value in values]


def _scalar(value: object) -> str | int | float | None:
    if isinstance(value, str):
        return figure_text(cut(value, MAX_TEXT))
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) <= _FINEST else None
    return value if isinstance(value, float) and math.isfinite(value) else None


def _array(raw: dict[Any, Any], walk: _Walk) -> dict[str, str]:
    """Return a typed array as Plotly writes it; of a shape that is not the data's the browser would invent the rest."""
    kind, data, shape = raw.get("dtype"), raw["bdata"], raw.get("shape")
    size = _ITEM_BYTES.get(kind) if isinstance(kind, str) else None
    if size is None or not isinstance(data, str):
        raise BadFigure("an array of the figure has a type that is not offered: use numbers of up to 64 bits")
    try:
        count, rest = divmod(len(base64.b64decode(data, validate=True)), size)
    except (binascii.Error, ValueError):
        raise BadFigure("an array of the figure is broken: it is not base64") from None
    walk.count(values=count)
    shown = {"dtype": str(kind), "bdata": data}
    if shape is not None:
        shown["shape"] = ", ".join(map(str, _sizes(shape, count)))
    if rest:
        raise BadFigure("an array of the figure is broken: it ends within a number")
    return shown


def _sizes(shape: object, count: int) -> list[int]:
    texts = shape.split(",") if isinstance(shape, str) else [str(shape)] if type(shape) is int else []
    sizes = [int(text) for text in map(str.strip, texts) if re.fullmatch("[0-9]{1,7}", text)]
    if not 1 <= len(sizes) == len(texts) <= 3 or math.prod(sizes) != count:
        raise BadFigure("an array of the figure is broken: its shape is not that of its data")
    return sizes
