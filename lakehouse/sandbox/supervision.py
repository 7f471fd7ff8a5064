"""One run as its supervisor sees it: its clock, its news, its result, and the ways to end it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lakehouse.sandbox import wire
from lakehouse.sandbox.limits import Limits
from lakehouse.sandbox.walls import THREADS

Status = Literal["done", "stopped", "timeout", "memory", "cpu", "died", "refused"]

_GRACE_S = 0.5  # to tell what was shown until then
_BURY_S = 5.0  # a killed process is gone at once, unless the kernel hangs
_CHUNK = 1 << 18
_LOOK_S = 0.05


@dataclass(frozen=True)
class Ending:
    """
    How a run ended.

    Attributes:
        status: "done" also for a program that raised: the document says so.
        document: What came out of the pipe, hostile bytes; empty if nothing did.
        peak_bytes: Most memory resident, beside what the fork server has.
    """

    status: Status
    document: bytes
    wall_s: float
    cpu_s: float
    peak_bytes: int


class Supervision:
    """
    Watches one run until it has ended; its time runs from here.

    Args:
        news: The fork server's socket for this run.
        result: The pipe's end to read.
        limits: The run's.
    """

    def __init__(self, news: socket.socket, result: int, limits: Limits) -> None:
        self._news, self._result, self._limits = news, result, limits
        self._open = {news.fileno(), result}
        self._document = bytearray()
        self._began = time.monotonic()
        self._act_at = self._began + limits.wall_s
        self._pidfd: int | None = None
        self._cut: Status | None = None
        self._said: dict[str, Any] = {}

    def watch(self, is_stopped: Callable[[], bool], wake: int, host: socket.socket | None) -> Ending:
        """
        Return how it ended.

        Args:
            is_stopped: Whether the run is to stop, asked when *wake* can be read.
            wake: A descriptor.
            host: The connection of who asked: when that ends, so does the run.
        """
        asking = [wake, *([] if host is None else [host.fileno()])]
        try:
            while self._open:
                until = min(self._act_at, time.monotonic() + _LOOK_S)
                ready = wait_for([*self._open, *(asking if self._cut is None else [])], until)
                if self._result in ready:
                    self._read_result()
                if self._news.fileno() in ready:
                    self._read_news()
                if (wake in ready and is_stopped()) or (host is not None and host.fileno() in ready):
                    self._ask_to_end("stopped")
                if self._cut is None and self._threads() > THREADS:
                    self._end("died")
                if time.monotonic() >= self._act_at:
                    self._time_is_up()
        finally:
            self._signal(signal.SIGKILL)
            if self._pidfd is not None:
                os.close(self._pidfd)
        return self._ending()

    def _read_result(self) -> None:
        if not (chunk := os.read(self._result, _CHUNK)):
            self._open.discard(self._result)
            return
        self._document += chunk
        if len(self._document) > self._limits.result_bytes:
            self._document.clear()
            self._end("refused")

    def _read_news(self) -> None:
        try:
            news, descriptors = wire.receive(self._news)
        except (EOFError, OSError):
            self._open.discard(self._news.fileno())
            if "status" not in self._said:  # the fork server is gone, and its children with it
                self._end("died")
                self._open.clear()
            return
        self._said |= news
        if descriptors:
            self._pidfd = descriptors[0]
            if self._cut is not None:
                self._signal(signal.SIGTERM)

    def _ask_to_end(self, status: Status) -> None:
        if self._cut is None:
            self._cut, self._act_at = status, time.monotonic() + _GRACE_S
            self._signal(signal.SIGTERM)

    def _end(self, status: Status) -> None:
        self._cut, self._act_at = self._cut or status, time.monotonic() + _BURY_S
        self._signal(signal.SIGKILL)

    def _time_is_up(self) -> None:
        if self._cut is None:
            self._ask_to_end("timeout")
        elif time.monotonic() < self._began + self._limits.wall_s + 2 * _BURY_S:
            self._end(self._cut)
        else:
            self._open.clear()

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _threads(self) -> int:
        """
        Return how many threads the run has, 0 once it has none.

        Where runs have the platform's user no limit of the kernel's counts them apart from its other processes, and a
        thread takes hardly any address space.
        """
        if self._pidfd is None:
            return 0
        try:
            described = Path(f"/proc/self/fdinfo/{self._pidfd}").read_text(encoding="ascii")
            pid = int(described.partition("\nPid:")[2].split()[0])
            told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (OSError, IndexError):
            return 0
        return int(told.rpartition(")")[2].split()[17])

    def _ending(self) -> Ending:
        peak = max(0, int(self._said.get("peak", 0)) - int(self._said.get("resident", 0)))
        wall_s = time.monotonic() - self._began
        return Ending(self._status(peak), bytes(self._document), wall_s, float(self._said.get("cpu_s", 0.0)), peak)

    def _status(self, peak: int) -> Status:
        if self._cut is not None:
            return self._cut
        code = os.waitstatus_to_exitcode(int(self._said["status"]))
        by_code: dict[int, Status] = {wire.DONE: "done", wire.OUT_OF_MEMORY: "memory", wire.OUT_OF_CPU: "cpu"}
        if code in by_code and (code or self._document):  # who ends well leaves a document
            return by_code[code]
        if code == -signal.SIGXCPU or float(self._said["cpu_s"]) >= self._limits.cpu_s:
            return "cpu"
        # A library that cannot bear a refused allocation aborts
        return "memory" if peak > 0.8 * self._limits.memory_bytes else "died"


def wait_for(descriptors: list[int], until: float | None = None) -> set[int]:
    """Return those of *descriptors* that can be read, once one can or *until* (monotonic seconds) has come."""
    waiting = select.poll()
    for descriptor in descriptors:
        waiting.register(descriptor, select.POLLIN)
    patience_ms = None if until is None else max(0.0, until - time.monotonic()) * 1000
    return {descriptor for descriptor, _ in waiting.poll(patience_ms)}
