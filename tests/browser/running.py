"""A web process over a PostgreSQL that holds the made market."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from lakehouse.access.roles import User
from lakehouse.access.sessions import mint
from lakehouse.database.connection import connect
from lakehouse.market.candle import DIM_DATE, DIM_INSTRUMENT, FACT_CANDLE
from lakehouse.ports import free_port
from lakehouse.serving.publish import publish_gold
from lakehouse.silver.arrow import arrow_schema
from lakehouse.silver.lake import Lake
from tests.browser import made_market


@dataclass(frozen=True)
class Platform:
    """A running web process: its address, its database, and its users with their passwords by role."""

    url: str
    dsn: str = field(repr=False)
    passwords: dict[str, str] = field(repr=False)
    users: dict[str, User]
    folder: Path = Path()
    sandbox_socket: Path | None = None

    def begin_session(self, role: str) -> str:
        """Begin a session of the user of a role; return its token."""
        with connect(self.dsn) as conn:
            return mint(conn, self.users[role], dt.timedelta(hours=1))

    def query(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """Ask the platform's database."""
        with psycopg.connect(self.dsn) as conn:
            return conn.execute(sql, values).fetchall()


@contextmanager
def web_process(dsn: str, folder: Path, sandbox_socket: Path | None = None) -> Iterator[str]:
    """Run the web process over a database; give its address."""
    with web_server(dsn, folder, sandbox_socket) as (url, _):
        yield url


@contextmanager
def web_server(
    dsn: str, folder: Path, sandbox_socket: Path | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the web process over a database; give its address and itself."""
    port = free_port()
    environment = {
        **os.environ,
        "LAKEHOUSE_DATABASE_URL": dsn,
        "LAKEHOUSE_DATA_DIR": str(folder),
        "LAKEHOUSE_PORT": str(port),
        "LAKEHOUSE_SOURCE": "simulator",
        **({"LAKEHOUSE_SANDBOX_SOCKET": str(sandbox_socket)} if sandbox_socket else {}),
    }
    command = [sys.executable, "-m", "gradio_app.server"]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE) as process:
        try:
            wait_until_answers(f"http://127.0.0.1:{port}/login", process)
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.terminate()


def publish_made_market(dsn: str, folder: Path) -> None:
    """Write Gold's tables as Delta and publish them, as the chain does."""
    rows_by_table = {
        DIM_INSTRUMENT: [made_market.instrument(made) for made in made_market.MARKET],
        DIM_DATE: made_market.dates(),
        FACT_CANDLE: [row for made in made_market.MARKET for row in made_market.candles(made)],
    }
    for table, rows in rows_by_table.items():
        target = folder / table.name.replace(".", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_deltalake(
            str(target),
            pa.Table.from_pylist(rows, schema=arrow_schema(table)),
            partition_by=list(table.partition_by) or None,
            configuration={"delta.enableChangeDataFeed": "true"},
        )
    publish_gold(dsn, Lake(str(folder)))


def wait_until_answers(url: str, process: subprocess.Popen[bytes], timeout_s: float = 180) -> None:
    """Wait for the web process; fail when it ended."""
    deadline = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the web process did not answer at {url} (exit code {process.poll()})")
