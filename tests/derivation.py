"""Versions derived the slow and plain way, from whole objects: what every quicker derivation must equal."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Key = tuple[Any, ...]
Values = tuple[Any, ...]


@dataclass(frozen=True)
class Span:
    """Instants from *from_at* to *till_at*, the end excluded; none if they are equal."""

    from_at: dt.datetime
    till_at: dt.datetime

    def holds(self, at: dt.datetime) -> bool:
        return self.from_at <= at < self.till_at


@dataclass(frozen=True)
class Spoken:
    """
    What one object says.

    Attributes:
        order: Its place among all objects.
        known_from: When it was read.
        proves: Which keys it speaks of though it has no row of them: they are not there.
        rows: Good rows by key; of two rows of one key the later counts.
        broken: Keys of rows that break a rule.
    """

    order: Key
    known_from: dt.datetime
    proves: Span
    rows: Mapping[Key, Values]
    broken: frozenset[Key] = frozenset()

    def speaks_of(self, key: Key, at: dt.datetime) -> bool:
        """Return whether this says what *key*, which lies at *at*, is, or that it is not there."""
        return key in self.rows or (self.proves.holds(at) and key not in self.broken)


@dataclass(frozen=True)
class Version:
    known_from: dt.datetime
    known_till: dt.datetime | None
    values: Values


def derive(objects: Iterable[Spoken], at_of: Mapping[Key, dt.datetime]) -> dict[Key, list[Version]]:
    """Return the versions of each key in *at_of*, which tells where a key lies; of equal times the last counts."""
    ordered = sorted(objects, key=lambda spoken: spoken.order)
    found = {key: _versions(key, at, ordered) for key, at in at_of.items()}
    return {key: versions for key, versions in found.items() if versions}


def _versions(key: Key, at: dt.datetime, ordered: Sequence[Spoken]) -> list[Version]:
    seen = {spoken.known_from: spoken.rows.get(key) for spoken in ordered if spoken.speaks_of(key, at)}
    versions: list[Version] = []
    values: Values | None = None
    for known_from, now in sorted(seen.items()):
        if now != values and values is not None:
            versions[-1] = Version(versions[-1].known_from, known_from, values)
        if now != values and now is not None:
            versions.append(Version(known_from, None, now))
        values = now
    return versions
