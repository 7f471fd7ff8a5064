"""The queue while the exchange does not answer: paused, not failed; and everybody is told."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chalice.test import Client
from click.testing import CliRunner
from psycopg import Connection

from functions import context
from functions.app import app
from gradio_app import jobs_table
from lakehouse.access.sessions import mint
from lakehouse.access.users import create_user
from lakehouse.bronze.fetch import FetchContext
from lakehouse.cli.jobs import ingest as ingest_command
from lakehouse.cli.jobs import jobs as jobs_command
from lakehouse.database import breaker
from lakehouse.database.breaker import Pause
from lakehouse.database.connection import connect
from lakehouse.database.outage import close_shared
from lakehouse.iss.client import Patience
from lakehouse.jobs import queue
from lakehouse.jobs.fetching import fetch_batch
from lakehouse.jobs.planning import plan_ingest
from lakehouse.simulator.faults import Fault
from lakehouse.simulator.weather import Faults
from tests.asking import recording
from tests.exchange import candle, days
from tests.integration.test_jobs_fetching import NOW, Chain, OneCode
from tests.killing import until
from tests.served_exchange import Document, served

pytestmark = pytest.mark.postgres
PAUSE_S = 2
SINCE = dt.datetime(2026, 11, 25, 9, 3, tzinfo=dt.UTC)
SAID = (
    "The exchange does not answer since 2026-11-25 12:03 (503 Service Unavailable): "
    "asking again at 2999-01-01 03:00 Moscow time"
)


def nothing(path: str, asked: Mapping[str, str], document: Document) -> Document | None:
    """Answer nobody."""
    return None


@pytest.fixture
def chain(dsn: str, tmp_path: Path) -> Iterator[Chain]:
    exchange = OneCode(NOW)
    exchange.candles[24] = [candle(dt.datetime.fromisoformat("2024-03-01") + dt.timedelta(day)) for day in range(20)]
    exchange.history = days(dt.date(2024, 3, 1), 19, ["SMAL", "TQBR"])
    with served(exchange), connect(dsn) as conn:
        context_ = FetchContext(
            exchange.url,
            dsn,
            str(tmp_path / "bronze"),
            rate_per_s=0,
            patience=Patience(attempts=2, wait_s=0.01, total_s=600),
            pause=Pause(100, 1000),
        )
        yield Chain(exchange, context_, conn)
    close_shared()


def waiting(conn: Connection[Any]) -> list[tuple[str, dict[str, Any], int]]:
    """Return the messages that wait, with the seconds until they are due, rounded to ten."""
    rows = conn.execute(
        """
        SELECT task_name, args, coalesce(extract(epoch FROM scheduled_at - now()), 0)::float8 FROM procrastinate_jobs
        WHERE task_name IN ('ingest', 'fetch') AND status = 'todo' ORDER BY id
        """
    ).fetchall()
    return [(task, arguments, round(max(wait_s, 0), -1)) for task, arguments, wait_s in rows]


def make_due(conn: Connection[Any]) -> None:
    """Do as if the pause were over."""
    conn.execute("UPDATE lake.breaker SET until = clock_timestamp()")


def test_windows_that_meet_an_exchange_that_is_away_wait_again(chain: Chain) -> None:
    """None failed and none counts as tried, the job runs, and one message for them is due when it may be asked."""
    job_id = chain.submit("SBER")
    chain.work("ingest")
    chain.exchange.fault = nothing
    chain.work("fetch")
    windows = queue.windows(chain.conn, job_id)
    assert [(window.state, window.attempts, window.error) for window in windows] == [("queued", 0, None)] * 2
    assert chain.job(job_id).state == "running"
    ids = sorted(window.window_id for window in windows)
    assert waiting(chain.conn) == [("fetch", {"job_id": job_id, "window_ids": ids}, 100)]
    assert chain.conn.execute("SELECT count(*) FROM lake.coverage WHERE state = 'failed'").fetchone() == (0,)


def test_while_paused_windows_are_not_even_begun(chain: Chain) -> None:
    """A message that comes meanwhile is put off as it is, and nothing is asked."""
    job_id = chain.submit("SBER")
    chain.work("ingest")
    chain.exchange.fault = nothing
    chain.work("fetch")
    chain.exchange.asked.clear()
    before = waiting(chain.conn)
    chain.work("fetch")
    assert chain.exchange.asked == []
    assert waiting(chain.conn) == before
    assert chain.states(job_id) == ["queued", "queued"]


def test_what_waited_lands_when_the_exchange_is_back(chain: Chain) -> None:
    """The job ends as if nothing had been."""
    job_id = chain.submit("SBER")
    chain.work("ingest")
    chain.exchange.fault = nothing
    chain.work("fetch")
    chain.exchange.fault = lambda path, asked, document: document
    make_due(chain.conn)
    chain.work("fetch")
    chain.publish()
    assert chain.job(job_id).state == "done"
    assert {window.attempts for window in queue.windows(chain.conn, job_id)} == {1}
    assert waiting(chain.conn) == []


def test_planning_waits_for_the_exchange(chain: Chain) -> None:
    """No instrument is noted as failed; what was planned before stays, and the rest is planned later."""
    job_id = chain.submit("SBER", "T")

    def away_for_t(path: str, asked: Mapping[str, str], document: Document) -> Document | None:
        if path.endswith("/securities/T.json"):
            chain.exchange.fault = nothing
            return None
        return document

    chain.exchange.fault = away_for_t
    chain.work("ingest")
    job = chain.job(job_id)
    assert (job.state, job.error, job.instrument_errors) == ("running", None, [])
    assert ("ingest", {"job_id": job_id}, 100) in waiting(chain.conn)
    planned = job.windows_total
    assert planned == 2
    chain.exchange.fault = lambda path, asked, document: document
    make_due(chain.conn)
    chain.work("ingest")
    job = chain.job(job_id)
    assert (job.planned_at is not None, job.windows_total) == (True, planned)
    assert job.instrument_errors == [
        "T: the exchange does not know 'T': use its SECID, such as SBER, T or RU000A0JX0J2"
    ]


def test_planning_that_cannot_begin_waits(chain: Chain) -> None:
    """An exchange that is away before the first question leaves the job queued for later, not failed."""
    job_id = chain.submit("SBER")
    chain.exchange.fault = nothing
    chain.work("ingest")
    assert (chain.job(job_id).state, chain.job(job_id).error) == ("running", None)
    assert waiting(chain.conn) == [("ingest", {"job_id": job_id}, 100)]


def test_a_window_that_fails_alone_is_failed(chain: Chain) -> None:
    """The exchange answers everything else, so the window is at fault: it is failed, and nothing is paused."""
    job_id = chain.submit("SBER")
    chain.work("ingest")
    chain.exchange.fault = lambda path, asked, document: None if path.endswith("/candles.json") else document
    chain.work("fetch")
    assert sorted(chain.states(job_id)) == ["failed", "landed"]
    assert waiting(chain.conn) == []
    assert breaker.state(chain.conn).paused is None


def test_without_a_breaker_every_window_fails(chain: Chain) -> None:
    """A context without a pause is for those who want to know what each window meets."""
    job_id = chain.submit("SBER")
    chain.work("ingest")
    chain.exchange.fault = nothing
    ids = [window.window_id for window in queue.windows(chain.conn, job_id)]
    fetch_batch(replace(chain.context, pause=None), job_id, ids)
    assert chain.states(job_id) == ["failed", "failed"]


def test_a_paused_job_is_cancelled_at_once(chain: Chain) -> None:
    """Its windows wait, so nothing must stop; the message that comes later finds nothing to do."""
    job_id = chain.submit("SBER")
    chain.work("ingest")
    chain.exchange.fault = nothing
    chain.work("fetch")
    assert queue.cancel(chain.conn, job_id) == "cancelled"
    make_due(chain.conn)
    chain.exchange.asked.clear()
    chain.work("fetch")
    assert chain.exchange.asked == []
    assert chain.states(job_id) == ["cancelled", "cancelled"]


def test_a_job_whose_planning_waits_is_cancelled_soon(chain: Chain) -> None:
    """The message that was put off is due at once, and ends the job."""
    job_id = chain.submit("SBER")
    chain.exchange.fault = nothing
    chain.work("ingest")
    assert queue.cancel(chain.conn, job_id) == "cancelling"
    assert waiting(chain.conn) == [("ingest", {"job_id": job_id}, 0)]
    plan_ingest(chain.context, job_id)
    assert chain.job(job_id).state == "cancelled"


def test_a_window_of_a_cancelled_job_does_not_wait_again(chain: Chain) -> None:
    """It met the open breaker while its job was cancelled: it is cancelled, not queued."""
    job_id = chain.submit("SBER")
    chain.work("ingest")
    cancelled: list[str] = []

    def cancel_and_leave(path: str, asked: Mapping[str, str], document: Document) -> None:
        if not cancelled:
            cancelled.append(queue.cancel(chain.conn, job_id))

    chain.exchange.fault = cancel_and_leave
    chain.work("fetch")
    assert cancelled == ["cancelling"]
    assert chain.states(job_id) == ["cancelled", "cancelled"]
    assert chain.job(job_id).state == "cancelled"
    assert waiting(chain.conn) == []


@pytest.fixture
def paused(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection[Any]]:
    """Return a database whose exchange does not answer, with a job that waits for it; handlers and commands use it."""
    monkeypatch.setenv("LAKEHOUSE_DATABASE_URL", dsn)
    context.settings.cache_clear()
    context.pool.cache_clear()
    with connect(dsn) as conn:
        job_id = queue.submit_ingest(conn, queue.IngestRequest.parse({"instruments": ["SBER"]}), "anna")
        conn.execute("DELETE FROM procrastinate_jobs")
        queue.enqueue(conn, "ingest", {"job_id": job_id}, after_s=500)
        conn.execute(
            "UPDATE lake.breaker SET since = %s, until = '2999-01-01Z', reason = '503 Service Unavailable'", (SINCE,)
        )
        yield conn
    context.pool().close()
    context.settings.cache_clear()
    context.pool.cache_clear()


def run(*arguments: str) -> tuple[str, str]:
    """Run ``lakehouse jobs``; return what it wrote to standard output and standard error."""
    result = CliRunner().invoke(jobs_command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout, result.stderr


def test_the_command_says_what_jobs_wait_for(paused: Connection[Any]) -> None:
    """One line above the table; for programs beside the array, and within the document of one job."""
    assert run()[0].splitlines()[0] == SAID
    out, err = run("--json")
    assert (len(json.loads(out)), err.strip()) == (1, SAID)
    shown = json.loads(run("show", "1")[0])["paused"]
    assert (shown["since"], shown["reason"]) == ("2026-11-25T09:03:00+00:00", "503 Service Unavailable")
    breaker.close(paused)
    assert "exchange" not in run()[0]
    assert json.loads(run("show", "1")[0])["paused"] is None


def test_who_waits_for_a_job_is_told_once(paused: Connection[Any], dsn: str) -> None:
    """``lakehouse ingest`` says what it waits for, once, and goes on waiting."""

    def end_it() -> None:
        with connect(dsn) as conn:
            until(lambda: one(conn, "SELECT count(*) FROM lake.job WHERE job_id = 2"))
            time.sleep(4)  # it looks more often than once meanwhile
            conn.execute("UPDATE lake.job SET state = 'done', started_at = now(), finished_at = now() WHERE job_id = 2")

    ending = threading.Thread(target=end_it)
    ending.start()
    result = CliRunner().invoke(ingest_command, ["SBER"], catch_exceptions=False)
    ending.join()
    assert (result.exit_code, result.stderr.splitlines()) == (0, ["job 2 is queued", SAID])
    assert result.stdout.startswith("job 2 done: ")


def test_an_admin_resumes_by_hand(paused: Connection[Any]) -> None:
    """What was put off is due at once, what is waiting for other things is not, and it is written down who did it."""
    queue.enqueue(paused, "merge", {}, after_s=500)
    assert run("resume")[0] == "the exchange is asked again\n"
    assert breaker.state(paused).paused is None
    assert waiting(paused) == [("ingest", {"job_id": 1}, 0)]
    due = paused.execute("SELECT scheduled_at > now() FROM procrastinate_jobs WHERE task_name = 'merge'").fetchone()
    assert due == (True,)
    assert run("resume")[0] == "nothing was paused: the exchange answers\n"
    audited = paused.execute("SELECT action, outcome FROM lake.audit ORDER BY audit_id").fetchall()
    assert audited == [("resume", "resumed"), ("resume", "nothing paused")]


def test_the_api_says_what_jobs_wait_for(paused: Connection[Any]) -> None:
    """The list and each job carry since, until and reason, or null."""
    token = mint(paused, create_user(paused, "anna", "a long password", "analyst"), dt.timedelta(hours=1))
    headers = {"Authorization": f"Bearer {token}"}
    expected = {"since": "2026-11-25T09:03:00Z", "until": "2999-01-01T00:00:00Z", "reason": "503 Service Unavailable"}
    with Client(app) as client:
        for path in ("/v1/jobs", "/v1/jobs/1"):
            assert client.http.get(path, headers=headers).json_body["paused"] == expected
        breaker.close(paused)
        for path in ("/v1/jobs", "/v1/jobs/1"):
            assert client.http.get(path, headers=headers).json_body["paused"] is None


def test_the_page_says_what_jobs_wait_for(paused: Connection[Any]) -> None:
    """The line stands above the jobs, and is gone when the exchange answers."""
    shown = jobs_table.jobs(queue.jobs(paused), None, SINCE, str(breaker.state(paused)))
    assert shown.startswith('<p class="lh-message lh-error" role="status">The exchange does not answer since')
    assert jobs_table.jobs([], None, SINCE, SAID).count(SAID) == 1
    assert "exchange" not in jobs_table.jobs(queue.jobs(paused), None, SINCE)


@pytest.mark.torture
def test_two_workers_leave_the_exchange_alone_together(dsn: str, tmp_path: Path) -> None:
    """Once it answers nobody each pause ends in one question of one of them; when it is back all windows land."""
    faults = Faults()
    with recording(0.05, faults) as (url, arrivals), connect(dsn) as conn, two_workers(dsn, url, tmp_path):
        request = {"instruments": ["SBER", "GAZP"], "timeframes": ["1h"], "from": "2023-01-01"}
        queue.submit_ingest(conn, queue.IngestRequest.parse(request), "anna")
        until(lambda: one(conn, "SELECT count(*) FROM lake.job_window WHERE pages > 0"))
        begin = len(arrivals.at)
        faults.order([Fault("503")])
        until(lambda: one(conn, "SELECT openings FROM lake.breaker") >= 3)
        asked = list(zip(arrivals.at, arrivals.paths, strict=True))[begin:]
        until(lambda: one(conn, "SELECT count(*) FROM lake.job_window WHERE state = 'running'") == 0)
        failed = one(conn, "SELECT count(*) FROM lake.job_window WHERE state = 'failed'")
        faults.order([])
        until(lambda: not one(conn, "SELECT count(*) FROM lake.job_window WHERE state <> 'landed'"))
        until(lambda: one(conn, "SELECT count(*) FROM procrastinate_jobs WHERE queue_name = 'io'") == 0)
    # The first decides; those that were on their way then have come before the second
    first, second, third = [at for at, path in asked if path == "/iss/index.json"][:3]
    assert (second - first >= PAUSE_S, third - second >= 2 * PAUSE_S) == (True, True)
    assert [path for at, path in asked if second <= at <= third] == ["/iss/index.json"] * 2
    assert failed == 0


@contextmanager
def two_workers(dsn: str, url: str, folder: Path) -> Iterator[None]:
    """Run two workers for I/O while the block runs."""
    settings = {
        "LAKEHOUSE_DATABASE_URL": dsn,
        "LAKEHOUSE_DATA_DIR": str(folder),
        "LAKEHOUSE_SOURCE": "simulator",
        "LAKEHOUSE_ISS_URL": url,
        "LAKEHOUSE_REQUESTS_PER_S": "50",
        "LAKEHOUSE_PAUSE_S": str(PAUSE_S),
    }
    command = [sys.executable, "-m", "functions.embedded", "worker"]
    environment = {**os.environ, **settings}
    running = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)
    ]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.communicate()


def one(conn: Connection[Any], question: str) -> Any:
    """Return the one value that is asked for."""
    row = conn.execute(question.encode()).fetchone()
    return row[0] if row else None
