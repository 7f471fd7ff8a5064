"""Servers that are programs of others: they end when they are told to, and when we do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lakehouse.market.errors import LakehouseError
from lakehouse.ports import free_port
from lakehouse.processes import ServerProcess

ROOT = Path(__file__).resolve().parents[2]
# Answers 200 on /, and has a child; the last argument makes it deaf to SIGTERM
SERVER = """
import http.server, signal, subprocess, sys
if sys.argv[2:] == ["deaf"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("child", subprocess.Popen(["sleep", "600"]).pid, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def served(
    folder: Path, *arguments: str, program: str = SERVER, path: str = "/", start_timeout_s: float = 300
) -> ServerProcess:
    port = free_port()
    command = [sys.executable, "-c", program, str(port), *arguments]
    return ServerProcess("Server", command, {}, folder / "server.log", (port, path), start_timeout_s)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    server = served(tmp_path)
    server.start()
    yield server
    server.kill()


def child_of(server: ServerProcess) -> int:
    line = next(line for line in server.log.read_text().splitlines() if line.startswith("child "))
    return int(line.split()[1])


def wait_until_gone(*pids: int) -> None:
    until = time.monotonic() + 120
    while alive := [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]:
        assert time.monotonic() < until, f"still running: {alive}"
        time.sleep(0.05)


def test_a_stopped_server_leaves_no_process(server: ServerProcess) -> None:
    """What it started ends with it, and so does the one that watches it."""
    assert server.pid
    pids = [server.pid, child_of(server), *(child.pid for child in psutil.Process().children(recursive=True))]
    server.stop()
    wait_until_gone(*pids)
    assert server.pid is None


def test_a_server_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    """SIGTERM is a request; SIGKILL follows 2 s later."""
    deaf = served(tmp_path, "deaf")
    deaf.start()
    began = time.monotonic()
    deaf.stop()
    assert time.monotonic() - began >= 2
    wait_until_gone(child_of(deaf))


def test_a_server_ends_when_we_are_killed(tmp_path: Path) -> None:
    """A parent that was killed (kill -9) is noticed by the end of a pipe."""
    parent = """
import sys, time
from pathlib import Path
from tests.unit.test_server_process import served
server = served(Path(sys.argv[1]), "deaf")
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", parent, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as ours:
        assert ours.stdout
        pid = int(ours.stdout.readline())
        group = [process.pid for process in psutil.process_iter() if os.getpgid(process.pid) == pid]
        assert pid in group
        ours.send_signal(signal.SIGKILL)
    wait_until_gone(*group)


def test_a_server_can_be_started_again(server: ServerProcess) -> None:
    """After a stop, and after a kill."""
    former = server.pid
    server.kill()
    server.start()
    assert server.pid not in (None, former)


def test_a_server_that_ends_at_once_is_told_with_its_log(tmp_path: Path) -> None:
    """The error names code and log, and what it said is in there."""
    broken = served(tmp_path, program="import sys; print('no room'); sys.exit(3)")
    with pytest.raises(
        LakehouseError, match=r"^Server did not start: it ended with 3; what it said is in .*server\.log$"
    ):
        broken.start()
    assert broken.log.read_text() == "no room\n"


def test_a_server_that_never_serves_is_ended_and_told(tmp_path: Path) -> None:
    """It answers, but not that it is ready."""
    slow = served(tmp_path, path="/never-there", start_timeout_s=1)
    with pytest.raises(LakehouseError, match=r"^Server was not ready after 1 s: see .*server\.log$"):
        slow.start()
    assert slow.pid is None
