"""What the host shows of a run's result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
import pytest

from lakehouse.sandbox.document import MAX_ROWS, BadResult, Document, Figure, TableItem, Text, parse
from lakehouse.sandbox.figure_names import NAMES, TRACE_TYPES
from lakehouse.sandbox.figures import checked_figure
from lakehouse.sandbox.text import clean, cut, cut_bytes, figure_text


@dataclass(frozen=True)
class Bounds:
    result_bytes: int = 8 << 20
    text_bytes: int = 1_000


def parsed(*items: Any, bounds: Bounds = Bounds(), **fields: Any) -> Document:
    document = {"v": 1, "status": "done", "error": None, "items": list(items), **fields}
    return parse(json.dumps(document).encode(), bounds)


def figure(document: Any) -> Any:
    (item,) = parsed({"kind": "figure", "json": document}).items
    return item


def shown(text: str) -> str:
    (item,) = parsed({"kind": "text", "stream": "out", "text": text}).items
    assert isinstance(item, Text)
    return item.text


def test_items_come_in_the_order_made() -> None:
    """Text, table and figure stand where the program made them."""
    table = {"kind": "table", "name": "means", "columns": ["secid", "mean"], "rows": [["SBER", "1.5"]], "row_count": 7}
    text = {"kind": "text", "stream": "err", "text": "careful"}
    plot = {"kind": "figure", "json": {"data": [{"type": "bar", "y": [1, 2]}], "layout": {"title": {"text": "T"}}}}
    assert parsed(text, table, plot, text).items == (
        Text("careful", "err"),
        TableItem("means", ("secid", "mean"), (("SBER", "1.5"),), 7),
        Figure({"data": [{"type": "bar", "y": [1, 2]}], "layout": {"title": {"text": "T"}}}, ()),
        Text("careful", "err"),
    )


def test_figures_of_plotly_pass_whole() -> None:
    """What an analyst draws with px and go arrives, every attribute of it but the template."""
    frame = pd.DataFrame({"x": pd.date_range("2024-01-01", periods=50), "y": range(50), "secid": ["A", "B"] * 25})
    drawn = [
        px.line(frame, x="x", y="y", color="secid", title="S&P <b>bold</b>"),
        px.histogram(frame, x="y", nbins=30, facet_col="secid"),
        px.imshow(frame[["y"]].T.corr().to_numpy(), text_auto=".2f"),
        px.box(frame, x="secid", y="y"),
        go.Figure(go.Candlestick(x=frame.x, open=frame.y, high=frame.y, low=frame.y, close=frame.y)),
    ]
    for plot in drawn:
        document = json.loads(plot.to_json())
        document["layout"].pop("template", None)
        item = figure(document)
        assert (item.document, item.left_out) == (document, ())


def test_names_are_plotlys_own() -> None:
    """Every name on the list is an attribute that Plotly knows, and every kind of trace is one of its."""
    known = json.loads((files("plotly") / "validators" / "_validators.json").read_text())
    assert {name for path in known for name in path.split(".")} >= NAMES
    assert {path for path in known if "." not in path} >= TRACE_TYPES


def test_a_figure_says_what_was_left_out_of_it() -> None:
    """Pictures, menus and frames are left out by name; the rest is drawn."""
    item = figure(
        {"data": [{"y": [1]}], "layout": {"images": [{"source": "https://evil.example/x.png"}]}, "frames": []}
    )
    assert item.document == {"data": [{"y": [1], "type": "scatter"}], "layout": {}}
    assert item.left_out == ("frames", "images")


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"data": [{"type": "scattergeo"}]}, "traces of the type scattergeo are not offered"),
        ({"data": [{"type": ["bar"]}]}, "are not offered"),
        ({"data": [{}] * 201}, "has 201 traces, and 200 can be shown"),
        ({"data": [{"y": [0] * 1_000_001}]}, "over 1,000,000 values"),
        ({"data": [], "layout": {"shapes": [{}] * 5_001}}, "over 5,000 parts"),
        ({"data": [{"y": [[[[[[[[[[[[[0]]]]]]]]]]]]]}]}, "nested deeper than 12"),
        ({"data": [{"y": {"dtype": "O", "bdata": ""}}]}, "a type that is not offered"),
        ({"data": [{"y": {"dtype": "f8", "bdata": "§"}}]}, "it is not base64"),
        ({"data": [{"y": {"dtype": "f8", "bdata": "AAAA"}}]}, "ends within a number"),
        (
            {"data": [{"z": {"dtype": "i1", "bdata": "AAAA", "shape": "99999, 99999"}}]},
            "its shape is not that of its data",
        ),
        ({"data": {}}, "no figure"),
        ([], "no figure"),
    ],
)
def test_a_figure_that_cannot_be_shown_says_why(document: Any, why: str) -> None:
    """A refused figure is a line in its place, never a silent gap."""
    item = figure(document)
    assert isinstance(item, Text)
    assert why in item.text


def test_numbers_are_such_as_a_browser_takes() -> None:
    """NaN, infinity and integers beyond a double become nothing; counts and sizes are bounded."""
    raw = (
        '{"data": [{"y": [NaN, Infinity, 1e999, 9' + "0" * 400 + ', 1.5], "nbinsx": 1e9}], "layout": '
        '{"height": 1e9, "width": 9, "grid": {"rows": 1e9}, "xaxis": {"hoverformat": "9999999f"}}}'
    )
    document = '{"v":1,"status":"done","error":null,"items":[{"kind":"figure","json":' + raw + "}]}"
    (item,) = parse(document.encode(), Bounds()).items
    assert isinstance(item, Figure)
    assert item.document == {
        "data": [{"y": [None, None, None, None, 1.5], "nbinsx": 1_000, "type": "scatter"}],
        "layout": {"grid": {"rows": 50}, "xaxis": {"hoverformat": "f"}, "height": 2_000},
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("<b>bold</b><br>x<sub>1</sub><extra></extra>", "<b>bold</b><br>x<sub>1</sub><extra></extra>"),
        ("<a href='https://evil.example'>x</a>", "‹a href='https∶∕∕evil.example'>x‹/a>"),
        ("&amp;lt;a href=1&gt;", "‹a href=1>"),
        ("<b onclick=x>", "‹b onclick=x>"),
        ("a < b & c > d, S&P", "a ‹ b & c > d, S&P"),
        ("url(x) and \\75rl(x)", "url（x) and ∖75rl(x)"),
        ("2024-01-02T10:00:00", "2024-01-02T10:00:00"),
        ("data: SBER", "data∶ SBER"),
        ("%{x:.2f}<br>%{y:1000000000f}", "%{x:.2f}<br>%{y:f}"),
        ("one\ntwo", "one two"),
    ],
)
def test_texts_of_figures_are_no_markup(given: str, expected: str) -> None:
    """A few tags of Plotly stay; links, entities, addresses and styles read the same and do nothing."""
    assert figure_text(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("\x1b[31mred\x1b[0m\x1b]8;;http://x\x07link\x1b]8;;\x07\x1bc", "redlink"),
        ("one\r\ntwo\rthree\ttab", "one\ntwo\nthree\ttab"),
        ("\u202egpj.exe\u2066\u200b\x00\x7f\x9b1m", "gpj.exe"),
        ("half \ud83d and whole \U0001f600", "half  and whole \U0001f600"),
        ("Привет, ценa 1 000 ₽", "Привет, ценa 1 000 ₽"),
    ],
)
def test_text_is_what_a_person_sees(given: str, expected: str) -> None:
    """Nothing that a terminal obeys, that turns the direction or that is invisible remains."""
    assert shown(given) == expected == clean(given)


def test_text_is_bounded_all_together() -> None:
    """Texts beyond the bound are cut within a character, and the result says so."""
    document = parsed(
        {"kind": "text", "stream": "out", "text": "a" * 999},
        {"kind": "text", "stream": "out", "text": "я" * 9},
        {"kind": "text", "stream": "out", "text": "more"},
    )
    assert [item.text for item in document.items if isinstance(item, Text)] == ["a" * 999, "m"]
    assert document.is_truncated
    assert not parsed({"kind": "text", "stream": "out", "text": "a" * 1_000}).is_truncated
    assert (cut("abc", 3), cut("abcd", 3), cut_bytes("яя", 3)) == ("abc", "ab…", "я")


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"columns": ["a"], "rows": [["1"]] * (MAX_ROWS + 1)}, "10,001 rows of 1 columns are more than"),
        ({"columns": ["a"] * 201, "rows": []}, "0 rows of 201 columns are more than"),
        ({"columns": ["a"], "rows": [["1", "2"]]}, "not as long as its columns"),
        ({"columns": ["a"], "rows": [[1]]}, "its cells are not texts"),
        ({"columns": "a", "rows": []}, "no columns or no rows"),
    ],
)
def test_a_table_that_cannot_be_shown_says_why(table: dict[str, Any], why: str) -> None:
    """A refused table is a line in its place."""
    (item,) = parsed({"kind": "table", "name": "t", "row_count": 1, **table}).items
    assert isinstance(item, Text)
    assert why in item.text


def test_cells_are_bounded_and_the_count_is_never_less_than_the_rows() -> None:
    """A cell ends at 1,000 characters; a count that cannot be is that of the rows."""
    (item,) = parsed({"kind": "table", "name": None, "columns": ["a"], "rows": [["x" * 2_000]], "row_count": -5}).items
    assert isinstance(item, TableItem)
    assert (len(item.rows[0][0]), item.row_count) == (1_000, 1)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no JSON"),
        (b"[]", "no JSON object"),
        (b"\xff\xfe{}", "no JSON"),
        (b'{"v": 1, "v": 1}', "a key twice"),
        (b'{"v": 2, "status": "done", "items": []}', "not what a run writes"),
        (b'{"v": 1, "status": "killed", "items": []}', "names no outcome"),
        (b'{"v": 1, "status": "done", "items": {}}', "not what a run writes"),
        (b'{"v": 1, "status": "done", "items": [], "error": 7}', "not what a run writes"),
        (b'{"v": ' + b"9" * 5_000 + b"}", "no JSON"),
        (b"[" * 1_000_000, "over 200,000 parts"),
        (b'{"a":' * 41, "nested deeper than 40"),
        (b"[" + b"[]," * 300_000 + b"]", "over 200,000 parts"),
        (b'{"v": 1, "items": ["' + b'\\"' * 3_000_000, "no JSON"),
        (b" " * ((8 << 20) + 1), "larger than 8 MiB"),
    ],
)
def test_what_is_no_result_is_refused(raw: bytes, why: str) -> None:
    """Broken, foreign and exploding documents are refused (a check that took quadratic time would not end here)."""
    with pytest.raises(BadResult, match=why):
        parse(raw, Bounds())


def test_what_is_no_item_is_a_line_in_its_place() -> None:
    """An item of an unknown kind, or none at all, is said to be missing; the next one is shown."""
    document = parsed(7, {"kind": "html", "html": "<b>"}, {"kind": "text", "stream": "out", "text": "after"})
    assert [item.text for item in document.items if isinstance(item, Text)] == [
        "something was left out: it is no text, table or figure",
        "something was left out: it is no text, table or figure",
        "after",
    ]
    assert parsed(*[{"kind": "text", "stream": "out", "text": "x"}] * 501).is_truncated


def test_the_error_is_cleaned_and_bounded() -> None:
    """The error of a run is the child's word too."""
    document = parsed(status="error", error="\x1b[31mTraceback" + "x" * 20_000)
    assert document.status == "error"
    assert document.error is not None
    assert document.error.startswith("Traceback")
    assert len(document.error) == 16_000


@pytest.mark.parametrize(
    ("trace", "is_kept"),
    [
        ({"x": [0.0, 10.0], "xbins": {"size": 0.5}}, True),
        ({"x": [0.0, 10.0], "xbins": {"size": 0.001}}, False),
        ({"x": {"dtype": "f8", "bdata": "AAAAAAAAAAAAAAAAAAAkQA=="}, "xbins": {"size": 0.5}}, True),  # 0 and 10
        ({"x": {"dtype": "f8", "bdata": "AAAAAAAAAAAAAAAAAAAkQA=="}, "xbins": {"size": 1e-9}}, False),
        ({"x": [0.0], "xbins": {"start": -1e300, "end": 1e300, "size": 1}}, False),
        ({"x": [0.0], "xbins": {"start": 0, "end": 10, "size": 0}}, False),
        ({"x": ["2026-01-01", "2026-12-31"], "xbins": {"size": 86_400_000}}, True),
        ({"x": ["2026-01-01", "2026-12-31"], "xbins": {"size": 1}}, False),
        ({"x": ["2026-01-01", "2026-12-31"], "xbins": {"size": "M1"}}, True),
        ({"x": ["SBER", "GAZP"], "xbins": {"size": 1}}, False),  # nobody knows how many
    ],
)
def test_bins_are_as_many_as_a_browser_draws(trace: dict[str, Any], is_kept: bool) -> None:
    """A size that is tiny beside the data is left out and named: Plotly then chooses one."""
    figure, left_out = checked_figure({"data": [{"type": "histogram", **trace}], "layout": {}})

    assert ("size" in figure["data"][0]["xbins"]) is is_kept
    assert left_out == (() if is_kept else ("xbins.size",))
