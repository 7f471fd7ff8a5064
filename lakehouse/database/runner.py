"""The embedded PostgreSQL: one server on loopback, started and ended as a child of ours."""

from __future__ import annotations

import argparse
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from urllib.parse import quote

from lakehouse.database.binaries import can_enter, find, server_user
from lakehouse.lifeline import end_with_parent
from lakehouse.market.errors import LakehouseError

_START_TIMEOUT_S = 120
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
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """The address of its database, password included."""
        return server_dsn(self.data_dir, self.port)

    @property
    def log_file(self) -> Path:
        """The server's own log."""
        return self.data_dir.with_name(f"{self.data_dir.name}.log")

    def start(self) -> None:
        """Start, and return when it takes connections; raise LakehouseError saying in one line why it cannot."""
        programs = find()
        self._claim_folder()
        if not (self.data_dir / "PG_VERSION").exists():
            self._initialise(programs)
        self._refuse_second_server()
        if not _is_free(self.port):
            raise LakehouseError(f"port {self.port} is taken: choose another, or stop what listens there")
        options = [f"-c{option}" for option in (*_OPTIONS, f"fsync={'on' if self._fsync else 'off'}")]
        with self.log_file.open("ab") as log:
            self._process = self._popen(
                [programs / "postgres", "-D", self.data_dir, "-p", str(self.port), "-k", "", *options], log
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """End connections and shut down cleanly (PostgreSQL's fast mode)."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)  # immediate: the next start recovers from the log
            process.wait(10)

    def poll(self) -> int | None:
        """Return the server's exit code, None while it runs."""
        return self._process.poll() if self._process else -1

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _claim_folder(self) -> None:
        if not can_enter(self.data_dir.parent, self._user):
            raise LakehouseError(
                f"PostgreSQL runs as user {self._user.pw_name if self._user else ''}, who cannot enter "
                f"{self.data_dir.parent}: choose a data folder elsewhere, or chmod a+x the folders above it"
            )
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            if self._user:
                os.chown(self.data_dir, self._user.pw_uid, self._user.pw_gid)
            self.data_dir.chmod(0o700)
        except OSError as error:
            raise LakehouseError(
                f"cannot write {self.data_dir}: {error.strerror}; choose another data folder"
            ) from error

    def _initialise(self, programs: Path) -> None:
        password = secrets.token_urlsafe(24)
        with tempfile.NamedTemporaryFile("w") as given:
            given.write(password)
            given.flush()
            if self._user:
                os.chown(given.name, self._user.pw_uid, -1)
            command: list[str | Path] = [
                programs / "initdb",
                "-D",
                self.data_dir,
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
            ]
            command += ["--auth=scram-sha-256", f"--pwfile={given.name}", "--no-instructions"]
            command += [] if self._fsync else ["--no-sync"]
            run: dict[str, Any] = self._identity()
            done = subprocess.run(command, env=self._environment(), cwd="/", capture_output=True, text=True, **run)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise LakehouseError(f"PostgreSQL could not make its data in {self.data_dir}: {last}")
        _write_secret(password_file(self.data_dir), password)

    def _refuse_second_server(self) -> None:
        pid_file = self.data_dir / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().splitlines()[0])
            os.kill(pid, 0)
        except (FileNotFoundError, IndexError, ValueError, ProcessLookupError):
            return  # none, or a dead server's: PostgreSQL sees to it
        if _is_postgres(pid):
            raise LakehouseError(f"{self.data_dir} is in use by a running PostgreSQL (process {pid}): stop that first")
        pid_file.unlink()  # the number went to another program since the server died

    def _popen(self, command: list[Any], log: IO[bytes]) -> subprocess.Popen[bytes]:
        identity: dict[str, Any] = self._identity()
        return subprocess.Popen(
            command,
            env=self._environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the terminal is for the supervisor
            preexec_fn=_end_with_parent_on_linux(),
            **identity,
        )

    def _identity(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _environment(self) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(self.data_dir)}

    def _wait_until_ready(self) -> None:
        process = self._process
        if process is None:
            raise LakehouseError("PostgreSQL was not started")
        until = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < until:
            if process.poll() is not None:
                raise LakehouseError(
                    f"PostgreSQL ended at its start with code {process.returncode}: see {self.log_file}"
                )
            if _says_ready(self.data_dir / "postmaster.pid", process.pid):
                return
            time.sleep(0.02)
        self.stop()
        raise LakehouseError(f"PostgreSQL was not ready after {_START_TIMEOUT_S} s: see {self.log_file}")


def server_dsn(data_dir: Path, port: int) -> str:
    """Return the address of the embedded server on *data_dir*."""
    password = password_file(data_dir).read_text(encoding="ascii").strip()
    return f"postgresql://postgres:{quote(password, safe='')}@127.0.0.1:{port}/postgres"


def password_file(data_dir: Path) -> Path:
    """Return where the superuser's password is kept: beside the data, mode 0600."""
    return data_dir.with_name(f"{data_dir.name}.password")


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _write_secret(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text + "\n")


def _is_postgres(pid: int) -> bool:
    shown = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True)
    return "postgres" in shown.stdout


def _says_ready(pid_file: Path, pid: int) -> bool:
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _end_with_parent_on_linux() -> Callable[[], None] | None:
    """Have the kernel end the server cleanly when we die; elsewhere the lifeline of the runner's process does it."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)  # loaded here: nothing may be imported between fork and exec
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def main() -> int:
    """Run the server until SIGTERM, SIGINT, or the end of the parent."""
    options = argparse.ArgumentParser(description="Run the embedded PostgreSQL.")
    options.add_argument("--data", type=Path, required=True, help="its data folder")
    options.add_argument("--port", type=int, default=0, help="port on loopback; 0 takes a free one")
    arguments = options.parse_args()
    end: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: end.append(got))
    server = EmbeddedPostgres(arguments.data, arguments.port)
    try:
        server.start()
    except LakehouseError as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201 - to the supervisor's log
        return 1
    end_with_parent()
    print(f"postgres ready 127.0.0.1:{server.port}", flush=True)  # noqa: T201 - the supervisor reads it
    while not end and server.poll() is None:
        time.sleep(0.1)
    code = server.poll()
    server.stop()
    return 0 if end else code or 1


if __name__ == "__main__":
    sys.exit(main())
