"""One service: a process of its own with a log, a lifeline to us, and an end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lakehouse.market.errors import LakehouseError

_SHOWN = 300  # characters of a log's last line
_LAST_BYTES = 1 << 16
LOG_BYTES = 64 << 20


class ServiceFailed(LakehouseError):
    """A service of the platform did not start, or ended by itself again and again."""


@dataclass
class Service:
    """
    A service and its process, if it runs.

    Attributes:
        arguments: What ``python`` gets after ``-m``.
        queue: The queue whose messages it takes; none for servers.
        says_ready: Whether it prints one line when others may use it.
        is_bare: Whether it sees of the environment only what `environment` says, so no secret.
        is_spared: Whether the platform goes on without it when starting it again does not help.
    """

    name: str
    arguments: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    queue: str = ""
    says_ready: bool = False
    is_bare: bool = False
    is_spared: bool = False
    process: subprocess.Popen[bytes] | None = None
    _logged: int = 0

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process; its output goes to the end of its log."""
        with self.log.open("ab") as log:
            self._logged = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.arguments],
                env={**({} if self.is_bare else os.environ), **self.environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if self.says_ready else log,
                stderr=log,
                start_new_session=True,
            )
        return self.process

    def await_ready(self) -> str:
        """Return the line that a service prints when it is ready; raise ServiceFailed if it ends before."""
        if self.process is None or self.process.stdout is None:
            return ""
        line = self.process.stdout.readline().decode().strip()
        if not line:
            self.process.wait()
            raise ServiceFailed(f"{self.name} did not start: {self.last_words()}")
        return line

    def has_ended(self) -> bool:
        """Return whether the process ended by itself."""
        return self.process is not None and self.process.poll() is not None

    def ending(self) -> str:
        """Return how it ended: the name of a signal, or its exit code."""
        code = self.process.returncode if self.process else None
        return signal.Signals(-code).name if code is not None and code < 0 else f"code {code}"

    def last_words(self) -> str:
        """Return the last line that this run of it logged, and where the rest is."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(self._logged, log.seek(0, os.SEEK_END) - _LAST_BYTES))
                lines = log.read().decode(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        said = lines[-1].strip().removeprefix("Error: ")[:_SHOWN] if lines else "it said nothing"
        return f"{said} (see {self.log})"

    def rotate_log(self) -> None:
        """Make of a log that became large the one before it (``.log.1``), while the process goes on writing."""
        with contextlib.suppress(OSError):  # without room for both it stays as it is
            if self.log.stat().st_size > LOG_BYTES:
                shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
                os.truncate(self.log, 0)  # who writes appends, so to the new end
                self._logged = 0

    def send(self, number: signal.Signals) -> None:
        """Signal the process; SIGKILL goes to all of its group, so to a worker's JVM too."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if number == signal.SIGKILL:
                os.killpg(self.process.pid, number)
            elif self.process.poll() is None:
                self.process.send_signal(number)

    def bury(self) -> None:
        """Forget a process that has ended, and end what it started."""
        if self.process is None:
            return
        self.send(signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self.process = None
