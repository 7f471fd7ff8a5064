"""Servers that are programs of others: started on loopback, waited for, and ended with us. Standard library only."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lakehouse.market.errors import LakehouseError
from lakehouse.ports import LOOPBACK, direct, is_free

_GRACE_S = 2.0
# Reads the pipe that we hold, which closes when we are gone, kill -9 included; then ends the server and what it started
_WATCHDOG = 'read -r _; kill -TERM "-$1"; sleep 2; kill -KILL "-$1"'


class ServerProcess:
    """
    One server on loopback, in a process group of its own. As a context manager it runs inside the block.

    It ends with this process, also when that is killed, and may be started again.

    Args:
        name: As it is called in messages.
        command: What to run.
        environment: All that it sees of the environment, beside PATH and the language.
        log: File that its output is added to; its folder is where it runs, and is made if need be.
        ready: Port and path that answer 200 once it serves.
        start_timeout_s: How long that may take.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        log: Path,
        ready: tuple[int, str],
        start_timeout_s: float = 60,
    ) -> None:
        self.name = name
        self.start_timeout_s = start_timeout_s
        self.log = log
        self._command = command
        self._environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **environment}
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id, None while it is not started."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """
        Start it, and return when it serves.

        Raises:
            LakehouseError: if its port is taken, it ended, or it does not serve in time.
        """
        if not is_free(self._ready[0]):
            raise LakehouseError(
                f"{self.name} did not start: port {self._ready[0]} is taken; choose another, or stop what listens there"
            )
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._process = self._run()
        try:
            self._watchdog = self._watch(self._process.pid)
            self._wait_until_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it: asked to, and after 2 s it has no choice."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for us
            )

    def _watch(self, pid: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "server-watchdog", str(pid)],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + self.start_timeout_s
        while not _answers(*self._ready):
            if (code := process.poll()) is not None:
                raise LakehouseError(f"{self.name} did not start: it ended with {code}; what it said is in {self.log}")
            if time.monotonic() > until:
                raise LakehouseError(f"{self.name} was not ready after {self.start_timeout_s:g} s: see {self.log}")
            time.sleep(0.05)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        watchdog, self._watchdog = self._watchdog, None
        if process is not None:
            _signal_group(process.pid, how)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)
            _signal_group(process.pid, signal.SIGKILL)  # what it started as well
            process.wait()
        if watchdog is not None and watchdog.stdin is not None:
            watchdog.kill()
            watchdog.wait()
            watchdog.stdin.close()


def _answers(port: int, path: str) -> bool:
    try:
        with direct().open(f"http://{LOOPBACK}:{port}{path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)
