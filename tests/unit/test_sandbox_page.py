"""What the page Analysis chooses and says, without a browser."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Any

import pytest

from gradio_app.presets import PRESETS
from gradio_app.sandbox_output import finished_status, results, run_list
from gradio_app.sandbox_runs import Finished
from lakehouse.access.runs import Run
from lakehouse.market.timeframe import Timeframe
from lakehouse.sandbox.document import Figure, TableItem, Text
from lakehouse.sandbox.host import Outcome
from lakehouse.serving.frames import Selection
from lakehouse.serving.queries import InstrumentRow, Series

DAY = dt.date(2026, 1, 5)
SELECTION = Selection(("SBER", "GAZP"), Timeframe.DAY, None, None, "split")


def loaded(secid: str, **rows: int) -> InstrumentRow:
    series = [Series(timeframe.removeprefix("t"), DAY, DAY, count) for timeframe, count in rows.items()]
    return InstrumentRow(1, secid, "TQBR", secid, secid, None, None, None, None, None, True, [secid], series)


def finished(**change: Any) -> Finished:
    outcome = {"status": "done", "items": (), "error": None, "message": None, "wall_s": 0.1234, "cpu_s": 0.1}
    facts = {"peak_bytes": 5 << 20, "is_truncated": False}
    return Finished(Outcome(**{**outcome, **facts, **change}), SELECTION, 1_234)


def run(**change: Any) -> Run:
    began = dt.datetime(2026, 1, 5, 10, tzinfo=dt.UTC)
    facts = {"ended_at": None, "status": None, "message": None, "wall_s": None, "cpu_s": None, "peak_bytes": None}
    return Run(
        **{**vars(Run(uuid.uuid4(), began, "anna", "df", SELECTION.document(), 7, *[None] * 6)), **facts, **change}
    )


def test_an_example_takes_what_is_chosen_then_what_has_most_candles() -> None:
    """Of its timeframes the first that is loaded; no more instruments than it can show."""
    market = [loaded("A", t1d=5, t1m=900), loaded("B", t1d=9), loaded("C", t1d=7), loaded("D", t1m=5), loaded("E")]
    by_key = {preset.key: preset for preset in PRESETS}
    assert by_key["cross"].choose(market, []) == (Timeframe.DAY, ["B"])
    assert by_key["cross"].choose(market, ["A"]) == (Timeframe.DAY, ["A"])
    assert by_key["correlation"].choose(market, ["C", "D"]) == (Timeframe.DAY, ["C", "B", "A"])
    assert by_key["seasonality"].choose(market, ["D"]) == (Timeframe.MINUTE, ["D"])


def test_an_example_without_data_chooses_none() -> None:
    """Where nothing is loaded it names its own timeframe and no instruments."""
    assert PRESETS[0].choose([loaded("A")], ["A"]) == (Timeframe.DAY, [])


def test_results_are_json_in_the_order_made() -> None:
    """Items, the analyst's error, and what the platform has to say about it."""
    items = (
        Text("one\n", "out"),
        TableItem("t", ("a",), (("1",),), 9),
        Figure({"data": [], "layout": {}}, ("images",)),
    )
    document = json.loads(
        results(finished(items=items, status="error", error="Boom", message="why", is_truncated=True))
    )
    assert document["items"] == [
        {"kind": "text", "text": "one\n", "stream": "out"},
        {"kind": "table", "name": "t", "columns": ["a"], "rows": [["1"]], "row_count": 9},
        {"kind": "figure", "document": {"data": [], "layout": {}}, "left_out": ["images"]},
    ]
    assert (document["error"], document["notes"][0], document["is_empty"]) == ("Boom", "why", False)
    assert "left out" in document["notes"][1]


def test_a_program_that_shows_nothing_is_told_so() -> None:
    """Nothing shown is not a failure, and not a blank page."""
    assert json.loads(results(finished()))["is_empty"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "Done in 0.12 s · processor 0.10 s · 5 MiB at the peak · 1,234 candles of SBER, GAZP 1d"),
        ({"status": "timeout"}, "Out of time in 0.12 s"),
        ({"peak_bytes": 0}, "under 1 MiB at the peak"),
    ],
)
def test_the_status_says_how_it_went(change: dict[str, Any], said: str) -> None:
    """Outcome, time, processor time, memory, and on what."""
    assert said in finished_status(finished(**change))


def test_the_list_tells_a_run_that_goes_on_from_one_that_lost_its_process() -> None:
    """A run without an end is running if this process knows it, else its process ended; text is never markup."""
    going, lost = run(), run(first_line="<img src=x>")
    shown = run_list([going, lost, run(status="done", wall_s=1.0, peak_bytes=1 << 20)], {going.run_id})
    assert shown.count("lh-state-running") == 1
    assert shown.count("No end: the web process stopped during it") == 1
    assert "&lt;img src=x&gt;" in shown
    assert "<img" not in shown
