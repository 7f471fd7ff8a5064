"""A MinIO whose events come to the functions, which run as a process of their own."""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.ports import free_port
from lakehouse.storage.minio import MinioServer, Webhook, minio_program
from lakehouse.storage.store import Store, open_store
from tests.components import require
from tests.functions_api import Api, served_functions
from tests.hostile_requests import JSON, Hostile
from tests.stores import make_bucket, options, send_events
from tests.unit.test_storage_events import record

EVENTS = b"/v1/events/storage"


@dataclass(frozen=True)
class Heard:
    """A MinIO, a store in a bucket of it whose events come to the functions, and those."""

    minio: MinioServer
    store: Store
    api: Api
    token: str
    settings: Mapping[str, str] = field(repr=False)

    def tell(self, event: object, token: str | None = None) -> tuple[int, dict[str, Any]]:
        """Send an event as the store would, or somebody else with a token of his own."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        authorization = b"Authorization: Bearer " + (self.token if token is None else token).encode()
        status, said = self.api.ask(Hostile("POST", EVENTS, 0, "", body, "", (JSON, authorization)))
        return status, json.loads(said)

    def kill_functions(self) -> None:
        """Kill -9 the functions."""
        if self.api.process_id is None:
            raise RuntimeError("the functions run elsewhere")
        os.kill(self.api.process_id, signal.SIGKILL)

    def event(self, *keys: str) -> dict[str, Any]:
        bucket = self.store.url.split("/")[2]
        return {"Records": [record(f"bronze/{key}", bucket=bucket) for key in keys]}

    def count(self, query: Any, *parameters: object) -> int:
        row = self.api.conn.execute(query, parameters).fetchone()
        return int(row[0]) if row else 0


@contextmanager
def hearing(postgres: EmbeddedPostgres, folder: Path, *, sends: bool = True) -> Iterator[Heard]:
    """Run MinIO with the functions as its webhook; it *sends* events by itself, or a test tells them."""
    if not minio_program().is_file():
        require("MinIO", "python3 infra/setup.py --with-stores")
    port, token = free_port(), secrets.token_urlsafe(24)
    webhook = Webhook(f"http://127.0.0.1:{port}{EVENTS.decode()}", token)
    with MinioServer(folder / "minio", webhook=webhook) as minio:
        bucket = make_bucket(minio)
        url, known = f"s3://{bucket}/bronze", options(minio)
        settings = {
            "LAKEHOUSE_BRONZE_URL": url,
            "LAKEHOUSE_STORAGE_TOKEN": token,
            **{f"LAKEHOUSE_S3_{name.upper()}": value for name, value in known.items()},
        }
        with served_functions(postgres, folder, port, settings) as api:
            if sends:
                send_events(minio, bucket, "bronze/")
            yield Heard(minio, open_store(url, known), api, token, settings)
