"""What health checks of containers ask."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lakehouse.ports import free_port
from lakehouse.probe import why_unwell


class _Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/well" else 503)
        self.end_headers()
        self.wfile.write(b"the database is away")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Return the address of a service that is well at /well only."""
    with HTTPServer(("127.0.0.1", 0), _Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_service_that_answers_is_well(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the environment is asked on the way."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert why_unwell(f"{address}/well") is None


def test_a_service_that_refuses_says_why(address: str) -> None:
    """What it answers is what `docker inspect` shows."""
    assert str(why_unwell(f"{address}/")).endswith("answered 503: the database is away")


def test_a_service_that_is_away_is_unwell() -> None:
    """The address is told."""
    port = free_port()
    assert f"http://127.0.0.1:{port}/ does not answer" in str(why_unwell(f"http://127.0.0.1:{port}/"))


def test_a_worker_is_well_while_its_file_is_fresh(tmp_path: Path) -> None:
    """It touches it every 5 s; missing it has not begun, and old it has stopped or lost its database."""
    alive = tmp_path / "alive-io"
    assert "has not told yet that it lives" in str(why_unwell(f"fresh:{alive}"))
    alive.touch()
    assert why_unwell(f"fresh:{alive}") is None
    os.utime(alive, (time.time() - 3600,) * 2)
    assert "last sign of life is 36" in str(why_unwell(f"fresh:{alive}"))


def test_a_sandbox_without_a_runner_is_unwell(tmp_path: Path) -> None:
    """There is no socket, or nobody behind it."""
    assert "runner at" in str(why_unwell(f"unix:{tmp_path / 'sandbox.sock'}"))


@pytest.mark.parametrize("arguments", [[], ["ftp://x"], ["fresh:/nowhere", "more"]])
def test_a_wrong_place_is_wrong_usage(arguments: list[str]) -> None:
    """It is told apart from a service that is unwell."""
    ran = subprocess.run([sys.executable, "-m", "lakehouse.probe", *arguments], capture_output=True, text=True)
    assert ran.returncode == 2
    assert ran.stderr.startswith("usage: python -m lakehouse.probe")
