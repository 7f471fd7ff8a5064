"""A relay in front of a server that holds one request back until it is told to let it pass."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from lakehouse.ports import LOOPBACK


class Relay:
    """Passes on what comes to *port* of loopback to another port; as a context manager it runs inside the block."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._held_text = b""
        self._is_held = threading.Event()
        self._may_pass = threading.Event()
        relay = self

        class Connection(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                relay._relay(self.request)

        self._server = socketserver.ThreadingTCPServer((LOOPBACK, 0), Connection)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def hold(self, method: str, name: str) -> None:
        """Hold the next request of *method* whose first line holds *name*; others pass."""
        self._is_held.clear()
        self._may_pass.clear()
        self._held_text = f"{method} {name}".encode()

    def wait_until_held(self, timeout_s: float) -> None:
        if not self._is_held.wait(timeout_s):
            raise TimeoutError(f"no such request within {timeout_s} s: {self._held_text.decode()}")

    def let_pass(self) -> None:
        self._may_pass.set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._may_pass.set()
        self._server.shutdown()
        self._server.server_close()

    def _relay(self, client: socket.socket) -> None:
        with suppress(OSError), socket.create_connection((LOOPBACK, self._to_port)) as server:
            threading.Thread(target=self._copy, args=(server, client), daemon=True).start()
            while chunk := client.recv(1 << 16):
                self._hold_back(chunk)
                server.sendall(chunk)

    def _hold_back(self, chunk: bytes) -> None:
        method, _, name = self._held_text.partition(b" ")
        first_line = chunk.partition(b"\r\n")[0]
        if name and first_line.startswith(method + b" ") and name in first_line:
            self._held_text = b""
            self._is_held.set()
            self._may_pass.wait()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(1 << 16):
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)
