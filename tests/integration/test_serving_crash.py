"""The publisher is killed in the middle: what readers see is whole, and the next publish makes up for it."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from lakehouse.database.connection import connect
from lakehouse.serving.publish import publish_gold, rebuild_serving
from lakehouse.silver.lake import Lake
from tests.gold_lake import GoldLake, Row, instrument, minutes

pytestmark = [pytest.mark.postgres]

MINUTES = 4_000
KILLED_AFTER_S = (0.02, 0.06, 0.1, 0.15, 0.25, 0.4)


def version_of(number: int) -> list[Row]:
    return [row | {"value": float(number)} for row in minutes(1, MINUTES + number)]


def work(publish: Callable[[str, Lake], Any], dsn: str, lake: Lake, ready: Event, go: Event) -> None:
    ready.set()
    go.wait()
    publish(dsn, lake)


def seen(dsn: str) -> tuple[int, int, int]:
    with connect(dsn, "lakehouse_read") as conn:
        row = conn.execute(
            "SELECT count(*), coalesce(min(value), 0)::int, coalesce(max(value), 0)::int FROM gold.fact_candle"
        ).fetchall()[0]
    return row[0], row[1], row[2]


def killed(publish: Callable[[str, Lake], Any], dsn: str, lake: Lake, after_s: float) -> None:
    """Run *publish* in another process and kill -9 it after so many seconds."""
    context = multiprocessing.get_context("spawn")
    ready, go = context.Event(), context.Event()
    process = context.Process(target=work, args=(publish, dsn, lake, ready, go))
    process.start()
    assert ready.wait(300)
    go.set()
    time.sleep(after_s)
    process.kill()
    process.join(300)


@pytest.mark.parametrize("publish", [publish_gold, rebuild_serving])
def test_a_killed_publisher_leaves_a_whole_state(dsn: str, tmp_path: Path, publish: Callable[[str, Lake], Any]) -> None:
    """Killed at any moment of a load, an increment or a rebuild: all of the old version or all of the new one."""
    gold = GoldLake(tmp_path)
    gold.create(version_of(1), [instrument(1, "SBER")])
    whole = {(0, 0, 0)}
    for number, after_s in enumerate(KILLED_AFTER_S, 1):
        if number > 1:
            gold.put(*version_of(number))
        whole.add((MINUTES + number, number, number))
        killed(publish, dsn, gold.lake, after_s)
        assert seen(dsn) in whole
    report = publish_gold(dsn, gold.lake)
    assert seen(dsn) == (MINUTES + number, number, number)
    assert report.rows == MINUTES + number
    rebuild_serving(dsn, gold.lake)
    rebuild_serving(dsn, gold.lake)
    with connect(dsn) as conn:
        rows = conn.execute(
            "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'fact_candle_%'"
        ).fetchall()
        assert rows == [(2,)]
