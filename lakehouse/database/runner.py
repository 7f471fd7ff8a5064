"""The embedded PostgreSQL: one server on loopback, started and ended as a child of ours."""

from __future__ import annotations

import argparse
import ctypes
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from lakehouse.database import cluster
from lakehouse.database.binaries import find, server_user
from lakehouse.database.cluster import InUse
from lakehouse.database.cluster import password_file as password_file
from lakehouse.lifeline import end_with_parent
from lakehouse.market.errors import LakehouseError
from lakehouse.ports import free_port, is_free

_START_TIMEOUT_S = 120
# Whoever stops us waits for 4 s at most; a server cut short recovers from its log at the next start.
_FAST_STOP_S = 1.5
_PR_SET_PDEATHSIG = 1
# Beyond this a bulk load spends its time in checkpoints; the rest suits a laptop.
_OPTIONS = (
    "listen_addresses=127.0.0.1",
    "shared_buffers=128MB",
    "max_wal_size=2GB",
    "max_connections=100",
    "password_encryption=scram-sha-256",
    "wal_level=minimal",
    "max_wal_senders=0",
)
# Waits for the end of our pipe; the pid file tells whether the number is still the server's.
_WATCHDOG = 'read -r _; [ "$(head -n 1 "$2" 2>/dev/null)" = "$1" ] && kill -INT "$1"'


class EmbeddedPostgres:
    """
    A server whose data lie in *data_dir*, made at the first start.

    The password of its superuser is random and lies beside the data, readable by us alone. The server ends with this
    process, also when it is killed.
    """

    def __init__(self, data_dir: Path, port: int = 0, fsync: bool = True) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port or free_port()
        self._fsync = fsync
        self._user = server_user()
        self._logged = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """The address of its database, password included."""
        return server_dsn(self.data_dir, self.port)

    @property
    def log_file(self) -> Path:
        """The server's own log."""
        return cluster.log_file(self.data_dir)

    def start(self, patience_s: float = 0) -> None:
        """
        Start, and return when it takes connections.

        Args:
            patience_s: How long to wait for a former server on the data to end, and to let go of port and memory.

        Raises:
            LakehouseError: saying in one line why it cannot.
        """
        until = time.monotonic() + patience_s
        while True:
            try:
                self._start()
            except InUse:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
            else:
                return

    def _start(self) -> None:
        programs = find()
        cluster.claim(self.data_dir, self._user)
        if not (self.data_dir / "PG_VERSION").exists():
            cluster.initialise(self.data_dir, programs, self._identity(), is_durable=self._fsync)
        cluster.read_password(self.data_dir)
        cluster.refuse_second_server(self.data_dir)
        if not is_free(self.port):
            raise InUse(f"port {self.port} is taken: choose another, or stop what listens there")
        self._logged = self.log_file.stat().st_size
        self._process = self._start_server(programs)
        try:
            self._watchdog = self._start_watchdog(self._process.pid)
            self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End connections and shut down cleanly (PostgreSQL's fast mode)."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_FAST_STOP_S)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)  # immediate: the next start recovers from the log
                process.wait(10)
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None and watchdog.stdin is not None:
            watchdog.kill()
            watchdog.wait()
            watchdog.stdin.close()

    def poll(self) -> int | None:
        """Return the server's exit code, None while it runs."""
        return self._process.poll() if self._process else -1

    def ending(self, code: int | None) -> str:
        """Return how a server that ended by itself did so, with the line of its log that says why, if one does."""
        how = signal.Signals(-code).name if code is not None and code < 0 else f"code {code}"
        panics = [line for line in self._said().splitlines() if "PANIC:" in line]
        return f"PostgreSQL ended with {how}{''.join(f': {line}' for line in panics[-1:])}"

    def _said(self) -> str:
        """Return what the server logged since its last start."""
        with self.log_file.open(encoding="utf-8", errors="replace") as log:
            log.seek(self._logged)
            return log.read()

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_server(self, programs: Path) -> subprocess.Popen[bytes]:
        options = [f"-c{option}" for option in (*_OPTIONS, f"fsync={'on' if self._fsync else 'off'}")]
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                [programs / "postgres", "-D", self.data_dir, "-p", str(self.port), "-k", "", *options],
                env=cluster.environment(self.data_dir),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for the supervisor
                preexec_fn=_end_with_parent_on_linux(),
                **self._identity(),
            )

    def _start_watchdog(self, pid: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "postgres-watchdog", str(pid), self.data_dir / "postmaster.pid"],
            env=cluster.environment(self.data_dir),
            cwd="/",
            stdin=subprocess.PIPE,  # held by us alone, so it closes when we are gone, kill -9 included
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **self._identity(),
        )

    def _identity(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < until:
            if process.poll() is not None:
                why = cluster.reason(self._said())
                # Processes of a server that was killed hold its shared memory for a moment
                kind = InUse if "shared memory" in why and "in use" in why else LakehouseError
                raise kind(f"PostgreSQL did not start: {why}; all of it is in {self.log_file}")
            if _says_ready(self.data_dir / "postmaster.pid", process.pid):
                return
            time.sleep(0.02)
        raise LakehouseError(f"PostgreSQL was not ready after {_START_TIMEOUT_S} s: see {self.log_file}")


def server_dsn(data_dir: Path, port: int) -> str:
    """Return the address of the embedded server on *data_dir*."""
    return f"postgresql://postgres:{quote(cluster.read_password(data_dir), safe='')}@127.0.0.1:{port}/postgres"


def _says_ready(pid_file: Path, pid: int) -> bool:
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _end_with_parent_on_linux() -> Callable[[], None] | None:
    """
    Have the kernel end the server cleanly when we die, at once; the watchdog does it everywhere.

    The kernel goes by the thread that started the server, so only the main thread, which ends with the process, asks
    for it.
    """
    if not sys.platform.startswith("linux") or threading.current_thread() is not threading.main_thread():
        return None
    libc = ctypes.CDLL(None)  # loaded here: nothing may be imported between fork and exec
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def main() -> int:
    """Run the server until SIGTERM, SIGINT, or the end of the parent."""
    options = argparse.ArgumentParser(description="Run the embedded PostgreSQL.")
    options.add_argument("--data", type=Path, required=True, help="its data folder")
    options.add_argument("--port", type=int, default=0, help="port on loopback; 0 takes a free one")
    options.add_argument("--patience", type=float, default=0, help="seconds to wait for a former server to end")
    arguments = options.parse_args()
    end: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: end.append(got))
    server = EmbeddedPostgres(arguments.data, arguments.port)
    try:
        server.start(arguments.patience)
    except (LakehouseError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201 - to the supervisor's log
        return 1
    end_with_parent()
    print(f"postgres ready 127.0.0.1:{server.port}", flush=True)  # noqa: T201 - the supervisor reads it
    while not end and server.poll() is None:
        time.sleep(0.1)
    code = server.poll()
    server.stop()
    if end:
        return 0
    print(f"Error: {server.ending(code)}", file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main())
