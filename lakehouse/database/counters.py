"""Counts that outlive processes, kept in a few rows of PostgreSQL (lake.counter); /metrics shows them."""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import Connection

from lakehouse.database.outage import DatabaseAway, is_outage, shared

# A counter's name, then the values of its labels
Key = tuple[str, ...]

# Upper bounds of the seconds that a step took; the last bucket has none
BUCKETS_S = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)


def add(conn: Connection[Any], counts: Mapping[Key, float]) -> None:
    """Count up, in the caller's transaction; all in one order, so that two who count never wait for each other."""
    found = sorted((key, float(value)) for key, value in counts.items() if value)
    if not found:
        return
    conn.execute(
        """
        INSERT INTO lake.counter (name, labels, value)
            SELECT name, string_to_array(labels, E'\\x1f'), value
            FROM unnest(%s::text[], %s::text[], %s::double precision[]) AS counted (name, labels, value)
        ON CONFLICT (name, labels) DO UPDATE SET value = counter.value + excluded.value
        """,
        (
            [key[0] for key, _ in found],
            ["\x1f".join(key[1:]) for key, _ in found],
            [value for _, value in found],
        ),
    )


def took(name: str, seconds: float, *labels: str) -> dict[Key, float]:
    """Return the counts of one more thing that took so long: its bucket, and the sum of seconds."""
    place = bisect_left(BUCKETS_S, seconds)
    bound = f"{BUCKETS_S[place]:g}" if place < len(BUCKETS_S) else "+Inf"
    return {(f"{name}_bucket", *labels, bound): 1, (f"{name}_sum", *labels): seconds}


class Tally:
    """
    What one process counts beside its work, written down now and then.

    A database that is away is not waited for: what was counted meanwhile is written with the next. Counting is no
    reason to fail, nor to hold anything up.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._lock = threading.Lock()
        self._counts: defaultdict[Key, float] = defaultdict(float)

    def count(self, counts: Mapping[Key, float]) -> None:
        """Note *counts* and write down all that was noted."""
        with self._lock:
            self._note(counts)
            found, self._counts = self._counts, defaultdict(float)
        try:
            shared(self._dsn, "lakehouse_app").run(lambda conn: add(conn, found), patience_s=0)
        except (psycopg.Error, DatabaseAway) as error:
            with self._lock:
                self._note(found)
            if not is_outage(error):
                raise

    def _note(self, counts: Mapping[Key, float]) -> None:
        for key, value in counts.items():
            self._counts[key] += value


_tallies: dict[tuple[int, str], Tally] = {}
_making = threading.Lock()


def tally(dsn: str) -> Tally:
    """Return this process's tally for the database *dsn*: always the same one."""
    with _making:
        return _tallies.setdefault((os.getpid(), dsn), Tally(dsn))
