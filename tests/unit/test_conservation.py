"""Row conservation as page, API and command line show it."""

from __future__ import annotations

from typing import Any

from lakehouse.jobs.conservation import RowCounts, conservation, verdict


def step(name: str, **tables: dict[str, int]) -> dict[str, Any]:
    return {"step": name, "report": {"tables": {f"silver.{table}": counts for table, counts in tables.items()}}}


def test_counts_of_all_merges_are_added_by_table() -> None:
    """Merges and rebuilds of Silver count; other steps, and those that have not reported yet, do not."""
    steps = [
        step(
            "silver", candles={"received": 10, "accepted": 9, "quarantined": 1}, splits={"received": 1, "accepted": 1}
        ),
        step("rebuild silver", candles={"received": 5, "unchanged": 5, "vanished": 2, "objects": 3}),
        step("gold", candles={"received": 99}),
        {"step": "silver", "report": None},
        {"step": "silver", "report": {}},
    ]
    candles, splits = conservation(steps)
    assert candles == RowCounts("silver.candles", received=15, accepted=9, unchanged=5, quarantined=1, vanished=2)
    assert splits == RowCounts("silver.splits", received=1, accepted=1)
    assert candles.adds_up


def test_the_verdict_says_that_rows_add_up() -> None:
    """One line over all tables."""
    counts = conservation([step("silver", candles={"received": 1200, "accepted": 1000, "revised": 200})])
    assert verdict(counts) == (
        "All 1,200 rows received are accounted for: received = accepted + unchanged + revised + outranked + quarantined"
    )
    assert verdict([]) == ""


def test_the_verdict_names_the_table_that_lost_rows() -> None:
    """And what to do."""
    counts = conservation([step("silver", candles={"received": 2, "accepted": 1}, splits={"received": 0})])
    assert verdict(counts) == (
        "Rows do not add up in silver.candles: compare lake.step_run with Bronze, then: lakehouse rebuild silver"
    )
