"""An ingest while store, database and webhook go away."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from lakehouse.bronze.fetch import FetchContext
from lakehouse.database.connection import connect
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.iss.client import Patience
from lakehouse.jobs.recovery import recover
from lakehouse.silver.lake import Lake
from tests.bronze_objects import candle, candles_object
from tests.functions_api import functions_process
from tests.heard import Heard, hearing
from tests.killing import Chain, SlowExchange, until

pytestmark = pytest.mark.postgres


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
        until(lambda: market.requests("candles.json") > asked, 60)
        own_postgres.stop()
        another = candles_object([candle("2023-03-01 00:00:00")], secid="ELSE", timeframe="1d")
        heard.store.put(another[0].object_key, another[1])
        assert heard.tell(heard.event(another[0].object_key))[0] == 503
        heard.minio.kill()
        still_runs(fetching, 3)
        heard.minio.start()
        heard.kill_functions()
        market.pause_s = 0
        own_postgres.start(20)
        fetching.result(120)
        chain.fetch_on("threads", job_id)  # what had been put off while the database was away
        with (
            functions_process(heard.api.dsn, tmp_path, heard.api.port, heard.settings),
            connect(heard.api.dsn) as conn,
        ):
            known = "SELECT object_key FROM lake.bronze_object ORDER BY 1"
            held = sorted(heard.store.list("iss/"))
            until(lambda: [key for (key,) in conn.execute(known)] == held, 60, 0.1)
            states = conn.execute("SELECT DISTINCT state FROM lake.job_window WHERE job_id = %s", (job_id,)).fetchall()
            waiting = conn.execute("SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'merge'").fetchone()
            missed = recover(conn, heard.store)
        bodies = {key: heard.store.get(key) for key in held}
    assert (states, waiting) == ([("landed",)], (1,))
    assert (missed.recorded, missed.lost, missed.junk) == ([], [], [])
    assert bodies == {**expected, another[0].object_key: another[1]}


def context_on(heard: Heard, market: SlowExchange) -> FetchContext:
    patience = Patience(attempts=3, wait_s=0.05, total_s=60)
    store = heard.store
    return FetchContext(market.url, heard.api.dsn, store.url, 0, patience=patience, store_options=store.options)


def still_runs(fetching: Future[None], seconds: float) -> None:
    """Let *seconds* pass in which the fetch waits for what is away."""
    with pytest.raises(TimeoutError):
        fetching.result(timeout=seconds)
