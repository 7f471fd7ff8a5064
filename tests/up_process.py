"""``lakehouse up`` as a person runs it: a process of its own, its lines on the terminal, its services to be killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import psycopg

from lakehouse.database.connection import connect
from lakehouse.jobs import queue
from tests.killing import REQUEST, until

COMMAND = [sys.executable, "-c", "from lakehouse.cli import main; main()"]
_MODULES = {
    "postgres": "lakehouse.database.runner",
    "spark": "lakehouse.jobs.worker",
    "worker": "functions.embedded",
    "web": "gradio_app.server",
    "sandbox": "lakehouse.sandbox.runner",
}
# Those that are left: a test that fails shows what stands on their terminals
MADE: weakref.WeakSet[UpProcess] = weakref.WeakSet()
_UNSCHEDULED = "UPDATE lake.schedule SET is_on = false"
_WAITING = "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"


class UpProcess:
    """
    The platform on a folder, against an exchange at *iss_url*.

    *prefix* is put before the command, such as ``setpriv`` with its options.
    """

    def __init__(
        self, data: Path, iss_url: str, prefix: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self.data = data
        self._prefix = list(prefix)
        self._environment = {"LAKEHOUSE_ISS_URL": iss_url, "LAKEHOUSE_REQUESTS_PER_S": "0", **(environment or {})}
        self.terminal = data.with_name(f"{data.name}.terminal")
        self.process: subprocess.Popen[bytes] | None = None
        MADE.add(self)

    def begin(self, *options: str) -> subprocess.Popen[bytes]:
        """Start it, without waiting."""
        with self.terminal.open("wb") as terminal:
            self.process = subprocess.Popen(
                [*self._prefix, *COMMAND, "up", "--data", str(self.data), *(options or ("--port", "0"))],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=terminal,
            )
        return self.process

    def start(self) -> None:
        """Start it, and return when it is ready; nothing is done by the clock, whose hour may be any."""
        process = self.begin()
        until(lambda: "Stop:     Ctrl-C" in self.said() or process.poll() is not None, every_s=0.1)
        if process.poll() is not None:
            raise AssertionError(f"up ended with {process.returncode}: {self.said()}")
        with connect(self.dsn) as conn:
            conn.execute(_UNSCHEDULED)

    def said(self) -> str:
        """Return what stood on the terminal since the last start."""
        return self.terminal.read_text(encoding="utf-8")

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        if self.process is None:
            raise AssertionError("up was not started")
        return self.process.pid

    @property
    def run(self) -> dict[str, Any]:
        """What run.json says."""
        found: dict[str, Any] = json.loads((self.data / "run.json").read_text())
        return found

    @property
    def dsn(self) -> str:
        return str(self.run["dsn"])

    def service(self, name: str) -> psutil.Process | None:
        """Return the process of a service, None while there is none."""
        for process in psutil.Process(self.pid).children():
            try:
                if _MODULES[name] in process.cmdline():
                    return process
            except psutil.Error:
                continue
        return None

    def grandchild(self, name: str, program: str) -> psutil.Process:
        """Return a process that a service started."""

        def found() -> psutil.Process | None:
            service = self.service(name)
            children = service.children() if service else []
            return next((child for child in children if child.name() == program), None)

        process = until(found)
        assert isinstance(process, psutil.Process)
        return process

    def kill(self, process: psutil.Process | None) -> None:
        """Kill -9."""
        assert process is not None
        process.kill()

    def family(self) -> list[psutil.Process]:
        """Return the supervisor and all that it started, directly or not."""
        supervisor = psutil.Process(self.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def interrupt(self) -> float:
        """Press Ctrl-C; return the seconds until it has ended."""
        began = time.monotonic()
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        self.process.wait(120)
        return time.monotonic() - began

    def end(self) -> None:
        """Have it stopped, if it runs."""
        if self.is_running:
            self.interrupt()

    def destroy(self) -> None:
        """Kill it and all that it started, if it runs."""
        family = self.family() if self.is_running else []
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended with the one before
                process.kill()
        psutil.wait_procs(family, 120)

    def health(self) -> dict[str, Any] | None:
        """Return what the API says of itself, None while it does not answer."""
        try:
            with urllib.request.urlopen(f"{self.run['web_url']}/api/v1/health", timeout=60) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except OSError:
            return None

    def ingest(self, **request: Any) -> int:
        """Ask for the market; return the job."""
        with connect(self.dsn) as conn:
            return queue.submit_ingest(conn, queue.IngestRequest.parse({**REQUEST, **request}), "test")

    def is_idle(self) -> bool:
        """Whether no message is left."""
        with connect(self.dsn) as conn:
            return conn.execute(_WAITING).fetchone() == (0,)

    def finished(self, job_id: int, within_s: float = 900) -> queue.Job:
        """Return the job when it is over and no message is left."""

        def over() -> queue.Job | None:
            assert self.is_running, self.said()
            try:
                with connect(self.dsn) as conn:
                    job = queue.job(conn, job_id)
                return job if job and job.is_over and self.is_idle() else None
            except psycopg.OperationalError:  # it was killed, and is not back yet
                return None

        job = until(over, within_s, 0.2)
        assert isinstance(job, queue.Job)
        return job


def gone(processes: Sequence[psutil.Process], within_s: float) -> list[str]:
    """Wait for processes to end; return those that did not."""
    _, left = psutil.wait_procs(processes, within_s)
    return [" ".join(process.cmdline())[:200] for process in left if process.status() != psutil.STATUS_ZOMBIE]
