"""The runner's hold on the fork server: started, asked to fork, killed, and started again."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

from lakehouse.market.errors import LakehouseError
from lakehouse.sandbox import wire
from lakehouse.sandbox.limits import Limits

COMMAND = (sys.executable, "-I", "-X", "utf8", "-m", "lakehouse.sandbox.forkserver")
_READY_S = 300.0
# All that it sees of the environment. One thread each: a fork takes one thread along, and every core has its own run
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "HOME": "/nonexistent",
    "PATH": "/nonexistent",
    "MPLCONFIGDIR": "/nonexistent",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}


class ForkServer:
    """
    One fork server at a time, started when it is first needed and after each death.

    Args:
        command: What to run; it takes jobs over its standard input.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """The process that was started, None before."""
        return self._process.pid if self._process else None

    def fork(self, limits: Limits, code: int, data: int, result: int) -> socket.socket:
        """
        Have a run forked; return the socket of its news: its pidfd, then how it ended, then the end.

        Raises:
            LakehouseError: if there is no fork server to be had.
        """
        here, there = socket.socketpair()
        job = {
            "cpu_s": limits.cpu_s,
            "memory_bytes": limits.memory_bytes,
            "data_bytes": os.fstat(data).st_size,
            "text_bytes": limits.text_bytes,
            "result_bytes": limits.result_bytes,
        }
        with there, self._lock:
            try:
                wire.send(self._ready(), job, [there.fileno(), code, data, result])
            except OSError:  # it died since: once more with a new one
                self._end()
                wire.send(self._ready(), job, [there.fileno(), code, data, result])
        return here

    def start(self) -> None:
        """Start it if it does not run; raise LakehouseError if that cannot be."""
        with self._lock:
            self._ready()

    def stop(self) -> None:
        """End it, and with it all runs."""
        with self._lock:
            self._end()

    def _ready(self) -> socket.socket:
        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        self._end()
        here, there = socket.socketpair()
        with there:
            self._process = subprocess.Popen(self._command, stdin=there.fileno(), env=_ENVIRONMENT, cwd="/")
        self._control = here
        try:
            if not select.select([here], [], [], _READY_S)[0]:
                raise LakehouseError(f"the sandbox's fork server was not ready after {_READY_S:.0f} s")
            wire.receive(here)
        except (EOFError, OSError) as error:
            self._end()
            raise LakehouseError("the sandbox's fork server did not start: logs/sandbox.log says why") from error
        return here

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
