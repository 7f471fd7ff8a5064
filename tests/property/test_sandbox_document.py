"""Whatever a child writes: nothing but BadResult leaves the host's validator, and nothing forbidden passes it."""

from __future__ import annotations

import html
import json
import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lakehouse.sandbox.document import BadResult, Document, Figure, TableItem, Text, parse


@dataclass(frozen=True)
class Bounds:
    result_bytes: int = 200_000
    text_bytes: int = 60


BOUNDS = Bounds()

# The rules, said without the validator's own lists and patterns
FORBIDDEN_NAMES = {
    "images", "image", "source", "src", "href", "url", "geojson", "geo", "map", "mapbox", "template", "frames",
    "updatemenus", "sliders", "args", "args2", "method", "execute", "meta", "config", "transition",
    "plotlyServerURL", "topojsonURL", "accesstoken", "linkText", "onclick", "__proto__", "constructor", "prototype",
    "xsrc", "textsrc", "customdatasrc", "layers", "uid",
}  # fmt: skip
FORBIDDEN_TRACES = {"scattergeo", "choropleth", "choroplethmap", "scattermap", "densitymap", "image", "table", "sankey"}
COUNTS = {"nbinsx", "nbinsy", "ncontours", "nticks", "maxdisplayed", "rows", "columns"}
HARMLESS_TAGS = {"b", "i", "br", "sub", "sup", "extra"}
FETCHING = {"http", "https", "ftp", "ws", "wss", "file", "blob", "data", "javascript", "vbscript", "mailto", "about"}

NASTY = [
    "<a href='https://evil.example/?q=1'>x</a>", "<a xlink:href=//evil.example>", "<img src=x onerror=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;", "&amp;lt;a href=1&amp;gt;", "&#60;a&#62;", "<b onclick=alert(1)>", "<b\n>",
    "&&#x200b;lt;a&gt;",
    "<\u200ba>", "<\x00a>", "//evil.example", "\\\\evil.example", "/\u200b/evil.example", "/\t/e.x",
    "https:evil.example", "JaVaScRiPt:alert(1)", "java\nscript:alert(1)", "data:text/html,<b>", "url(//evil.example/x)",
    "\\75rl(x)", "u\u200brl(x)", "@import 'x'", "%{x:1000000000f}", "%{x:{>1000000000f}", "999999999f", "</extra><a>",
    "\x1b]8;;http://evil.example\x07x\x1b]8;;\x07", "\x1b[2J\x1b[31m",
    "\x9b31m", "\u202egpj.exe", "\u2066x", "\U000e0041",
    "\ud800", "\udfff\ud800", "\r\n\r", "\x00", "\x7f", "\u2028", "S&P 500", "a < b", "<<b>>", "2024-01-02T10:00:00",
    "&" * 50 + "lt;", "&amp;" * 9 + "lt;a", "<extra></extra>", "__proto__", "\ufeff\ufffe",
]  # fmt: skip

texts = st.sampled_from(NASTY) | st.text(max_size=20) | st.lists(st.sampled_from(NASTY), max_size=4).map("".join)
numbers = (
    st.integers(-(10**6), 10**6)
    | st.floats()
    | st.sampled_from([10**400, -(10**30), 2**53 + 1, 1e308, math.inf, -math.inf, math.nan])
)
scalars = texts | numbers | st.booleans() | st.none()
names = (
    st.sampled_from(
        ["title", "text", "x", "xaxis", "xaxis2", "marker", "color", "hovertemplate", "tickformat", "shape"]
    )
    | st.sampled_from(
        ["annotations", "shapes", "customdata", "grid", "rows", "nbinsx", "height", "width", "name", "font"]
    )
    | st.sampled_from(sorted(FORBIDDEN_NAMES))
    | texts
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4))
arrays = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["i1", "i1", "f8", "u4", "O"]) | scalars,
        "bdata": st.sampled_from(["AAAA", "AAAA", "AAAAAAAAAAA=", "/+==", "*"]),
    },
    optional={"shape": st.sampled_from(["3", "1, 3", "9999999, 9999999", "-1,-1", "1,1,1,1"]) | scalars},
)
allowed_types = st.sampled_from(["scatter", "bar", "heatmap", "histogram"])
foreign_types = st.sampled_from(["scattergeo", "choroplethmap", "image", "table"]) | scalars
traces = st.builds(
    lambda trace, kind: {**trace, "type": kind},
    st.dictionaries(names, values, max_size=4) | st.dictionaries(names, arrays, max_size=1),
    allowed_types | allowed_types | foreign_types,
)
figures = st.fixed_dictionaries(
    {"data": st.lists(traces, max_size=2), "layout": st.dictionaries(names, values, max_size=6)},
    optional={"frames": values, "config": values},
)
items = (
    st.fixed_dictionaries({"kind": st.just("text"), "stream": st.sampled_from(["out", "err"]) | scalars, "text": texts})
    | st.fixed_dictionaries({"kind": st.just("figure"), "json": figures | values})
    | st.fixed_dictionaries(
        {
            "kind": st.just("table"),
            "name": scalars,
            "columns": st.lists(texts, min_size=2, max_size=2) | values,
            "rows": st.lists(st.lists(texts, min_size=2, max_size=2), max_size=3) | values,
            "row_count": numbers,
        }
    )
    | values
)
documents = st.fixed_dictionaries(
    {
        "v": st.just(1),
        "status": st.sampled_from(["done", "error"]),
        "items": st.lists(items, max_size=6),
        "error": st.none() | texts,
    }
)


def made_of(*items: dict[str, Any]) -> dict[str, Any]:
    return {"v": 1, "status": "done", "items": list(items), "error": None}


def drawn(trace: dict[str, Any], layout: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"kind": "figure", "json": {"data": [trace], "layout": layout or {}}}


# Each rule has something here that breaks it, so that 25 examples find out when one is gone
WORST = made_of(
    drawn({"text": [*NASTY, "x" * 5_000]}),
    drawn({}, {"width": 9_999, "height": 10**9, "xaxis": {"nticks": 10**9, "tickformat": "0999999999f"}}),
    *[drawn({}, {"height": height}) for height in ("9999", [9_999], True, -1)],
    *[drawn({"type": "histogram", "nbinsx": count}) for count in (10**9, "9" * 9, [10**9])],
    drawn({}, {"grid": {"rows": 10**6, "columns": 10**6}}),
    drawn({"x": [math.nan, math.inf, 10**400, 2**53 + 1, 1.5], "y": [math.inf]}),
    drawn({"x": [[math.inf], {"text": -math.inf}]}),
    *[drawn({"x": {"dtype": "i1", "bdata": "AAAA", "shape": shape}}) for shape in ("9999999, 9999999", "1,1,1,1", "4")],
    *[drawn({"x": {"dtype": "i1", "bdata": data}}) for data in ("*AAAA", "AA<AA", "//evil.example/AAA=")],
    *[drawn({"type": kind}) for kind in sorted(FORBIDDEN_TRACES)],
    drawn(dict.fromkeys(sorted(FORBIDDEN_NAMES), 1)),
    *[{"kind": "text", "stream": "out", "text": text} for text in NASTY],
    {"kind": "table", "name": "x" * 5_000, "columns": ["a"], "rows": [["x" * 5_000], *[[text] for text in NASTY]]},
    {"kind": "table", "columns": ["a"], "rows": [["1", "2"]], "row_count": -1},
)
TOO_MUCH = [
    made_of({"kind": "figure", "json": {"data": [{}] * 201}}),
    made_of(drawn({"x": [1] * 1_000_001})),
    made_of(drawn({}, {"annotations": [{}] * 5_001})),
    made_of(*[drawn({})] * 51),
    made_of(*[{"kind": "table", "columns": [], "rows": []}] * 501),
]


@given(documents)
@example(WORST)
def test_nothing_forbidden_passes(document: dict[str, Any]) -> None:
    """A document that is built as a child builds it is shown, and all that is shown is harmless."""
    raw = json.dumps(document).replace("Infinity", "1e999")  # which is JSON, and read as infinity
    assert list(forbidden(parse(raw.encode(), Bounds(result_bytes=10**7)))) == []


@pytest.mark.parametrize("document", TOO_MUCH, ids=range(len(TOO_MUCH)))
def test_no_more_is_shown_than_a_page_bears(document: dict[str, Any]) -> None:
    """Traces, values and parts of a figure, figures, items: what is too much is left out."""
    shown = parse(json.dumps(document).encode(), Bounds(result_bytes=10**7)).items
    figures = [item for item in shown if isinstance(item, Figure)]
    assert len(shown) <= 500
    assert len(figures) in (0, 50)


def test_a_figure_is_not_nested_without_end() -> None:
    """Plotly goes down into what it is given."""
    deep: dict[str, Any] = {}
    for _ in range(20):
        deep = {"font": deep}
    shown = parse(json.dumps(made_of(drawn(deep))).encode(), BOUNDS).items
    assert not any(isinstance(item, Figure) for item in shown)


@given(documents, st.data())
def test_no_exception_escapes_from_broken_bytes(document: dict[str, Any], data: st.DataObject) -> None:
    """Bytes cut, changed or put in anywhere give a harmless document or BadResult."""
    raw = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 5))] = data.draw(
            st.binary(max_size=4)
            | st.sampled_from([b"[" * 5000, b'{"a":' * 5000, b'"', b"\\", b"9" * 5000, b"\xff", b"1e999"])
        )
    assert list(forbidden_in(bytes(raw))) == []


@given(st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
def test_no_exception_escapes_from_anything_else(raw: bytes) -> None:
    """Bytes that are no document at all are refused, and no exception but BadResult says so."""
    assert list(forbidden_in(raw)) == []


def forbidden_in(raw: bytes) -> Iterator[str]:
    try:
        shown = parse(raw, BOUNDS)
    except BadResult:
        return
    yield from forbidden(shown)


def forbidden(shown: Document) -> Iterator[str]:
    """Give a line for everything that must never reach a page."""
    if shown.error is not None:
        yield from unprintable(shown.error)
    for item in shown.items:
        if isinstance(item, Text):
            yield from unprintable(item.text)
            yield from (["unknown stream"] if item.stream not in ("out", "err") else [])
        elif isinstance(item, TableItem):
            yield from forbidden_in_table(item)
        else:
            yield from forbidden_in_figure(item)
    said = sum(
        len(item.text.encode()) for item in shown.items if isinstance(item, Text) and "left out" not in item.text
    )
    if said > BOUNDS.text_bytes:
        yield f"{said} bytes of text"


def forbidden_in_table(table: TableItem) -> Iterator[str]:
    for text in (table.name, *table.columns, *(cell for row in table.rows for cell in row)):
        yield from unprintable(text)
        if len(text) > 1_000:
            yield "a long cell"
    if any(len(row) != len(table.columns) for row in table.rows) or table.row_count < len(table.rows):
        yield "a table whose sizes do not fit"


def forbidden_in_figure(figure: Figure) -> Iterator[str]:
    assert set(figure.document) == {"data", "layout"}
    json.dumps(figure.document, allow_nan=False).encode()
    for name in figure.left_out:
        yield from unprintable(name)
    for trace in figure.document["data"]:
        if trace["type"] in FORBIDDEN_TRACES:
            yield f"trace {trace['type']}"
    layout = figure.document["layout"]
    if type(layout.get("height", 100)) not in (int, float) or not 100 <= layout.get("height", 100) <= 2_000:
        yield "a figure higher than the page"
    if "width" in layout:
        yield "a figure wider than the page"
    yield from forbidden_in_value(figure.document)


def forbidden_in_value(value: object) -> Iterator[str]:
    if isinstance(value, dict) and "bdata" in value:
        yield from forbidden_in_array(value)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name in FORBIDDEN_NAMES or not name.isascii() or not name.replace("_", "").isalnum():
                yield f"attribute {name!r}"
            yield from forbidden_in_attribute(name, inner)
            yield from forbidden_in_value(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from forbidden_in_value(inner)
    elif isinstance(value, str):
        yield from forbidden_in_text(value)
    elif (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, int) and abs(value) > 2**53):
        yield f"number {value}"


def forbidden_in_attribute(name: str, value: Any) -> Iterator[str]:
    if name in COUNTS and value is not None and (type(value) not in (int, float) or not 0 <= value <= 1_000):
        yield f"{value!r} of {name}"
    if name.endswith("format") and isinstance(value, str) and "999" in value:
        yield f"format {value!r}"


def forbidden_in_array(array: dict[str, str]) -> Iterator[str]:
    if set(array) - {"dtype", "bdata", "shape"} or not all(isinstance(value, str) for value in array.values()):
        yield f"array {array!r}"
    if set(array["bdata"]) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="):
        yield "an array that is not base64"
    count = len(array["bdata"].rstrip("=")) * 6 // 8 // int(array["dtype"][1:])
    if "shape" in array and math.prod(map(int, array["shape"].split(","))) != count:
        yield "an array of another shape than its data"


def forbidden_in_text(text: str) -> Iterator[str]:
    yield from unprintable(text)
    if len(text) > 2_000 + 60:  # a tag or a dash may take the place of another character, and no more
        yield "a long text of a figure"
    tags = Tags()
    tags.feed(text)
    tags.close()
    if tags.harmful or html.unescape(text).count("<") > text.count("<"):
        yield f"markup in {text!r}"
    if text.count("<") > tags.count:
        yield f"an open bracket in {text!r}"
    address = text.strip()
    if "//" in address or "\\" in address or urlsplit(address.replace("[", "")).scheme.lower() in FETCHING:
        yield f"address in {text!r}"
    if "url(" in address.lower().replace(" ", "") or "@import" in address.lower():
        yield f"style in {text!r}"
    if "00000" in text.partition("%{")[2].partition("}")[0]:
        yield f"format in {text!r}"


def unprintable(text: str) -> Iterator[str]:
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in "\n\t":
            yield f"character {character!r}"


class Tags(HTMLParser):
    """Which tags a browser would see."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.count = 0
        self.harmful = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count += 1
        self.harmful |= tag not in HARMLESS_TAGS or bool(attrs)

    def handle_endtag(self, tag: str) -> None:
        self.count += 1
        self.harmful |= tag not in HARMLESS_TAGS

    def handle_comment(self, data: str) -> None:
        self.harmful = True

    def handle_decl(self, decl: str) -> None:
        self.harmful = True

    def handle_pi(self, data: str) -> None:
        self.harmful = True
