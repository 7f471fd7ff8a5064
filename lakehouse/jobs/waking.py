"""
Waking functions: for each message of the queue that asks the exchange, an SQS message with its number.

The row in PostgreSQL is the truth and was committed before. A wake may be lost, doubled or late: one that is lost is
sent again, at first after a minute, then ever more seldom, as long as its row waits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any, LiteralString

import structlog
from psycopg import Connection

from lakehouse.settings import Settings

log = structlog.get_logger()

# Which queue wakes whom: PREFIX-ingest the function that plans, PREFIX-fetch the one that reads
QUEUE_BY_TASK = {**dict.fromkeys(("ingest", "increment", "forming", "reconcile"), "ingest"), "fetch": "fetch"}
QUEUES = tuple(dict.fromkeys(QUEUE_BY_TASK.values()))
_AGAIN_S, _LONGEST_AGAIN_S = 60, 3600
# SQS delays a message by 15 minutes at most, and takes ten at once
_LONGEST_DELAY_S, _AT_ONCE = 900, 10
_MOST = 500


class Wakes:
    """
    The SQS queues ``PREFIX-ingest`` and ``PREFIX-fetch`` of a deployment, with what was given up in ``...-dead``.

    Args:
        endpoint: Address of LocalStack; AWS's own by default. Who asks, and the region, are botocore's to find.
    """

    def __init__(self, prefix: str, endpoint: str | None = None) -> None:
        self._prefix, self._endpoint = prefix, endpoint
        self._urls: dict[str, str] = {}

    @classmethod
    def of(cls, settings: Settings) -> Wakes | None:
        """Return the queues that the settings name; None where no functions are to be woken."""
        return cls(settings.queue_prefix, settings.sqs_endpoint) if settings.queue_prefix else None

    def send(self, conn: Connection[Any]) -> int:
        """
        Wake a function for each message that none was woken for, or none took; return how many.

        To be called after the commit of what was queued. SQS that does not answer is logged, and no failure: the next
        call of this sends what is left.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        due = conn.execute(_MARK, _PARAMETERS).fetchall()
        sent: list[int] = []
        try:
            for name, rows in groupby(sorted(due, key=_queue), key=_queue):
                for batch in _batches(list(rows)):
                    sent += self._send(name, batch)
        except (BotoCoreError, ClientError) as error:
            log.warning("jobs.wakes_not_sent", wakes=len(due) - len(sent), error=" ".join(str(error).split()))
        if unsent := [row[0] for row in due if row[0] not in set(sent)]:
            conn.execute("DELETE FROM lake.wake WHERE message_id = ANY(%s)", (unsent,))
        return len(sent)

    def dead(self, name: str) -> Iterator[tuple[int | None, str]]:
        """
        Yield the number of the message that each dead letter of ``PREFIX-NAME`` woke for, and its receipt.

        None stands for a body that is not ours.
        """
        while received := self._client.receive_message(
            QueueUrl=self._url(f"{name}-dead"), MaxNumberOfMessages=_AT_ONCE, VisibilityTimeout=60
        ).get("Messages"):
            for message in received:
                yield _message_id(message["Body"]), message["ReceiptHandle"]

    def delete_dead(self, name: str, receipt: str) -> None:
        """Take a dead letter out of its queue."""
        self._client.delete_message(QueueUrl=self._url(f"{name}-dead"), ReceiptHandle=receipt)

    def count_dead(self) -> int:
        """Return about how many dead letters SQS holds."""
        counts = [
            self._client.get_queue_attributes(
                QueueUrl=self._url(f"{name}-dead"), AttributeNames=["ApproximateNumberOfMessages"]
            )["Attributes"]["ApproximateNumberOfMessages"]
            for name in QUEUES
        ]
        return sum(map(int, counts))

    @cached_property
    def _client(self) -> Any:
        # Only here: the platform's own server has no queues, and Lambda brings botocore along
        from botocore.config import Config
        from botocore.session import get_session

        patience = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 3})
        return get_session().create_client("sqs", endpoint_url=self._endpoint, config=patience)

    def _url(self, name: str) -> str:
        if name not in self._urls:
            self._urls[name] = self._client.get_queue_url(QueueName=f"{self._prefix}-{name}")["QueueUrl"]
        return self._urls[name]

    def _send(self, name: str, rows: Sequence[tuple[int, str, int, int | None]]) -> list[int]:
        entries = [
            {
                "Id": str(message_id),
                "MessageBody": json.dumps({"message_id": message_id, "job_id": job_id}),
                "DelaySeconds": delay_s,
            }
            for message_id, _, delay_s, job_id in rows
        ]
        answer = self._client.send_message_batch(QueueUrl=self._url(name), Entries=entries)
        return [int(entry["Id"]) for entry in answer.get("Successful", ())]


def _queue(row: tuple[int, str, int, int | None]) -> str:
    return QUEUE_BY_TASK[row[1]]


def _batches(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(rows), _AT_ONCE):
        yield rows[first : first + _AT_ONCE]


def _message_id(body: str) -> int | None:
    try:
        found = json.loads(body)["message_id"]
    except (ValueError, TypeError, KeyError):
        return None
    return found if type(found) is int else None


_PARAMETERS = {
    "tasks": list(QUEUE_BY_TASK),
    "again_s": _AGAIN_S,
    "longest_again_s": _LONGEST_AGAIN_S,
    "longest_delay_s": _LONGEST_DELAY_S,
    "most": _MOST,
}
# Marked before it is sent: who dies in between leaves a wake that counts as lost
_MARK: LiteralString = """
    WITH due AS (
        SELECT j.id, j.task_name, greatest(0, ceil(extract(epoch FROM j.scheduled_at - now())))::int AS delay_s,
            (j.args ->> 'job_id')::bigint AS job_id
        FROM procrastinate_jobs j LEFT JOIN lake.wake w ON w.message_id = j.id
        WHERE j.status = 'todo' AND j.task_name = ANY(%(tasks)s)
            AND (j.scheduled_at IS NULL OR j.scheduled_at <= now() + make_interval(secs => %(longest_delay_s)s))
            AND (w.message_id IS NULL OR greatest(w.sent_at, j.scheduled_at)
                < now() - make_interval(secs => least(%(again_s)s * 2.0 ^ (w.sends - 1), %(longest_again_s)s)))
        ORDER BY j.id LIMIT %(most)s FOR UPDATE OF j SKIP LOCKED
    ), marked AS (
        INSERT INTO lake.wake AS w (message_id) SELECT id FROM due
        ON CONFLICT (message_id) DO UPDATE SET sends = w.sends + 1, sent_at = now()
            WHERE w.sent_at < now() - make_interval(secs => %(again_s)s)
        RETURNING message_id
    )
    SELECT due.* FROM due JOIN marked ON marked.message_id = due.id ORDER BY due.id
"""
