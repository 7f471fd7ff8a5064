"""Readers while Gold is published: no error, nothing empty, partial or mixed, and hardly a wait."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

import pytest

from lakehouse.database.connection import connect
from lakehouse.market.candle import FACT_CANDLE
from lakehouse.serving.publish import publish_gold, rebuild_serving
from lakehouse.serving.queries import candles
from tests.gold_lake import GoldLake, Row, instrument, minutes

pytestmark = [pytest.mark.postgres]

MINUTES = 600
INCREMENTS = 10
REBUILDS = 4

# One statement: the version, and what makes it recognisable
LOOK = """
    SELECT p.data_version, count(c.value), coalesce(min(c.value), 0), coalesce(max(c.value), 0)
    FROM gold.publication p LEFT JOIN gold.fact_candle c ON true GROUP BY p.data_version
"""


@dataclass
class Seen:
    """What a reader saw: (data_version, rows, least value, greatest value), and its longest wait in seconds."""

    looks: int = 0
    states: set[tuple[int, int, float, float]] = field(default_factory=set)
    torn: list[str] = field(default_factory=list)
    longest_s: float = 0.0


def version_of(number: int) -> list[Row]:
    """Return Gold as it is in version *number*: every row says so, and there is one more row than before."""
    return [row | {"value": float(number)} for code in (1, 2) for row in minutes(code, MINUTES + number)]


def looks(stop: Event) -> Iterator[None]:
    """Yield until *stop* is set, and once more: the last state is seen by everybody."""
    while not stop.is_set():
        yield
    yield


def read_committed(dsn: str, stop: Event, seen: Seen) -> None:
    with connect(dsn, "lakehouse_read") as conn:
        for _ in looks(stop):
            began = time.monotonic()
            row = conn.execute(LOOK.encode()).fetchone()
            seen.longest_s = max(seen.longest_s, time.monotonic() - began)
            if row is None:
                seen.torn.append("no row at all")
            else:
                seen.states.add((row[0], row[1], row[2], row[3]))
            seen.looks += 1


def repeatable_read(dsn: str, stop: Event, seen: Seen) -> None:
    with connect(dsn, "lakehouse_read") as conn:
        for _ in looks(stop):
            conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            conn.execute("SELECT 1")
            first = None
            for _ in range(20):
                began = time.monotonic()
                row = conn.execute(LOOK.encode()).fetchone()
                seen.longest_s = max(seen.longest_s, time.monotonic() - began)
                if row is None or (first and row != first):
                    seen.torn.append(f"{first} became {row} within a transaction")
                elif first is None:
                    first = row
                    seen.states.add((row[0], row[1], row[2], row[3]))
                seen.looks += 1
            conn.execute("COMMIT")


def page_reader(dsn: str, stop: Event, seen: Seen) -> None:
    """Ask as the pages do, with a plan that PostgreSQL keeps (psycopg prepares after five executions)."""
    with connect(dsn, "lakehouse_read") as conn:
        for _ in looks(stop):
            if conn.execute("SELECT count(*) FROM gold.dim_instrument").fetchone() == (0,):
                continue
            began = time.monotonic()
            page = candles(conn, "SBER", None, "1m", limit=10_000)
            seen.longest_s = max(seen.longest_s, time.monotonic() - began)
            values = [row[page.columns.index("value")] for row in page.rows]
            seen.states.add((page.data_version, 2 * len(values), min(values, default=0), max(values, default=0)))
            seen.looks += 1


def read(reader: Any, dsn: str, begin: Barrier, stop: Event, answers: Queue[Seen]) -> None:
    seen = Seen()
    try:
        begin.wait(300)
        reader(dsn, stop, seen)
    except Exception as error:  # whatever a reader meets fails the test
        seen.torn.append(repr(error))
    answers.put(seen)


def test_readers_see_whole_versions(
    dsn: str, tmp_path: Path, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """Polling during a first load, ten increments and rebuilds: each answer is one whole version, and comes at once."""
    gold = GoldLake(tmp_path)
    gold.create(version_of(1), [instrument(1, "SBER"), instrument(2, "GMKN")])
    context = multiprocessing.get_context("spawn")
    stop, answers = context.Event(), context.Queue()
    kinds = (read_committed, read_committed, repeatable_read, page_reader)
    begin = context.Barrier(len(kinds) + 1)
    readers = [context.Process(target=read, args=(kind, dsn, begin, stop, answers)) for kind in kinds]
    for process in readers:
        process.start()
    begin.wait(300)
    try:
        assert publish_gold(dsn, gold.lake).data_version == 1
        for number in range(2, INCREMENTS + 2):
            gold.put(*version_of(number))
            assert publish_gold(dsn, gold.lake).data_version == number
        last = INCREMENTS + 1
        for _ in range(REBUILDS):
            assert rebuild_serving(dsn, gold.lake).data_version == last
        gold.write(FACT_CANDLE, version_of(last + 1))
        assert rebuild_serving(dsn, gold.lake).data_version == last + 1
    finally:
        stop.set()
        found: list[Seen] = [answers.get(timeout=300) for _ in readers]
        for process in readers:
            process.join(300)
    whole = {(0, 0, 0.0, 0.0)} | {(n, 2 * (MINUTES + n), float(n), float(n)) for n in range(1, last + 2)}
    for seen in found:
        assert not seen.torn
        assert seen.states <= whole
        assert (last + 1, 2 * (MINUTES + last + 1), last + 1.0, last + 1.0) in seen.states
    looks, longest = sum(seen.looks for seen in found), max(seen.longest_s for seen in found)
    with capsys.disabled():
        pytestconfig.get_terminal_writer().line(
            f"\n{looks:,} answers during a first load, {INCREMENTS} increments and {REBUILDS + 1} rebuilds: "
            f"each a whole version, the longest after {longest * 1000:.0f} ms"
        )
