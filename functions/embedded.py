"""
The handlers without AWS: messages of the queue become the events that the handlers would get there.

``python -m functions.embedded worker`` serves the queue `io`; ``python -m functions.embedded api`` serves HTTP alone.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any
from urllib.parse import quote_plus

import psycopg
import structlog
import uvicorn

from functions import context
from functions.app import NAMES, app, fetch, ingest_step, landed, tick
from functions.host import asgi_app
from functions.proxy import Forwarded
from lakehouse.database.outage import connect_patiently
from lakehouse.jobs.consumer import Step, consume
from lakehouse.jobs.recovery import on_a_disk, recover
from lakehouse.lifeline import end_with_parent
from lakehouse.listening import server_options
from lakehouse.logs import configure_logs_of
from lakehouse.market.errors import LakehouseError

# Messages at a time of one worker: a batch being fetched must not hold up planning or the news of landed objects.
CONCURRENCY = 4
_TICK_S = 20.0

log = structlog.get_logger()


def queue_event(message: dict[str, Any]) -> dict[str, Any]:
    """Return the event of a queue that holds one message."""
    return {"Records": [{"body": json.dumps(message), "receiptHandle": "", "eventSource": "lakehouse:queue"}]}


def step_event(step: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the event that has a handler run a step whose row this process has claimed."""
    return queue_event({"step": step, "arguments": arguments})


def storage_event(bucket: str, object_key: str) -> dict[str, Any]:
    """Return the event of a store that has a new object, as S3 sends it."""
    record = {"eventSource": "lakehouse:storage", "eventName": "ObjectCreated:Put"}
    return {"Records": [{**record, "s3": {"bucket": {"name": bucket}, "object": {"key": quote_plus(object_key)}}}]}


def tick_event() -> dict[str, Any]:
    """Return the event of a schedule, as EventBridge sends it."""
    empty = dict.fromkeys(("version", "account", "region", "detail-type", "time", "id"), "")
    return {**empty, "source": "lakehouse:schedule", "detail": {}, "resources": []}


def tick_forever(ends: threading.Event) -> None:
    """Do what is due every few seconds until the event is set; a database that is away is waited for."""
    while not ends.wait(_TICK_S):
        try:
            tick(tick_event(), None)
        except psycopg.OperationalError:
            continue
        except Exception as error:
            log.exception("schedules.tick_failed", error=str(error))


def run_worker() -> None:
    """Take up what a worker that died left, then serve the queue `io` and the schedules until told to stop."""
    with connect_patiently(context.dsn(), "lakehouse_app") as conn:
        recover(conn, context.fetching().store())
    steps: dict[str, Step] = {
        "ingest": lambda message: ingest_step(step_event("ingest", message), None),
        "fetch": lambda message: fetch(step_event("fetch", message), None),
        "landed": lambda message: landed(storage_event(NAMES.bucket, message["object_key"]), None),
    }
    # Any step of the queue that a handler serves on AWS for the schedules
    steps |= {name: _scheduled(name) for name in ("increment", "forming", "reconcile")}
    ends = threading.Event()
    threading.Thread(target=tick_forever, args=[ends], name="tick", daemon=True).start()
    try:
        data = context.settings().data_dir
        consume(context.dsn(), "io", on_a_disk(steps, data), CONCURRENCY, alive=data / "alive-io")
    finally:
        ends.set()


def _scheduled(name: str) -> Step:
    return lambda message: ingest_step(step_event(name, message), None)


def run_api() -> None:
    """Serve the API alone, without the pages, at the root of the configured port."""
    settings = context.settings()
    options = server_options(settings)
    application = Forwarded(asgi_app(app, threads=8), settings)
    uvicorn.run(application, **options, log_level="warning", lifespan="off")


def main() -> int:
    """Run what the argument names; 1 with one line on standard error when it cannot."""
    roles = {"worker": run_worker, "api": run_api}
    if len(sys.argv) != 2 or sys.argv[1] not in roles:
        sys.stderr.write(f"usage: python -m functions.embedded {'|'.join(roles)}\n")
        return 2
    end_with_parent()
    try:
        configure_logs_of(context.settings())
        roles[sys.argv[1]]()
    except LakehouseError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
