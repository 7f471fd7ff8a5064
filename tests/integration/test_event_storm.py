"""A thousand objects and their news while processes die; and an ingest while store, database and webhook go away."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lakehouse.bronze.fetch import FetchContext
from lakehouse.bronze.ledger import record_landed
from lakehouse.bronze.objects import decode_object
from lakehouse.database.connection import connect
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.iss.client import Patience
from lakehouse.jobs.consumer import consume, forget_dead_workers
from lakehouse.jobs.merging import Lakeside, merge, publish
from lakehouse.jobs.recovery import recover
from lakehouse.market.candle import CANDLES
from lakehouse.silver.content_hash import content_hash
from lakehouse.silver.lake import Lake
from lakehouse.silver.merge import merge_bronze
from lakehouse.storage.store import open_store
from tests.bronze_objects import FETCHED_AT, candle, candles_object
from tests.functions_api import functions_process
from tests.heard import Heard, hearing
from tests.killing import Chain, SlowExchange, child, holding, kill_session, until, waits_to_commit
from tests.warm_jvm import Gateway

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.postgres

FIRST = dt.date(2023, 1, 2)
SERIES, DAYS, REVISED = 9, 100, 100
MOST_MERGES = 60


def objects() -> dict[str, bytes]:
    """Return 1,000 objects of one day each by their keys; every tenth says again, later, what another said."""
    rng = random.Random("storm")
    days = [(f"S{series}", FIRST + dt.timedelta(day)) for series in range(SERIES) for day in range(DAYS)]
    later = FETCHED_AT + dt.timedelta(hours=1)
    said = [(*day, 1.5, FETCHED_AT) for day in days] + [(*day, 1.25, later) for day in rng.sample(days, REVISED)]
    made = [
        candles_object(
            [candle(f"{date} 00:00:00", close)],
            secid=secid,
            timeframe="1d",
            from_=date,
            till=date,
            last=f"{date} 00:00:00",
            fetched_at=fetched_at,
        )
        for secid, date, close, fetched_at in said
    ]
    return {described.object_key: body for described, body in made}


def put_all(heard: Heard, bodies: dict[str, bytes]) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda item: heard.store.put(*item), bodies.items()))


def messages(heard: Heard, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return events that tell each of *keys* one to five times, in no order, some at a time as a store may."""
    rng = random.Random("news")
    told = [key for key in keys for _ in range(rng.randint(1, 5))]
    rng.shuffle(told)
    found = []
    while told:
        found.append(heard.event(*(told.pop() for _ in range(min(len(told), rng.randint(1, 20))))))
    return found


def deliver(heard: Heard, event: dict[str, Any]) -> None:
    """Send an event until it is taken, as a store with a queue does."""

    def is_taken() -> bool:
        try:
            return heard.tell(event)[0] == 200
        except (OSError, IndexError):  # nobody listens, or it died before it had answered
            return False

    until(is_taken, every_s=0.1)


def merge_and_publish(gateway: Gateway, dsn: str, store_url: str, options: dict[str, str], lake: Lake) -> None:
    """Be the worker that merges and publishes, on a JVM that is warm: a new one would take a minute to be so."""
    place = Lakeside(gateway.session(), dsn, store_url, lake, options)
    consume(dsn, "spark", {"merge": lambda _: merge(place), "publish": lambda _: publish(place)})


def within_a_merge(heard: Heard) -> bool:
    """Whether the merge holds the lock of candles: it derives, or commits."""
    return bool(heard.count("SELECT count(*) FROM lake.table_lock WHERE table_name = 'silver.candles'"))


def versions(lake: Lake) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = lake.at(CANDLES).open().to_pyarrow_table().to_pylist()
    return sorted(rows, key=lambda row: (row["secid"], row["trade_date"], row["known_from"]))


@pytest.mark.spark
def test_a_thousand_objects_arrive_whatever_happens_to_their_news(
    spark: SparkSession, postgres: EmbeddedPostgres, dsn: str, tmp_path: Path
) -> None:
    """
    News comes doubled and in no order, web process and worker are killed inside a merge: all is there, by few merges.

    The table is that of one merge over all objects, to the version.
    """
    bodies = objects()
    assert len(bodies) == SERIES * DAYS + REVISED == 1_000
    at_once, stormy = Lake(str(tmp_path / "at once")), Lake(str(tmp_path / "stormy"))
    with hearing(postgres, tmp_path, sends=False) as heard, ExitStack() as stack:
        put_all(heard, bodies)
        work = (Gateway.of(spark), heard.api.dsn, heard.store.url, dict(heard.store.options), stormy)
        worker = stack.enter_context(child(merge_and_publish, *work))
        news = messages(heard, list(bodies))
        with ThreadPoolExecutor(4) as pool:
            first = [pool.submit(deliver, heard, event) for event in news[: len(news) // 2]]
            until(lambda: within_a_merge(heard))
            with holding(heard.api.dsn, "lake.table_lock", "ACCESS EXCLUSIVE") as conn:
                until(lambda: waits_to_commit(conn, "silver.candles"))
                kill_session(worker)
            rest = [pool.submit(deliver, heard, event) for event in news[len(news) // 2 :]]
            heard.kill_functions()
            stack.enter_context(functions_process(heard.api.dsn, tmp_path, heard.api.port, heard.settings))
            forget_dead_workers(heard.api.dsn, "spark")
            stack.enter_context(child(merge_and_publish, *work))
            for delivery in (*first, *rest):
                delivery.result(900)
        unfinished = "SELECT count(*) FROM lake.step_run WHERE step = 'silver' AND finished_at IS NULL"
        published = "SELECT count(*) FROM lake.bronze_object WHERE published_at IS NOT NULL"
        to_do = "SELECT count(*) FROM procrastinate_jobs WHERE queue_name = 'spark' AND status IN ('todo', 'doing')"
        until(lambda: heard.count(published) == len(bodies) and not heard.count(to_do), every_s=0.1)
        assert heard.count(unfinished) == 1  # the one that was killed
        assert heard.count("SELECT count(*) FROM lake.step_run WHERE step = 'silver'") < MOST_MERGES
        assert heard.count("SELECT count(*) FROM gold.fact_candle") == SERIES * DAYS
    store = open_store(str(tmp_path / "store"))
    with connect(dsn) as conn:
        for key, body in bodies.items():
            store.put(key, body)
            record_landed(conn, key, decode_object(body).trailer)
    merge_bronze(spark, dsn, store.url, at_once)
    assert hash_of(stormy) == hash_of(at_once)
    assert versions(stormy) == versions(at_once)
    assert len(versions(stormy)) == len(bodies)


def hash_of(lake: Lake) -> str:
    return content_hash([(lake.at(CANDLES), CANDLES, True)])


# -- without Spark ----------------------------------------------------------------------------------------------------


@pytest.fixture
def own_postgres(open_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server that this test may stop."""
    with EmbeddedPostgres(open_folder / "storm", fsync=False) as server:
        yield server


def test_an_ingest_arrives_once_though_store_database_and_webhook_go_away(
    own_postgres: EmbeddedPostgres, market: SlowExchange, dsn: str, tmp_path: Path
) -> None:
    """
    The database is restarted and the store killed while windows land; the webhook answers 503, then nobody does.

    What was fetched, and what another hand put into the store, is in the ledger once, byte for byte as on a calm day.
    """
    calm = Chain.over(market, dsn, tmp_path / "calm")
    calm.fetch(calm.plan())
    expected = {key: calm.context.store().get(key) for key in calm.context.store().list("iss/")}
    with hearing(own_postgres, tmp_path) as heard, ThreadPoolExecutor(1) as thread:
        chain = Chain(context_on(heard, market), Lake(str(tmp_path)))
        job_id = chain.plan()
        asked, market.pause_s = market.requests("candles.json"), 0.3
        fetching = thread.submit(chain.fetch_on, "threads", job_id)
        until(lambda: market.requests("candles.json") > asked)
        own_postgres.stop()
        another = candles_object([candle("2023-03-01 00:00:00")], secid="ELSE", timeframe="1d")
        heard.store.put(another[0].object_key, another[1])
        assert heard.tell(heard.event(another[0].object_key))[0] == 503
        heard.minio.kill()
        still_runs(fetching, 3)
        heard.minio.start()
        heard.kill_functions()
        market.pause_s = 0
        own_postgres.start(120)
        fetching.result(900)
        chain.fetch_on("threads", job_id)  # what had been put off while the database was away
        with (
            functions_process(heard.api.dsn, tmp_path, heard.api.port, heard.settings),
            connect(heard.api.dsn) as conn,
        ):
            known = "SELECT object_key FROM lake.bronze_object ORDER BY 1"
            held = sorted(heard.store.list("iss/"))
            until(lambda: [key for (key,) in conn.execute(known)] == held, every_s=0.1)
            states = conn.execute("SELECT DISTINCT state FROM lake.job_window WHERE job_id = %s", (job_id,)).fetchall()
            waiting = conn.execute("SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'merge'").fetchone()
            missed = recover(conn, heard.store)
        bodies = {key: heard.store.get(key) for key in held}
    assert (states, waiting) == ([("landed",)], (1,))
    assert (missed.recorded, missed.lost, missed.junk) == ([], [], [])
    assert bodies == {**expected, another[0].object_key: another[1]}


def context_on(heard: Heard, market: SlowExchange) -> FetchContext:
    patience = Patience(attempts=3, wait_s=0.05, total_s=600)
    store = heard.store
    return FetchContext(market.url, heard.api.dsn, store.url, 0, patience=patience, store_options=store.options)


def still_runs(fetching: Future[None], seconds: float) -> None:
    """Let *seconds* pass in which the fetch waits for what is away."""
    with pytest.raises(TimeoutError):
        fetching.result(timeout=seconds)
