"""What a merge did, to the row."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from lakehouse.market.errors import LakehouseError


class ConservationBroken(LakehouseError):
    """Rows were lost or made up between Bronze and Silver."""


@dataclass
class TableReport:
    """
    Rows of new objects, and what became of them; received = accepted + unchanged + revised + outranked + quarantined.

    Attributes:
        accepted: Opened the first version of a candle, or one after it had vanished.
        unchanged: Equal to what was known just before, or doubled.
        revised: Opened a version with other values.
        outranked: Another row of the same fetch time, or of a better source, counts.
        quarantined: Broke a rule.
        vanished: Versions closed because a complete object does not hold the key.
        versions: Delta versions committed.
    """

    objects: int = 0
    received: int = 0
    accepted: int = 0
    unchanged: int = 0
    revised: int = 0
    outranked: int = 0
    quarantined: int = 0
    vanished: int = 0
    versions: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, objects: int, received: int, classes: Counter[str]) -> None:
        """Add a batch."""
        self.objects += objects
        self.received += received
        for name in ("accepted", "unchanged", "revised", "outranked", "quarantined", "vanished"):
            setattr(self, name, getattr(self, name) + classes[name])

    def committed(self, version: int | None, seconds: float) -> None:
        """Add a commit, None if nothing differed, and the time it took."""
        self.versions += [] if version is None else [version]
        self.seconds = round(self.seconds + seconds, 3)


@dataclass
class MergeReport:
    """One run over all tables."""

    run_id: str
    tables: dict[str, TableReport] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def changed(self) -> bool:
        """Whether any table has a new version."""
        return any(report.versions for report in self.tables.values())

    @property
    def quarantined(self) -> int:
        """Rows quarantined over all tables."""
        return sum(report.quarantined for report in self.tables.values())


def check_conservation(table: str, received: int, classes: Counter[str]) -> None:
    """Raise ConservationBroken unless the classes add up to *received*, the rows that the ledger counted."""
    names = ("accepted", "unchanged", "revised", "outranked", "quarantined")
    if (found := sum(classes[name] for name in names)) != received:
        parts = ", ".join(f"{classes[name]} {name}" for name in names)
        raise ConservationBroken(
            f"{table}: the ledger counted {received} rows in the new objects, {found} arrived ({parts}); nothing was "
            "committed; compare the objects with lake.bronze_object.rows, or count them anew: lakehouse rebuild ledger"
        )
