"""Bringing up to date what is held: what is due in the ledger, and nothing else is asked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest
from psycopg import Connection

from lakehouse.bronze.fetch import FetchContext
from lakehouse.database.connection import connect
from lakehouse.iss.client import Patience
from lakehouse.jobs import queue, schedules
from lakehouse.jobs.fetching import fetch_batch
from lakehouse.jobs.increments import run_increment
from lakehouse.jobs.planning import plan_ingest
from lakehouse.market.moscow import to_moscow
from tests.exchange import candle, days, minutes
from tests.integration.test_jobs_fetching import OneCode
from tests.served_exchange import served

pytestmark = pytest.mark.postgres
T = dt.datetime.fromisoformat
# Wednesday, 15:00 in Moscow
NOW = dt.datetime(2024, 3, 20, 12, 0, tzinfo=dt.UTC)
NIGHT = dt.datetime(2024, 3, 22, 1, 15, tzinfo=dt.UTC)


class Clocked(Protocol):
    """An exchange whose clock is set, and what it was asked."""

    now: dt.datetime
    asked: list[tuple[str, dict[str, str]]]


class Town:
    """A ledger that holds SBER, and an exchange whose clock goes on."""

    def __init__(self, exchange: Clocked, context: FetchContext, conn: Connection[Any]) -> None:
        self.exchange, self.context, self.conn = exchange, context, conn

    def ingest(self, **asked: Any) -> None:
        """Ingest what is asked, to its end."""
        request = queue.IngestRequest.parse({"instruments": ["SBER"], **asked})
        queue.submit_ingest(self.conn, request, "anna")
        self.work()

    def run(self, name: str, now: dt.datetime) -> str | None:
        """Let a schedule run at *now*; return what came of it."""
        self.exchange.now = now
        self.exchange.asked.clear()
        self.conn.execute("INSERT INTO lake.schedule_run (name, due_at) VALUES (%s, %s)", (name, now))
        arguments = {"schedule": name, "due_at": now.isoformat(), "now": now.isoformat()}
        run_increment(self.context, arguments)
        self.work()
        return schedules.last_runs(self.conn)[name].outcome

    def work(self) -> None:
        for task in ("ingest", "fetch"):
            for (arguments,) in self.conn.execute(
                "DELETE FROM procrastinate_jobs WHERE task_name = %s RETURNING args", (task,)
            ).fetchall():
                if task == "ingest":
                    plan_ingest(self.context, arguments["job_id"])
                else:
                    fetch_batch(self.context, arguments["job_id"], arguments["window_ids"])
        self.conn.execute("UPDATE lake.bronze_object SET merged_at = now(), published_at = now()")
        queue.settle(self.conn)

    def windows(self) -> list[tuple[str, str, str]]:
        """Return what the newest job read: family or timeframe, first and last date."""
        rows = self.conn.execute(
            """
            SELECT family, timeframe, from_at::date, till_date FROM lake.job_window
            WHERE job_id = (SELECT max(job_id) FROM lake.job) ORDER BY 1, 2, 3
            """
        ).fetchall()
        return [(timeframe or family, str(from_), str(till)) for family, timeframe, from_, till in rows]


@pytest.fixture
def town(dsn: str, tmp_path: Path) -> Iterator[Town]:
    exchange = OneCode(NOW)
    exchange.candles[24] = [candle(T("2024-02-01") + dt.timedelta(day)) for day in range(60)]
    exchange.candles[1] = [row for day in (18, 19, 20, 21) for row in minutes(T(f"2024-03-{day}T10:00"), 30)]
    exchange.history = days(dt.date(2024, 2, 1), 60, ["TQBR"])
    with served(exchange), connect(dsn) as conn:
        patience = Patience(attempts=1, wait_s=0.01, total_s=600)
        context = FetchContext(exchange.url, dsn, str(tmp_path / "bronze"), 0, patience=patience)
        yield Town(exchange, context, conn)


def test_a_night_brings_what_is_held_up_to_date(town: Town) -> None:
    """The days since and what was provisional, of days and end-of-day rows; then nothing is due, and no job is made."""
    town.ingest(**{"from": "2024-03-11"})
    assert town.run("increment", NIGHT) == "job 2 done"
    assert queue.jobs(town.conn)[0].requested_by == "schedule:increment"
    assert queue.jobs(town.conn)[0].asked == "all that is held: what is due"
    assert {kind for kind, *_ in town.windows()} == {"1d", "history"}
    assert max(till for *_, till in town.windows()) >= "2024-03-21"
    assert min(first for _, first, _ in town.windows()) >= "2024-03-19"
    assert town.run("increment", NIGHT + dt.timedelta(minutes=5)) == "nothing was due"
    assert (town.exchange.asked, len(queue.jobs(town.conn))) == ([], 2)


def test_gaps_that_nobody_asked_for_stay(town: Town) -> None:
    """Neither the past of what was read from a date on, nor what lies between two spans."""
    town.ingest(**{"from": "2024-02-05", "till": "2024-02-09"})
    town.ingest(**{"from": "2024-03-18"})
    town.run("increment", NIGHT)
    assert min(first for _, first, _ in town.windows()) >= "2024-03-18"


def test_a_span_of_the_past_is_not_kept_up(town: Town) -> None:
    """Who asked for two weeks of February gets no more of it."""
    town.ingest(**{"from": "2024-02-05", "till": "2024-02-16"})
    assert town.run("increment", NIGHT) == "nothing was due"


def test_only_the_timeframes_that_are_held_are_asked(town: Town) -> None:
    """Minutes bring no days."""
    town.ingest(timeframes=["1m"], **{"from": "2024-03-18"})
    town.run("increment", NIGHT)
    assert {kind for kind, *_ in town.windows()} == {"1m"}


def test_what_forms_is_read_hourly_in_a_session(town: Town) -> None:
    """An hour later the day that forms is read again; by night and at a weekend nothing is asked."""
    town.ingest(timeframes=["1m"], **{"from": "2024-03-18"})
    assert town.run("forming", NOW + dt.timedelta(hours=1, minutes=5)) == "job 2 done"
    assert {till for _, _, till in town.windows()} == {"2024-03-20"}
    for hours in (14, 66):
        now = NOW + dt.timedelta(hours=hours)
        assert town.run("forming", now) == "no session: nothing forms", to_moscow(now)
        assert town.exchange.asked == []


def test_what_failed_waits_for_the_night(town: Town) -> None:
    """A window that cannot be read makes no job each hour, and one a night."""
    town.ingest(**{"from": "2024-03-18"})
    town.run("increment", NIGHT)
    town.conn.execute(
        "UPDATE lake.coverage SET state = 'failed', next_due_at = NULL, error = 'x'"
        " WHERE till_date = (SELECT max(till_date) FROM lake.coverage)"
    )
    assert town.run("forming", NIGHT + dt.timedelta(hours=5)) == "nothing was due"
    assert town.run("increment", NIGHT + dt.timedelta(hours=5)) == "job 3 done"


def test_one_job_at_a_time_brings_up_to_date(town: Town) -> None:
    """While the exchange does not answer, hours do not heap up jobs."""
    town.ingest(**{"from": "2024-03-18"})
    queue.submit_ingest(town.conn, queue.IngestRequest.parse({"held": True}), "anna")
    town.context = replace(town.context)
    now = NIGHT.isoformat()
    town.conn.execute("INSERT INTO lake.schedule_run (name, due_at) VALUES ('increment', %s)", (NIGHT,))
    run_increment(town.context, {"schedule": "increment", "due_at": now, "now": now})
    outcome = schedules.last_runs(town.conn)["increment"].outcome
    assert outcome == "left out: job 2 brings up to date what is held"


def test_a_run_that_comes_again_makes_no_second_job(town: Town) -> None:
    """Its step may be run twice: a worker may die behind its commit."""
    town.ingest(**{"from": "2024-03-18"})
    town.run("increment", NIGHT)
    run_increment(town.context, {"schedule": "increment", "due_at": NIGHT.isoformat(), "now": NIGHT.isoformat()})
    assert len(queue.jobs(town.conn)) == 2
