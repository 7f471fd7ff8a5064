"""The tick: what is due by the exchange's clock, from the clock to what came of it, through the handlers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from functions import context
from functions.app import ingest_step, tick
from functions.embedded import queue_event, tick_event
from lakehouse.database.connection import connect
from lakehouse.jobs import schedules
from lakehouse.jobs.claiming import waiting
from lakehouse.simulator.clock import Clock
from lakehouse.simulator.exchange import MadeExchange
from lakehouse.simulator.server import running

pytestmark = pytest.mark.postgres
NIGHT = dt.datetime.fromisoformat("2026-07-02T04:16")


@pytest.fixture
def clock() -> Clock:
    """Return the simulator's clock, which stands before the opening of a Wednesday."""
    return Clock(MadeExchange(seed=1).default_now, frozen=True)


@pytest.fixture
def conn(dsn: str, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection[Any]]:
    """Return a connection to the database of handlers whose exchange is a simulator."""
    with running(MadeExchange(seed=1), clock) as iss_url, connect(dsn) as opened:
        settings = {"DATABASE_URL": dsn, "DATA_DIR": str(tmp_path), "ISS_URL": iss_url, "SOURCE": "simulator"}
        for name, value in settings.items():
            monkeypatch.setenv(f"LAKEHOUSE_{name}", value)
        forget()
        yield opened
        context.pool().close()
        forget()


def forget() -> None:
    for cached in (context.settings, context.pool, context.wakes):
        cached.cache_clear()


def test_a_simulators_night_is_its_own(conn: Connection[Any], clock: Clock) -> None:
    """Whatever time it is here: nothing by day, and in the simulator's night each schedule once, to its outcome."""
    for _ in range(2):
        tick(tick_event(), None)
    assert waiting(conn, list(schedules.MEANING)) == []
    clock.set(NIGHT)
    for _ in range(2):
        tick(tick_event(), None)
    due = waiting(conn, ["increment", "forming", "reconcile"])
    assert len(due) == 3
    for message_id in due:
        ingest_step(queue_event({"message_id": message_id}), None)
    outcomes = {name: run.outcome for name, run in schedules.last_runs(conn).items()}
    assert outcomes == {
        "increment": "nothing was due",
        "forming": "no session: nothing forms",
        "reconcile": "nothing was missed",
    }


def test_a_simulator_that_is_away_runs_nothing(conn: Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """And fails nothing: the next tick asks again."""
    tick(tick_event(), None)
    seen = conn.execute("SELECT shown_at FROM lake.schedule_clock").fetchone()
    monkeypatch.setenv("LAKEHOUSE_ISS_URL", "http://127.0.0.1:9/iss")
    context.settings.cache_clear()
    tick(tick_event(), None)
    assert conn.execute("SELECT shown_at FROM lake.schedule_clock").fetchone() == seen
