"""A PostgreSQL that goes away and returns: workers and web process go on by themselves, and lose nothing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from procrastinate.exceptions import ConnectorException
from procrastinate.sql import queries
from psycopg.conninfo import make_conninfo
from structlog.testing import capture_logs

from lakehouse.database.connection import connect
from lakehouse.database.outage import SharedConnection, connect_patiently, is_outage
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.jobs import queue
from lakehouse.jobs.connector import SteadyConnector
from lakehouse.market.errors import LakehouseError
from lakehouse.ports import free_port
from tests.asking import recording
from tests.killing import Mortal
from tests.seeds import seeds

pytestmark = pytest.mark.postgres
AWAY_S = 3
RATE_PER_S, IN_FLIGHT = 20, 4
# Killed is the harder one
WAYS = {"killed": True, "stopped": False}
TRIED = list(WAYS)[: seeds(1, 2)]
# As the worker for Spark does: holds a table's lock while it derives, and checks it before it commits
_MERGER = """
import pathlib, sys, time
from lakehouse.database.locks import table_lock
from lakehouse.jobs.consumer import consume
from lakehouse.logs import configure_logs
from lakehouse.market.errors import LakehouseError

dsn, folder, patience_s = sys.argv[1], pathlib.Path(sys.argv[2]), float(sys.argv[3])

def merge(arguments):
    with table_lock(dsn, "silver.candles", "run") as generation:
        (folder / "began").touch()
        while not (folder / "go").exists():
            time.sleep(0.05)
        generation.check()
        with (folder / "merged").open("a") as file:
            file.write("once")

configure_logs("warning", "json")
try:
    consume(dsn, "spark", {"merge": merge}, patience_s=patience_s)
except LakehouseError as error:
    sys.exit(f"Error: {error}")
"""


@dataclass
class Town:
    """A database that can be taken away, and processes that use it."""

    mortal: Mortal
    folder: Path

    @property
    def dsn(self) -> str:
        return self.mortal.dsn

    @property
    def server(self) -> EmbeddedPostgres:
        return self.mortal.server

    @contextmanager
    def process(self, name: str, *command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run Python with *command* while the block runs."""
        settings = {
            "LAKEHOUSE_DATABASE_URL": self.dsn,
            "LAKEHOUSE_DATA_DIR": str(self.folder),
            "LAKEHOUSE_SOURCE": "simulator",
            "LAKEHOUSE_LOG_FORMAT": "json",
        }
        with (
            self.log(name).open("wb") as log,
            subprocess.Popen(
                [sys.executable, *command],
                env={**os.environ, **settings, **environment},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def said(self, name: str, event: str) -> int:
        """Return how many lines a process logged of *event*."""
        return self.log(name).read_text(encoding="utf-8").count(f'"{event}"')

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        with connect(self.dsn) as conn:
            return conn.execute(question.encode()).fetchall()


@pytest.fixture
def town(mortal: Mortal, tmp_path: Path) -> Town:
    return Town(mortal, tmp_path)


def until(is_so: Callable[[], Any], what: str, seconds: float = 900) -> None:
    """Wait until *is_so*."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            pytest.fail(f"{what}: not in {seconds} s")
        time.sleep(0.1)


def submit(town: Town, *secids: str) -> int:
    document = {"instruments": list(secids), "timeframes": ["1h"], "from": "2020-01-01"}
    with connect(town.dsn, "lakehouse_app") as conn:
        return queue.submit_ingest(conn, queue.IngestRequest.parse(document), "anna")


@pytest.mark.torture
@pytest.mark.parametrize("is_killed", [WAYS[way] for way in TRIED], ids=TRIED)
def test_a_fetch_goes_on_when_the_database_is_back(town: Town, is_killed: bool) -> None:
    """No window fails, no message is lost, the same worker does it all, and it says once that it waited."""
    with recording(latency_s=0.1) as (url, arrivals), worker(town, url) as process:
        job_id = submit(town, "SBER", "GAZP")
        until(lambda: town.ask("SELECT FROM lake.job_window WHERE state = 'running' AND pages > 1"), "fetching")
        town.mortal.take_away(is_killed=is_killed)
        stopped = len(arrivals.at)
        time.sleep(AWAY_S)
        while_away = len(arrivals.at) - stopped
        town.server.start()
        until(lambda: not town.ask("SELECT FROM lake.job_window WHERE state IN ('queued', 'running')"), "landing")
        until(lambda: not waiting(town), "messages of the queue io")
        assert process.poll() is None
    assert_nothing_was_lost(town, job_id)
    assert while_away <= IN_FLIGHT  # who had a slot when it went away may still use it
    assert (town.said("worker", "database.away"), town.said("worker", "database.back")) == (1, 1)
    assert "Traceback" not in town.log("worker").read_text(encoding="utf-8")


@contextmanager
def worker(town: Town, iss_url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the worker for I/O, within a budget."""
    settings = {"LAKEHOUSE_ISS_URL": iss_url, "LAKEHOUSE_REQUESTS_PER_S": f"{RATE_PER_S}"}
    with town.process("worker", "-m", "functions.embedded", "worker", **settings) as process:
        yield process


def waiting(town: Town) -> list[tuple[Any, ...]]:
    return town.ask("SELECT task_name, status FROM procrastinate_jobs WHERE queue_name = 'io'")


def assert_nothing_was_lost(town: Town, job_id: int) -> None:
    """Every window landed and is known for it, once or, where it was being read, again."""
    states = dict(town.ask("SELECT state, count(*) FROM lake.job_window GROUP BY state"))
    assert set(states) == {"landed"}, town.ask("SELECT secid, state, error FROM lake.job_window")
    assert states["landed"] >= 4
    assert town.ask("SELECT state, error FROM lake.job") == [("running", None)]
    assert town.ask("SELECT FROM lake.coverage WHERE state IN ('failed', 'missing')") == []
    unknown = (
        "SELECT FROM lake.job_window w LEFT JOIN lake.bronze_object o USING (object_key) WHERE o.object_key IS NULL"
    )
    assert town.ask(unknown) == []


@pytest.mark.torture
@pytest.mark.parametrize("is_killed", [WAYS[way] for way in TRIED], ids=TRIED)
def test_a_merge_is_done_when_the_database_is_back(town: Town, is_killed: bool) -> None:
    """The run whose lock was cut does not commit; it is run again, which is no failed attempt, by the same worker."""
    with connect(town.dsn, "lakehouse_app") as conn:
        queue.enqueue(conn, "merge", {}, only_one=True)
    with town.process("merger", "-c", _MERGER, town.dsn, str(town.folder), "60") as process:
        until((town.folder / "began").exists, "the merge")
        town.mortal.take_away(is_killed=is_killed)
        (town.folder / "go").touch()
        time.sleep(AWAY_S)
        town.server.start()
        until((town.folder / "merged").exists, "the second run")
        until(lambda: not town.ask("SELECT FROM procrastinate_jobs WHERE task_name = 'merge'"), "the message's end")
        assert process.poll() is None
    assert (town.folder / "merged").read_text(encoding="utf-8") == "once"
    assert town.said("merger", "jobs.step_failed") == 0
    assert (town.said("merger", "database.away"), town.said("merger", "database.back")) == (1, 1)
    assert "Traceback" not in town.log("merger").read_text(encoding="utf-8")


def test_a_worker_gives_up_clearly(town: Town) -> None:
    """A database that stays away ends the worker with one line that says so and what to do."""
    with town.process("merger", "-c", _MERGER, town.dsn, str(town.folder), "2") as process:
        until(lambda: town.ask("SELECT FROM procrastinate_workers"), "the worker")
        town.mortal.take_away(is_killed=False)
        assert process.wait(300) == 1
    last = town.log("merger").read_text(encoding="utf-8").splitlines()[-1]
    assert last.startswith("Error: the database has not answered for ")
    assert last.endswith("start it again; what waits for it goes on by itself")
    assert "Traceback" not in town.log("merger").read_text(encoding="utf-8")


def test_health_is_degraded_while_the_database_is_away(town: Town) -> None:
    """It answers 503 and why, also to others who ask for data, and is well again by itself."""
    port = free_port()
    with town.process("web", "-m", "functions.embedded", "api", LAKEHOUSE_PORT=str(port)) as process:
        until(lambda: get(port, "health")[0] == 200, "health")
        town.mortal.take_away(is_killed=True)
        status, said = get(port, "health")
        assert (status, said["status"], said["live"], said["ready"]) == (503, "unavailable", True, False)
        assert [reason["code"] for reason in said["reasons"]] == ["database_away"]
        assert said["reasons"][0]["message"].startswith("the database is away: `lakehouse doctor`")
        assert get(port, "health?probe=live") == (200, {"status": "ok", "live": True})
        assert get(port, "health?probe=ready")[0] == 503
        assert get(port, "jobs")[0] == 503
        town.server.start()
        until(lambda: get(port, "health")[0] == 200, "health")
        assert get(port, "health")[1]["ready"] is True
        assert process.poll() is None
    assert "Traceback" not in town.log("web").read_text(encoding="utf-8")


def get(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """Return status and document of the API's answer; 0 while nobody listens."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/{path}", headers={"Authorization": "Bearer none"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except urllib.error.URLError:
        return 0, {}


async def test_a_message_taken_as_the_connection_broke_is_taken_again(town: Town) -> None:
    """It says that a worker does it who never heard of it: it is put back, and what he does know of is not."""
    dsn = town.dsn
    with connect(dsn, "lakehouse_app") as conn:
        for name in ("known", "unheard"):
            queue.enqueue(conn, "landed", {"object_key": name})
    ((worker_id,),) = town.ask("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
    fetch: dict[str, Any] = {"query": queries["fetch_job"], "queues": ["io"], "worker_id": worker_id}
    connector = SteadyConnector(dsn, 2)
    await connector.open_async()
    try:
        known = await connector.execute_query_one_async(**fetch)
        with connect(dsn) as conn:
            conn.execute("UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s", (worker_id,))
        town.mortal.take_away(is_killed=True)
        asking = asyncio.create_task(connector.execute_query_one_async(**fetch))
        await asyncio.sleep(7)  # longer than the pool waits for a connection by itself
        await asyncio.to_thread(town.server.start)
        again = await asyncio.wait_for(asking, 300)
    finally:
        await connector.close_async()
    assert (known["args"], again["args"]) == ({"object_key": "known"}, {"object_key": "unheard"})


async def test_a_message_that_had_ended_as_the_connection_broke_has_ended(town: Town) -> None:
    """Asked again to end it the database says that there is no such message: that is what was wanted."""
    with connect(town.dsn, "lakehouse_app") as conn:
        queue.enqueue(conn, "landed", {"object_key": "known"})
    connector = SteadyConnector(town.dsn, 2)
    finish: dict[str, Any] = {"query": queries["finish_job"], "job_id": 1, "status": "succeeded", "delete_job": True}
    await connector.open_async()
    try:
        await connector.execute_query_async(**finish)
        with pytest.raises(ConnectorException):  # without an outage it is a mistake of ours
            await connector.execute_query_async(**finish)
        town.mortal.take_away(is_killed=True)
        asking = asyncio.create_task(connector.execute_query_async(**finish))
        await asyncio.sleep(7)
        await asyncio.to_thread(town.server.start)
        await asyncio.wait_for(asking, 300)
    finally:
        await connector.close_async()


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (psycopg.OperationalError("connection failed: Connection refused"), True),
        (psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly"), True),
        (psycopg.OperationalError("FATAL:  the database system is starting up"), True),
        (psycopg.OperationalError("FATAL:  sorry, too many clients already"), True),
        (psycopg.errors.AdminShutdown("terminating connection due to administrator command"), True),
        (psycopg.OperationalError('FATAL:  password authentication failed for user "postgres"'), False),
        (psycopg.OperationalError('FATAL:  database "x" does not exist'), False),
        (psycopg.errors.DiskFull("could not extend file"), False),
        (psycopg.errors.QueryCanceled("canceling statement due to statement timeout"), False),
        (psycopg.errors.UniqueViolation("duplicate key"), False),
        (LakehouseError("paging is broken"), False),
    ],
)
def test_an_outage_is_told_from_other_errors(error: Exception, is_one: bool) -> None:
    """What waiting mends is one; a wrong password, a full disk and a mistake of ours are not."""
    assert is_outage(error) is is_one
    around = LakehouseError("the step failed")
    around.__cause__ = error
    assert is_outage(around) is is_one


def test_a_connection_of_before_an_outage_is_no_other_outage(town: Town) -> None:
    """It was not used until the database was back, and others had said so: it is opened anew in silence."""
    idle, busy = SharedConnection(town.dsn), SharedConnection(town.dsn)
    for connection in (idle, busy):
        connection.run(lambda conn: conn.execute("SELECT 1"))
    town.mortal.take_away(is_killed=True)
    starting = threading.Timer(1, town.server.start)
    starting.start()
    with capture_logs() as said:
        busy.run(lambda conn: conn.execute("SELECT 1"))
        starting.join()
        idle.run(lambda conn: conn.execute("SELECT 1"))
    for connection in (idle, busy):
        connection.close()
    assert [line["event"] for line in said] == ["database.away", "database.back"]


def test_a_database_that_refuses_us_is_not_waited_for(dsn: str) -> None:
    """A wrong name fails at once: it would be refused again."""
    begin = time.monotonic()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        connect_patiently(make_conninfo(dsn, dbname="nowhere"))
    assert time.monotonic() - begin < 60  # half of the time for which a database that is away is waited for
