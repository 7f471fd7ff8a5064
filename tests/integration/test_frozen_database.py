"""A PostgreSQL that is stopped by a signal takes connections of TCP, and answers nothing."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg import Connection

from lakehouse.database.connection import connect, pool
from lakehouse.database.outage import is_outage
from lakehouse.database.watching import Frozen, WatchedConnection
from lakehouse.ports import free_port
from tests.functions_api import functions_process
from tests.killing import Mortal, until

pytestmark = pytest.mark.postgres


@contextmanager
def frozen(mortal: Mortal) -> Iterator[None]:
    """Stop all processes of the server by SIGSTOP while the block runs."""
    pid = int((mortal.server.data_dir / "postmaster.pid").read_text(encoding="ascii").splitlines()[0])
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    try:
        _signal(family, signal.SIGSTOP)
        yield
    finally:
        _signal(family, signal.SIGCONT)


def _signal(family: list[psutil.Process], number: signal.Signals) -> None:
    for process in family:
        with suppress(ProcessLookupError):  # one whose client had gone
            os.kill(process.pid, number)


def watched(mortal: Mortal, silent_s: float) -> Connection[Any]:
    conn = connect(mortal.dsn)
    assert isinstance(conn, WatchedConnection)
    conn.silent_s = silent_s
    return conn


def test_a_statement_does_not_wait_for_a_frozen_server(mortal: Mortal) -> None:
    """It is an outage as any other: who meets it waits until the database is back, and begins anew."""
    with watched(mortal, 0.5) as conn:
        with frozen(mortal), pytest.raises(Frozen, match=r"answered nothing for \d+ s") as caught:
            conn.execute("SELECT 1")
        assert is_outage(caught.value)
        assert conn.closed
    with connect(mortal.dsn) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_long_statement_of_a_server_that_lives_goes_on(mortal: Mortal) -> None:
    """It is asked for another connection meanwhile, and gives one."""
    with watched(mortal, 0.2) as conn:
        assert conn.execute("SELECT 1 FROM pg_sleep(1)").fetchone() == (1,)


def test_a_pool_lends_no_connection_to_a_frozen_server(mortal: Mortal) -> None:
    """Whoever wants one hears that there is none, within seconds; later there is one again."""
    with pool(mortal.dsn, "lakehouse_app", 1, 2) as lending:
        with lending.connection() as conn:
            conn.execute("SELECT 1")
        with frozen(mortal), pytest.raises(psycopg.OperationalError), lending.connection(timeout=2) as conn:
            conn.execute("SELECT 1")
        with lending.connection(timeout=120) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)


def test_the_api_says_that_the_database_is_frozen(mortal: Mortal, tmp_path: Path) -> None:
    """It does not hang: health says why, and all is well when the server goes on."""
    port = free_port()
    with functions_process(mortal.dsn, tmp_path, port):
        until(lambda: asked(port)[0] == 200)
        with frozen(mortal):
            status, text = asked(port)
            assert status == 503
            assert "the database" in text
        until(lambda: asked(port)[0] == 200)


def asked(port: int) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("GET", "/v1/health")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
