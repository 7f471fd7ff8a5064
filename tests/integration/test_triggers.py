"""What wakes the handlers: HTTP, an object, a message, a schedule. Each has one effect, embedded and on AWS's terms."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from lakehouse.bronze.objects import decode_object
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.ports import free_port
from lakehouse.storage.minio import MinioServer, Webhook, minio_program
from lakehouse.storage.store import Store, open_store
from tests.bronze_objects import candle, candles_object
from tests.components import require
from tests.deployed import NAMES, Deployed
from tests.functions_api import Api, deployed_functions, embedded, served_functions
from tests.hostile_requests import JSON, Hostile
from tests.killing import until
from tests.stores import make_bucket, options, send_events
from tests.uploaded import DAYS, candles_json

pytestmark = pytest.mark.postgres
SINCE = "2026-05-01"
WAITING = "SELECT task_name FROM procrastinate_jobs WHERE status = 'todo'"
# A busy machine takes its time to start processes
WITHIN_S = 900


@dataclass(frozen=True)
class Chain:
    """The API, the store of Bronze whose news the handlers hear, and whoever runs the steps."""

    api: Api
    store: Store

    def ask(self, method: str, target: str, body: object = None) -> tuple[int, Any]:
        sent = b"" if body is None else json.dumps(body).encode()
        status, said = self.api.ask(Hostile(method, target.encode(), 0, "", sent, headers=(JSON,)))
        return status, json.loads(said)

    def over(self, job_id: int) -> dict[str, Any]:
        """Return a job once all that the exchange is asked for is read."""

        def read() -> Any:
            _, job = self.ask("GET", f"/v1/jobs/{job_id}")
            busy = job["planned_at"] is None or {"queued", "running"} & {each["state"] for each in job["windows"]}
            return None if busy else job

        found: dict[str, Any] = until(read, WITHIN_S, 0.2)
        return found

    def rows(self, query: str, *parameters: object) -> list[Any]:
        return self.api.conn.execute(query.encode(), parameters).fetchall()

    def forget(self) -> None:
        """Let no step wait."""
        self.api.conn.execute("DELETE FROM procrastinate_jobs WHERE status = 'todo'")


@pytest.fixture(scope="module")
def at_home(postgres: EmbeddedPostgres, simulator: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """The API and its worker as processes, with MinIO, which tells them of objects."""
    if not minio_program().is_file():
        require("MinIO", "python3 infra/setup.py --with-stores")
    folder, port, token = tmp_path_factory.mktemp("at-home"), free_port(), secrets.token_urlsafe(24)
    with ExitStack() as stack:
        webhook = Webhook(f"http://127.0.0.1:{port}/v1/events/storage", token)
        minio = stack.enter_context(MinioServer(folder / "minio", webhook=webhook))
        bucket = make_bucket(minio)
        store = open_store(f"s3://{bucket}", options(minio))
        more = {
            "LAKEHOUSE_SOURCE": "simulator",
            "LAKEHOUSE_ISS_URL": simulator,
            "LAKEHOUSE_REQUESTS_PER_S": "0",
            "LAKEHOUSE_BRONZE_URL": store.url,
            "LAKEHOUSE_STORAGE_TOKEN": token,
            **{f"LAKEHOUSE_S3_{name.upper()}": value for name, value in options(minio).items()},
        }
        api = stack.enter_context(served_functions(postgres, folder, port, more))
        send_events(minio, bucket)
        environ = {**os.environ, **more, "LAKEHOUSE_DATABASE_URL": api.dsn, "LAKEHOUSE_DATA_DIR": str(folder)}
        stack.enter_context(embedded("worker", environ, folder / "worker.log"))
        yield Chain(api, store)


@pytest.fixture(scope="module")
def on_aws(deployed: Deployed) -> Iterator[Chain]:
    """The same as they are deployed, awake."""
    with deployed_functions(deployed) as api:
        deployed.set_awake(True)
        yield Chain(api, deployed.store)
        deployed.set_awake(False)


@pytest.fixture(scope="module", params=["at_home", "on_aws"])
def chain(request: pytest.FixtureRequest) -> Chain:
    """Each of both."""
    found: Chain = request.getfixturevalue(request.param)
    return found


def test_a_job_asked_for_over_http_is_planned_and_fetched(chain: Chain) -> None:
    """Its windows land in the store, a ticker that the exchange does not know is told, and one merge waits."""
    asked = {"instruments": ["SBER", "XXXX"], "timeframes": ["1d"], "from": SINCE}
    status, said = chain.ask("POST", "/v1/ingest", asked)
    assert status == 202
    job = chain.over(said["job_id"])
    assert {window["state"] for window in job["windows"]} == {"landed"}
    assert [error["secid"] for error in job["report"]["errors"]] == ["XXXX"]
    keys = [key for (key,) in chain.rows("SELECT object_key FROM lake.job_window WHERE job_id = %s", said["job_id"])]
    assert sum(decode_object(chain.store.get(key)).trailer.rows for key in keys) == job["rows"] > 0
    until(lambda: chain.rows("SELECT 1 FROM procrastinate_jobs WHERE task_name = 'merge'") == [(1,)], WITHIN_S)


def test_an_object_that_others_put_there_is_recorded_and_poked_for(chain: Chain) -> None:
    """The store's own news of it is enough."""
    chain.forget()
    described, body = candles_object([candle("2024-03-04 10:00:00")], secid="GAZP")
    chain.store.put(described.object_key, body)
    recorded = "SELECT secid, rows FROM lake.bronze_object WHERE object_key = %s"
    until(lambda: chain.rows(recorded, described.object_key) == [("GAZP", 1)], WITHIN_S)
    until(lambda: chain.rows(WAITING) == [("merge",)], WITHIN_S)


def test_a_message_of_no_row_is_dropped(on_aws: Chain, deployed: Deployed) -> None:
    """One that comes again after its row is done, and one that somebody made up, are no work and no dead letter."""
    sqs = deployed.client("sqs")
    before, jobs = on_aws.rows("SELECT count(*) FROM lake.job_window"), on_aws.rows("SELECT job_id FROM lake.job")
    for name in ("ingest", "fetch"):
        url = sqs.get_queue_url(QueueName=f"{NAMES.queue_prefix}-{name}")["QueueUrl"]
        sqs.purge_queue(QueueUrl=url)
        for number in (1, 1, 10**9):
            sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"message_id": number, "job_id": jobs[0][0]}))
        until(partial(is_empty, sqs, url), WITHIN_S, 0.5)
        assert is_empty(sqs, f"{url}-dead")
    assert on_aws.rows("SELECT count(*) FROM lake.job_window") == before


def is_empty(sqs: Any, url: str) -> bool:
    """Return whether a queue holds no message, nor one that somebody has in hand."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return set(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()) == {"0"}


def test_a_saved_page_that_others_put_there_is_imported(chain: Chain) -> None:
    """Under uploads/, by the store's own news; what is no page of what its place says is listed as refused."""
    chain.store.put(DAYS, candles_json([candle("2012-03-01 00:00:00")]))
    chain.store.put(DAYS.replace("/1d/", "/1w/"), candles_json([candle("2012-03-01 00:00:00")]))
    seen = "SELECT state, rows FROM lake.upload ORDER BY 1"
    until(lambda: chain.rows(seen) == [("imported", 1), ("refused", 0)], WITHIN_S)
    assert chain.rows("SELECT count(*) FROM lake.bronze_object WHERE rank = -1") == [(1,)]


def test_a_schedule_that_is_due_runs_once(chain: Chain) -> None:
    """What no event told of is found by it."""
    chain.forget()
    chain.api.conn.execute("UPDATE lake.schedule SET is_on = name = 'reconcile', since = '2020-01-01Z'")
    finished = "SELECT name, has_failed FROM lake.schedule_run WHERE finished_at IS NOT NULL"
    assert until(lambda: chain.rows(finished), WITHIN_S, 0.5) == [("reconcile", False)]
    assert chain.rows("SELECT count(*) FROM lake.schedule_run") == [(1,)]
