"""A small market, the chain over it step by step, and a child process that runs a step until it is killed."""

from __future__ import annotations

import asyncio
import datetime as dt
import multiprocessing
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
from aiohttp import web
from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo

from lakehouse.bronze.fetch import FetchContext
from lakehouse.bronze.window import Window, candle_series, format_from
from lakehouse.database.connection import connect
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.iss.client import Patience
from lakehouse.jobs import merging, queue
from lakehouse.jobs.fetching import fetch_batch
from lakehouse.jobs.planning import plan_ingest
from lakehouse.jobs.recovery import recover
from lakehouse.market.candle import CANDLES, FACT_CANDLE, HISTORY
from lakehouse.market.instrument import Instrument
from lakehouse.market.timeframe import Timeframe
from lakehouse.silver.content_hash import content_hash
from lakehouse.silver.lake import Lake
from tests.exchange import candle, days, minutes
from tests.served_exchange import Document, ServedExchange, block, served

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Wednesday, 15:00 in Moscow
NOW = dt.datetime(2024, 3, 20, 12, 0, tzinfo=dt.UTC)
FIRST = dt.date(2024, 1, 1)
WORKERS = 4
REQUEST: dict[str, Any] = {"instruments": ["SBER"], "timeframes": ["1d", "1m"], "from": f"{FIRST}"}


class SlowExchange(ServedExchange):
    """
    SBER's days since January and its minutes, 80 a week-day, with a pause before every page.

    While it *is_holding* no page of candles but a window's first is answered: what is being read stays being read.
    """

    def __init__(self) -> None:
        super().__init__(NOW)
        dates = [FIRST + dt.timedelta(days=number) for number in range((NOW.date() - FIRST).days + 1)]
        traded = [date for date in dates if date.weekday() < 5]
        self.candles[24] = [candle(_at(date), 100 + number / 7) for number, date in enumerate(traded)]
        self.candles[1] = [row for date in traded for row in minutes(_at(date, 10), 80)]
        self.history = [row for date in traded[:-1] for row in days(date, 1)]
        self.pause_s = 0.0
        self.is_holding = False
        self.held = 0
        self.fault = _never_renamed

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith(("/candles.json", "/candles")):
            await asyncio.sleep(self.pause_s)
            if self.is_holding and request.query.get("start", "0") != "0":
                self.held += 1
                while self.is_holding:  # noqa: ASYNC110 - another thread says so
                    await asyncio.sleep(0.02)
        return await super().answer(request)

    def readings(self, conn: Connection[Any], job_id: int) -> dict[tuple[str, str], int]:
        """Return how often each window of candles of a job was begun, by timeframe and first moment."""
        windows = conn.execute(
            "SELECT timeframe, from_at FROM lake.job_window WHERE family = 'candles' AND job_id = %s", (job_id,)
        ).fetchall()
        return {
            (timeframe, f"{from_at}"): self._begun(timeframe, format_from(from_at)) for timeframe, from_at in windows
        }

    def _begun(self, timeframe: str, from_: str) -> int:
        first = {"interval": {"1m": "1", "1d": "24"}[timeframe], "from": from_, "start": "0"}
        return sum(
            path.endswith("candles.json") and "till" in asked and first.items() <= asked.items()
            for path, asked in self.asked
        )


def _at(date: dt.date, hour: int = 0) -> dt.datetime:
    return dt.datetime.combine(date, dt.time(hour))


def _never_renamed(path: str, asked: Mapping[str, str], document: Document) -> Document:
    if path.endswith("changeover.json"):
        return {"changeover": block(["action_date", "old_secid", "new_secid"], [])}
    return document


@contextmanager
def slow_exchange() -> Iterator[SlowExchange]:
    """Serve the market on a free port."""
    exchange = SlowExchange()
    with served(exchange):
        yield exchange


@dataclass(frozen=True)
class Chain:
    """The steps of the chain over one folder and one database, as the workers run them."""

    context: FetchContext
    lake: Lake

    @classmethod
    def over(cls, exchange: ServedExchange, dsn: str, folder: Path) -> Chain:
        patience = Patience(attempts=3, wait_s=0.05, total_s=600)
        context = FetchContext(exchange.url, dsn, str(folder / "bronze"), 0, WORKERS, patience=patience)
        return cls(context, Lake(str(folder)))

    @property
    def dsn(self) -> str:
        return self.context.dsn

    def plan(self) -> int:
        """Plan the ingest of the market; return its job."""
        with connect(self.dsn) as conn:
            job_id = queue.submit_ingest(conn, queue.IngestRequest.parse(REQUEST), "test")
        plan_ingest(self.context, job_id)
        return job_id

    def minutes(self, job_id: int) -> list[Window]:
        """Return the windows of minutes of a job, oldest first."""
        with connect(self.dsn) as conn:
            query = "SELECT from_at, till_date FROM lake.job_window WHERE job_id = %s AND timeframe = '1m' ORDER BY 1"
            series = candle_series(Instrument("stock", "shares", "TQBR", "SBER"), Timeframe.MINUTE)
            return [Window(series, *row) for row in conn.execute(query, (job_id,)).fetchall()]

    def fetch(self, job_id: int) -> None:
        """Take up what was left, then fetch what the job's messages name."""
        with connect(self.dsn) as conn:
            recover(conn, self.context.store())
        self.fetch_on("threads", job_id)

    def fetch_on(self, scheduler: str, job_id: int) -> None:
        """Fetch what the job's messages name."""
        with connect(self.dsn) as conn:
            query = "SELECT args FROM procrastinate_jobs WHERE task_name = 'fetch' ORDER BY id"
            messages = conn.execute(query).fetchall()
        for (message,) in messages:
            fetch_batch(self.context, job_id, message["window_ids"], scheduler)

    def merge(self, spark: SparkSession) -> None:
        merging.merge(self._place(spark))

    def publish(self, spark: SparkSession) -> None:
        merging.publish(self._place(spark))

    def _place(self, spark: SparkSession) -> merging.Lakeside:
        return merging.Lakeside(spark, self.dsn, self.context.store_url, self.lake)

    def with_context(self, context: FetchContext) -> Chain:
        return replace(self, context=context)


def hashes(lake: Lake) -> tuple[str, str]:
    """Return the content hashes of Silver and of Gold."""
    silver = [(lake.at(table), table, True) for table in (CANDLES, HISTORY)]
    return content_hash(silver), content_hash([(lake.at(FACT_CANDLE), FACT_CANDLE, False)])


def shown(dsn: str) -> int:
    """Return how many candles a reader sees."""
    with connect(dsn, "lakehouse_read") as conn:
        return int(conn.execute("SELECT count(*) FROM gold.fact_candle").fetchall()[0][0])


@dataclass(frozen=True)
class Calm:
    """A run that nothing disturbed: its hashes, and the rows that readers see."""

    chain: Chain
    hashes: tuple[str, str]
    rows: int


@contextmanager
def copied_database(dsn: str, template: str) -> Iterator[str]:
    """Give the address of a copy of a database, dropped at the end."""
    name = f"kill_{uuid.uuid4().hex}"
    with connect(dsn) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield make_conninfo(dsn, dbname=name)
    finally:
        with connect(dsn) as conn:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def child(work: Callable[..., object], *arguments: Any) -> Iterator[int]:
    """Run *work* in a process and a session of its own; give its number. At the end it is killed with its group."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_in_own_session, args=(work, arguments))
    process.start()
    if process.pid is None:
        raise RuntimeError("the child has no number")
    try:
        yield process.pid
    finally:
        kill_session(process.pid)
        process.join(120)


@dataclass(frozen=True)
class Mortal:
    """A PostgreSQL that may be taken away, and a database of its that is the test's own."""

    server: EmbeddedPostgres
    dsn: str

    def take_away(self, *, is_killed: bool) -> None:
        """Stop the server as an operator does, or kill it."""
        if is_killed:
            kill_server(self.server)
        self.server.stop()


def kill_server(server: EmbeddedPostgres) -> None:
    """Kill -9 a PostgreSQL; return when those who serve its connections are gone, which still answer a moment."""
    postmaster = psutil.Process(int((server.data_dir / "postmaster.pid").read_text(encoding="ascii").splitlines()[0]))
    serving = postmaster.children()
    postmaster.kill()
    if psutil.wait_procs(serving, 120)[1]:
        raise TimeoutError("the processes of a killed PostgreSQL serve on")


def kill_session(leader: int) -> None:
    """Kill -9 a process and its group, where it has one of its own."""
    for kill in (os.killpg, os.kill):
        try:
            kill(leader, signal.SIGKILL)
        except ProcessLookupError:
            continue


def until(is_so: Callable[[], Any], within_s: float = 900, every_s: float = 0.02) -> Any:
    """Return what *is_so* returns once that is true; fail when it is not in time: a busy machine has Spark in 350 s."""
    end = time.monotonic() + within_s
    while not (found := is_so()):
        if time.monotonic() > end:
            raise TimeoutError(f"{is_so} did not come true in {within_s} s")
        time.sleep(every_s)
    return found


def _in_own_session(work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    os.setsid()
    work(*arguments)


@contextmanager
def holding(dsn: str, relation: str, mode: str) -> Iterator[Connection[Any]]:
    """Hold a lock that stops whoever comes to *relation*; give a connection to look on with."""
    with psycopg.connect(dsn) as holder, connect(dsn) as looker:
        holder.execute(sql.SQL("LOCK TABLE {} IN {} MODE").format(sql.SQL(relation), sql.SQL(mode)))
        yield looker


def count(conn: Connection[Any], query: str) -> int:
    row = conn.execute(query).fetchone()
    return int(row[0]) if row else 0


def runs_on(conn: Connection[Any], table: str) -> int:
    """Return how often the lock of a Delta table was taken."""
    return count(conn, f"SELECT coalesce(max(generation), 0) FROM lake.table_lock WHERE table_name = '{table}'")  # noqa: S608


def waits_to_commit(conn: Connection[Any], table: str) -> bool:
    """Return whether who holds a Delta table's lock waits to look, before the commit, whether it is still his."""
    row = conn.execute(
        """
        SELECT count(*) FROM pg_locks waits JOIN pg_locks holds USING (pid)
        WHERE NOT waits.granted AND waits.relation = 'lake.table_lock'::regclass AND holds.locktype = 'advisory'
            AND (holds.classid::bigint << 32) + holds.objid::bigint = hashtextextended(%s, 0)
        """,
        (f"lakehouse {table}",),
    ).fetchone()
    return bool(row and row[0])
