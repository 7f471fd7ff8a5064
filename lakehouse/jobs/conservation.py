"""Whether the rows of a job's merges add up: what arrived, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

# Steps whose reports count rows (jobs/merging.py)
_MERGES = ("silver", "rebuild silver")


@dataclass(frozen=True)
class RowCounts:
    """
    Rows of one table over all merges of a job.

    received = accepted + unchanged + revised + outranked + quarantined; *vanished* are versions that were closed.
    """

    table: str
    received: int = 0
    accepted: int = 0
    unchanged: int = 0
    revised: int = 0
    outranked: int = 0
    quarantined: int = 0
    vanished: int = 0

    @property
    def adds_up(self) -> bool:
        """Whether every row that arrived is accounted for, once."""
        return self.received == self.accepted + self.unchanged + self.revised + self.outranked + self.quarantined


# What becomes of a row that arrived, and how many did
ROW_OUTCOMES = ("accepted", "unchanged", "revised", "outranked", "quarantined")
COUNTS = tuple(field.name for field in fields(RowCounts) if field.name != "table")


def conservation(steps: Sequence[dict[str, Any]]) -> list[RowCounts]:
    """Return the row counts of each table that the merges among *steps* (queue.steps_of) touched, by name."""
    totals: dict[str, Counter[str]] = {}
    for step in steps:
        report = step["report"] if step["step"] in _MERGES else None
        for table, counts in ((report or {}).get("tables") or {}).items():
            totals.setdefault(table, Counter()).update({name: int(counts.get(name, 0)) for name in COUNTS})
    return [RowCounts(table, **{name: counts[name] for name in COUNTS}) for table, counts in sorted(totals.items())]


def verdict(counts: Sequence[RowCounts]) -> str:
    """Say in one line whether all rows are accounted for; empty when no merge counted any."""
    if not counts:
        return ""
    wrong = [each.table for each in counts if not each.adds_up]
    if wrong:
        tables = ", ".join(wrong)
        return f"Rows do not add up in {tables}: compare lake.step_run with Bronze, then: lakehouse rebuild silver"
    received = sum(each.received for each in counts)
    return (
        f"All {received:,} rows received are accounted for: "
        "received = accepted + unchanged + revised + outranked + quarantined"
    )


def account(steps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what a job's document says of its rows: the counts of each table, and the verdict."""
    counts = conservation(steps)
    return {
        "conservation": [{**vars(each), "adds_up": each.adds_up} for each in counts],
        "verdict": verdict(counts),
    }
