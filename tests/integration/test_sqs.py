"""Waking by SQS, on LocalStack: sent, lost, given up there, and taken back."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from click.testing import CliRunner
from psycopg import Connection
from starlette.requests import Request

from functions import context
from gradio_app.ingest import IngestDesk
from infra.localstack.server import LocalStackServer
from lakehouse.access.sessions import mint
from lakehouse.access.users import create_user
from lakehouse.cli import lakehouse
from lakehouse.database.connection import connect
from lakehouse.jobs import queue, redriving
from lakehouse.jobs.queue import IngestRequest
from lakehouse.jobs.waking import QUEUES, Wakes
from lakehouse.ports import free_port

pytestmark = pytest.mark.postgres
REQUEST = IngestRequest.parse({"instruments": ["SBER"]})


class Queues:
    """A deployment's queues, as infra/aws/stores.json makes them, but for times that a test does not wait."""

    def __init__(self, wakes: Wakes, prefix: str) -> None:
        self.client, self.prefix = wakes._client, prefix
        for name in QUEUES:
            self._make(f"{name}-dead", {})
            arn = self.client.get_queue_attributes(QueueUrl=self.url(f"{name}-dead"), AttributeNames=["QueueArn"])
            redrive = {"deadLetterTargetArn": arn["Attributes"]["QueueArn"], "maxReceiveCount": 1}
            self._make(name, {"RedrivePolicy": json.dumps(redrive)})

    def _make(self, name: str, attributes: dict[str, str]) -> None:
        self.client.create_queue(QueueName=f"{self.prefix}-{name}", Attributes=attributes)

    def url(self, name: str) -> str:
        return str(self.client.get_queue_url(QueueName=f"{self.prefix}-{name}")["QueueUrl"])

    def receive(self, name: str, *, deletes: bool = True) -> list[dict[str, Any]]:
        """Take what is there; without *deletes* as a function that fails."""
        received = self.client.receive_message(
            QueueUrl=self.url(name), MaxNumberOfMessages=10, WaitTimeSeconds=1, VisibilityTimeout=60 if deletes else 0
        ).get("Messages", [])
        for message in received if deletes else ():
            self.client.delete_message(QueueUrl=self.url(name), ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]) for message in received]


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn, "lakehouse_app") as opened:
        yield opened


@pytest.fixture
def wakes(localstack: LocalStackServer, monkeypatch: pytest.MonkeyPatch) -> Wakes:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", localstack.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", localstack.secret_access_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", localstack.region)
    return Wakes(f"q{uuid.uuid4().hex[:12]}", localstack.endpoint)


@pytest.fixture
def queues(wakes: Wakes) -> Queues:
    return Queues(wakes, wakes._prefix)


def test_each_message_is_woken_for_once_and_again_when_the_wake_was_lost(
    conn: Connection[Any], wakes: Wakes, queues: Queues
) -> None:
    """A wake carries ids only; what nobody took is woken for again after a minute, and then ever more seldom."""
    job_id = queue.submit_ingest(conn, REQUEST, "anna")
    queue.enqueue(conn, "fetch", {"job_id": job_id, "window_ids": [1, 2]})
    queue.enqueue(conn, "merge", {}, only_one=True)
    assert (wakes.send(conn), wakes.send(conn)) == (2, 0)
    ids = dict(conn.execute("SELECT task_name, id FROM procrastinate_jobs").fetchall())
    assert queues.receive("ingest") == [{"message_id": ids["ingest"], "job_id": job_id}]
    assert queues.receive("fetch") == [{"message_id": ids["fetch"], "job_id": job_id}]
    sent = []
    for minutes in (0.9, 1.1, 1.1, 2.1):
        conn.execute("UPDATE lake.wake SET sent_at = now() - make_interval(secs => %s)", (60 * minutes,))
        sent.append(wakes.send(conn))
    assert sent == [0, 2, 0, 2]


def test_what_is_done_is_not_woken_for(conn: Connection[Any], wakes: Wakes, queues: Queues) -> None:
    """Nor what another has, nor what is put off for longer than SQS can wait."""
    for status in ("doing", "failed"):
        queue.submit_ingest(conn, REQUEST, "anna")
        conn.execute("UPDATE procrastinate_jobs SET status = %s WHERE status = 'todo'", (status,))
    queue.submit_ingest(conn, REQUEST, "anna")
    conn.execute("UPDATE procrastinate_jobs SET scheduled_at = now() + interval '1 hour' WHERE status = 'todo'")
    assert wakes.send(conn) == 0


def test_many_are_woken_at_once(conn: Connection[Any], wakes: Wakes, queues: Queues) -> None:
    """SQS takes ten at a time."""
    for _ in range(23):
        queue.submit_ingest(conn, REQUEST, "anna")
    assert wakes.send(conn) == 23
    received = [message for _ in range(6) for message in queues.receive("ingest")]
    assert len({message["message_id"] for message in received}) == 23


def test_what_sqs_gave_up_is_taken_back(conn: Connection[Any], wakes: Wakes, queues: Queues) -> None:
    """A wake whose function failed again and again is sent anew if its row still waits; the others are dropped."""
    done, waits = queue.submit_ingest(conn, REQUEST, "anna"), queue.submit_ingest(conn, REQUEST, "anna")
    wakes.send(conn)
    for _ in range(20):
        queues.receive("ingest", deletes=False)
        if wakes.count_dead() == 2:
            break
    conn.execute("DELETE FROM procrastinate_jobs WHERE (args ->> 'job_id')::bigint = %s", (done,))
    found = redriving.redrive(conn, wakes)
    assert (found.taken_from_sqs, found.woken_again, wakes.count_dead()) == (2, 1, 0)
    assert [message["job_id"] for message in queues.receive("ingest")] == [waits]
    assert str(found).endswith("2 taken from SQS's dead-letter queues, 1 of them woken again")


@pytest.fixture
def settings(dsn: str, wakes: Wakes, queues: Queues, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let pages and commands find the database and the queues."""
    for name, value in {"DATABASE_URL": dsn, "QUEUE_PREFIX": queues.prefix, "SQS_ENDPOINT": wakes._endpoint}.items():
        monkeypatch.setenv(f"LAKEHOUSE_{name}", str(value))
    for cached in (context.settings, context.pool, context.wakes):
        cached.cache_clear()
    yield
    context.pool().close()
    for cached in (context.settings, context.pool, context.wakes):
        cached.cache_clear()


def give_up(conn: Connection[Any]) -> None:
    """Let the one job there is have failed before it was planned."""
    conn.execute("DELETE FROM procrastinate_jobs")
    conn.execute("UPDATE lake.job SET state = 'failed', error = 'it failed'")


def put_off(conn: Connection[Any], wakes: Wakes) -> None:
    """Let what waits be put off, and woken for with that delay."""
    conn.execute("UPDATE procrastinate_jobs SET scheduled_at = now() + interval '10 minutes'")
    conn.execute("UPDATE lake.breaker SET since = now(), until = now() + interval '10 minutes', reason = '503'")
    wakes.send(conn)


def test_who_queues_on_the_page_wakes_for_it(
    conn: Connection[Any], wakes: Wakes, queues: Queues, settings: None
) -> None:
    """A job that is queued, one that is cancelled while it is put off, and one that is retried."""
    token = mint(conn, create_user(conn, "anna", "correct horse battery", "admin"), dt.timedelta(minutes=5))
    headers = [(b"cookie", b"lakehouse_session=" + token.encode())]
    asking = gr.Request(Request({"type": "http", "headers": headers, "client": ("203.0.113.9", 1)}))
    desk = IngestDesk(context.pool())
    desk.submit("SBER", ["1d"], None, None, False, asking)
    woken = [{"message_id": 1, "job_id": 1}]
    assert queues.receive("ingest") == woken
    put_off(conn, wakes)
    desk.cancel(1, asking)
    assert queues.receive("ingest") == woken
    give_up(conn)
    desk.retry(1, asking)
    assert queues.receive("ingest") == [{"message_id": 2, "job_id": 1}]


def test_who_queues_by_a_command_wakes_for_it(
    conn: Connection[Any], wakes: Wakes, queues: Queues, settings: None
) -> None:
    """Ingest, resume and cancel of what is put off, retry and redrive."""

    def woken_by(command: str) -> list[dict[str, Any]]:
        done = CliRunner().invoke(lakehouse, command.split(), catch_exceptions=False)
        assert done.exit_code == 0
        return queues.receive("ingest")

    woken = [{"message_id": 1, "job_id": 1}]
    assert woken_by("ingest SBER --no-wait") == woken
    put_off(conn, wakes)
    assert woken_by("jobs resume") == woken
    put_off(conn, wakes)
    assert woken_by("jobs cancel 1") == woken
    give_up(conn)
    assert woken_by("jobs retry 1") == [{"message_id": 2, "job_id": 1}]
    conn.execute("UPDATE procrastinate_jobs SET status = 'failed'")
    conn.execute("UPDATE lake.job SET state = 'failed', error = 'it failed'")
    assert woken_by("jobs redrive") == [{"message_id": 3, "job_id": 1}]


def test_without_sqs_nothing_is_lost(conn: Connection[Any], wakes: Wakes, queues: Queues) -> None:
    """A wake that could not be sent is sent by whoever comes next."""
    queue.submit_ingest(conn, REQUEST, "anna")
    assert Wakes(queues.prefix, f"http://127.0.0.1:{free_port()}").send(conn) == 0
    assert Wakes("nobody-made-these", wakes._endpoint).send(conn) == 0
    assert wakes.send(conn) == 1
