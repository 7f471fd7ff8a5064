"""The functions on a socket, asked byte for byte."""

from __future__ import annotations

import datetime as dt
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo

from lakehouse.access.sessions import mint
from lakehouse.access.users import create_user
from lakehouse.database.connection import connect
from lakehouse.database.migrate import migrate
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.ports import free_port
from tests.deployed import Deployed
from tests.hostile_requests import Hostile

# Who came and what was refused may be written down; of all else nothing may change
WRITTEN = {"lake.audit", "lake.counter", "lake.login_attempt", "lake.session", "lake.step_run"}
SCHEMAS = ("lake", "gold", "store", "public")


@dataclass(frozen=True)
class Api:
    """
    The functions on a socket, their database, and a session of each role.

    Attributes:
        logged: Returns what they wrote into their logs.
        host: The name they are asked under.
        root: Where their paths begin.
    """

    port: int
    dsn: str
    conn: Connection[Any]
    tokens: dict[str, str]
    logged: Callable[[], bytes]
    process_id: int | None = None
    host: str = "platform"
    root: str = ""

    @property
    def is_on_aws(self) -> bool:
        """Whether an API gateway stands before them."""
        return bool(self.root)

    def ask(self, request: Hostile) -> tuple[int, bytes]:
        """Send a request as written, byte for byte; return the status and the body of the answer."""
        status, _, body = self.ask_whole(request)
        return status, body

    def ask_whole(self, request: Hostile) -> tuple[int, dict[str, str], bytes]:
        """Send a request as written, byte for byte; return the status, the headers and the body of the answer."""
        headers = [b"Host: " + self.host.encode(), b"Connection: close", *request.headers]
        if request.role:
            headers.append(b"Authorization: Bearer " + self.tokens[request.role].encode())
        if request.body and not any(header.startswith(b"Transfer-Encoding") for header in headers):
            headers.append(b"Content-Length: %d" % len(request.body))
        target = self.root.encode() + request.target if request.target.startswith(b"/") else request.target
        head = b"%s %s HTTP/1.1\r\n%s\r\n\r\n" % (request.method.encode(), target, b"\r\n".join(headers))
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as connection:
            connection.sendall(head + request.body)
            answer = HTTPResponse(connection, method=request.method)
            answer.begin()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def stored(self) -> str:
        """Return of every table how many rows it has, and a hash of them."""
        (names,) = self.conn.execute(
            "SELECT array_agg(format('%%I.%%I', schemaname, tablename)) FROM pg_tables WHERE schemaname = ANY(%s)",
            (list(SCHEMAS),),
        ).fetchone() or ((),)
        counts = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {}, count(*), sum(hashtextextended(t::text, 0) % 1000000007) FROM {} t").format(
                name, sql.Identifier(*name.split("."))
            )
            for name in sorted(set(names) - WRITTEN)
        )
        return "\n".join(map(str, self.conn.execute(counts).fetchall()))


@contextmanager
def served_functions(
    postgres: EmbeddedPostgres, folder: Path, port: int = 0, more: Mapping[str, str] | None = None
) -> Iterator[Api]:
    """Run the functions, as a process with *more* settings, over a new database with a user of each role."""
    name = f"functions_{uuid.uuid4().hex}"
    with connect(postgres.dsn) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    dsn = make_conninfo(postgres.dsn, dbname=name)
    migrate(dsn)
    tokens = make_users(dsn)
    port = port or free_port()
    with functions_process(dsn, folder, port, more) as process_id, connect(dsn) as conn:
        yield Api(port, dsn, conn, tokens, (folder / "log").read_bytes, process_id)


@contextmanager
def functions_process(dsn: str, folder: Path, port: int, more: Mapping[str, str] | None = None) -> Iterator[int]:
    """Run the functions, as a process with *more* settings, over a database; give its number."""
    environment = {
        **os.environ,
        **{"LAKEHOUSE_DATABASE_URL": dsn, "LAKEHOUSE_DATA_DIR": str(folder), "LAKEHOUSE_PORT": str(port)},
        **(more or {}),
    }
    with embedded("api", environment, folder / "log") as process:
        wait_for(port, process)
        yield process.pid


@contextmanager
def embedded(role: str, environ: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``functions.embedded`` in a role, as a process."""
    command = [sys.executable, "-m", "functions.embedded", role]
    with (
        log.open("ab") as output,
        subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=output, stderr=output) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def deployed_functions(deployed: Deployed) -> Iterator[Api]:
    """Offer the API that is deployed, the database empty but for a user of each role; queues and schedules sleep."""
    deployed.set_awake(False)
    deployed.empty()
    tokens = make_users(deployed.dsn)
    with connect(deployed.dsn) as conn:
        yield Api(deployed.server.port, deployed.dsn, conn, tokens, deployed.logged, host=deployed.host, root="/api")


def make_users(dsn: str) -> dict[str, str]:
    """Make a user of each role; return a session's token of each."""
    with connect(dsn) as conn:
        users = [create_user(conn, role, "a long password", role) for role in ("viewer", "analyst", "admin")]
        return {user.name: mint(conn, user, dt.timedelta(hours=1)) for user in users}


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens on *port*."""
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"the functions did not listen (exit code {process.poll()})")
