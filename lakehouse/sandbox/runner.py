"""
The runner: a program of its own behind a Unix socket, which has analysts' programs run and supervises them.

It holds no secret, reads no file, and its environment is empty but for what Python needs. One connection is one
request: ``run`` (with the program and the data as descriptors), ``stop`` or ``status``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from lakehouse.lifeline import end_with_parent
from lakehouse.logs import configure_logs
from lakehouse.market.errors import BadInput, LakehouseError
from lakehouse.sandbox import limits as limits_of_run
from lakehouse.sandbox import namespaces, probes, selftest, wire
from lakehouse.sandbox.forkserver import readable
from lakehouse.sandbox.limits import Limits
from lakehouse.sandbox.queueing import Busy, Queue, Ticket
from lakehouse.sandbox.supervision import Ending, Supervision, wait_for
from lakehouse.sandbox.warmth import COMMAND, ForkServer

_TELL_S = 5.0
_STARTING = "the sandbox is starting: try again in a few seconds"
_LOG = structlog.get_logger()


class Runner:
    """
    Takes requests on connections, each in a thread of its own.

    Args:
        command: The fork server's.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._queue = Queue(max(1, (os.cpu_count() or 1) - 1))
        self._server = ForkServer(command)
        self._why_off: str | None = _STARTING

    @property
    def why_off(self) -> str | None:
        """Why nothing is run; None while it is on."""
        return self._why_off

    def start(self) -> None:
        """Find out whether the sandbox can be on; it stays off, and says why, if it cannot."""
        try:
            self._why_off = probes.why_off() or self._start()
        except LakehouseError as error:
            self._why_off = str(error)
        except Exception as error:  # whatever it is: what has not been tested is not on
            self._why_off = f"its start failed: {type(error).__name__}: {error}; logs/sandbox.log may say more"
        if self._why_off is None:
            _LOG.info("sandbox.on")
        else:
            _LOG.warning("sandbox.off", reason=self._why_off)

    def stop(self) -> None:
        """End the fork server and all runs."""
        self._server.stop()

    def answer(self, connection: socket.socket) -> None:
        """Answer one request and close the connection."""
        with connection, contextlib.suppress(OSError, EOFError):
            request, descriptors = wire.receive(connection)
            try:
                self._answer(connection, request, descriptors)
            except LakehouseError as error:
                wire.send(connection, {"refused": str(error)})
            finally:
                wire.close(descriptors)

    def _start(self) -> str | None:
        without = namespaces.why_not(readable())
        if without is None:
            self._server = ForkServer([*self._command, "namespaces"])
        else:
            _LOG.warning("sandbox.without_namespaces", reason=without)
        self._server.start()
        reason = selftest.why_off(self._execute)
        if reason and without:
            return f"{reason}; namespaces, which might help, are not to be had: {without} (docs/sandbox.md)"
        return reason

    def _answer(self, connection: socket.socket, request: Any, descriptors: list[int]) -> None:
        match request:
            case {"op": "status"}:
                wire.send(connection, {"why_off": self._why_off, "pid": os.getpid(), "fork_server": self._server.pid})
            case {"op": "stop", "user": str(user)}:
                wire.send(connection, {"stopped": self._queue.stop(user)})
            case {"op": "run", "user": str(user), "limits": given} if len(descriptors) == 2:
                self._run(connection, user, limits_of_run.parse(given), descriptors)
            case _:
                raise BadInput("this is no request that the sandbox's runner knows")

    def _run(self, connection: socket.socket, user: str, limits: Limits, descriptors: list[int]) -> None:
        if self._why_off is not None:
            raise BadInput(self._why_off)
        if os.fstat(descriptors[0]).st_size > limits.code_bytes:
            raise BadInput(f"the program is longer than {limits.code_bytes >> 10} KiB")
        try:
            ticket = self._queue.join(user, os.fstat(descriptors[1]).st_size)
        except Busy as busy:
            raise BadInput(str(busy)) from None
        try:
            if self._wait(connection, ticket):
                ending = self._supervised(limits, descriptors, ticket, connection)
            else:
                ending = Ending("stopped", b"", 0, 0, 0)
        finally:
            self._queue.leave(ticket)
        facts = {name: value for name, value in vars(ending).items() if name != "document"}
        wire.send(connection, {"ended": facts, "bytes": len(ending.document)})
        connection.sendall(ending.document)

    def _wait(self, connection: socket.socket, ticket: Ticket) -> bool:
        """
        Tell the ticket's place until its turn comes, again and again: who waits hears that we live.

        False if the run is to stop before, or nobody waits for it.
        """
        while not ticket.is_stopped:
            place = self._queue.place(ticket)
            wire.send(connection, {"place": place})
            if place == 0:
                return True
            if connection.fileno() in wait_for([ticket.wake, connection.fileno()], time.monotonic() + _TELL_S):
                return False
            ticket.woke()
        return False

    def _supervised(
        self, limits: Limits, descriptors: list[int], ticket: Ticket, connection: socket.socket | None
    ) -> Ending:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            news = self._server.fork(limits, descriptors[0], descriptors[1], writer)
        finally:
            os.close(writer)
        with news, os.fdopen(reader, "rb", buffering=0):
            return Supervision(news, reader, limits).watch(lambda: ticket.is_stopped, ticket.wake, connection)

    def _execute(self, code: str, limits: Limits) -> Ending:
        """Run a program of our own without a host."""
        ticket = Ticket("")
        descriptors = [wire.sealed(code.encode(), "code"), wire.sealed(b"", "data")]
        try:
            return self._supervised(limits, descriptors, ticket, None)
        finally:
            wire.close([*descriptors, ticket.wake])


def serve(runner: Runner, path: Path) -> None:
    """Take connections on a socket at *path*, from our own user and from root, until the process ends."""
    path.unlink(missing_ok=True)
    os.chdir(path.parent)  # a socket's name is short, whatever the folder's is
    with socket.socket(socket.AF_UNIX) as listening:
        before = os.umask(0o177)
        listening.bind(path.name)
        os.umask(before)
        listening.listen(64)
        threading.Thread(target=runner.start, name="start", daemon=True).start()
        while True:
            connection, _ = listening.accept()
            if _peer(connection) in (0, os.geteuid()):
                threading.Thread(target=runner.answer, args=(connection,), daemon=True).start()
            else:
                connection.close()


def main(command: Sequence[str] = COMMAND) -> int:
    """Serve until stopped; *command* runs the fork server."""
    parser = argparse.ArgumentParser(prog="python -m lakehouse.sandbox.runner", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="where to listen")
    parser.add_argument("--log-level", default="warning")
    parser.add_argument("--log-format", default="text")
    arguments = parser.parse_args()
    configure_logs(arguments.log_level, arguments.log_format)
    end_with_parent()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    runner = Runner(command)
    try:
        serve(runner, arguments.socket)
    except OSError as error:
        sys.stderr.write(f"Error: the sandbox cannot listen on {arguments.socket}: {error.strerror}\n")
        return 1
    finally:
        runner.stop()
        arguments.socket.unlink(missing_ok=True)
    return 0


def _peer(connection: socket.socket) -> int:
    if not hasattr(socket, "SO_PEERCRED"):
        return os.geteuid()  # not Linux: nothing is run there, and the socket's mode is the guard
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


if __name__ == "__main__":
    sys.exit(main())
