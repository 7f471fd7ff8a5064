"""
The sandbox as the platform's own processes see it: a client of the runner's socket.

What comes back is hostile until `document.parse` has read it.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lakehouse.sandbox import wire
from lakehouse.sandbox.document import BadResult, Item, parse
from lakehouse.sandbox.limits import DEFAULT, Limits, as_json

__all__ = ["Limits", "Outcome", "Sandbox"]

Status = Literal["done", "error", "stopped", "timeout", "memory", "cpu", "died", "refused"]

_ANSWER_S = 5.0
SILENT_S = 30.0  # it tells a place every 5 s, and ends what runs 10 s after its time
_LONGEST_NAME = 100  # of a socket, in bytes; the kernel's own limit is 107
_OFF = (
    "the sandbox is off: LAKEHOUSE_SANDBOX says so, or the pages were not started by `lakehouse up` or `lakehouse demo`"
)
_AWAY = "the sandbox's process does not answer; it is started again within seconds (logs/sandbox.log says why it ended)"
_SILENT = (
    "the sandbox's process said nothing for long, as if it were stopped, and the run was given up: "
    "run it again; if it stays so, have `kill -9` end the process that logs/sandbox.log is of"
)
_CUT_SHORT = "the sandbox's process ended while this ran, and with it the run: run it again"


@dataclass(frozen=True)
class Outcome:
    """
    How a run ended.

    Attributes:
        items: What it showed, in that order, validated; of a run that was cut short, what came until then.
        error: The analyst's own lines of a traceback.
        message: What happened and what to do, for every status but "done".
        peak_bytes: Most memory it had, beside the libraries'.
        is_truncated: Whether something it showed was left out.
    """

    status: Status
    items: tuple[Item, ...]
    error: str | None
    message: str | None
    wall_s: float
    cpu_s: float
    peak_bytes: int
    is_truncated: bool


class Sandbox:
    """
    Runs analysts' programs; thread-safe.

    Args:
        path: The runner's socket; None where there is no runner.
        silent_s: How long the runner may say nothing beyond the time that a run has.
    """

    def __init__(self, path: Path | None, silent_s: float = SILENT_S) -> None:
        self.path = path
        self._silent_s = silent_s

    def why_off(self) -> str | None:
        """Return why nothing can be run and what would help, None if the sandbox is on."""
        if self.path is None:
            return _OFF
        try:
            reason = self.status()["why_off"]
        except (OSError, EOFError, ValueError, LookupError):
            return _AWAY
        return None if reason is None else str(reason)

    def status(self) -> dict[str, Any]:
        """Return what the runner says of itself (why_off, pid, fork_server); raise OSError if it is away."""
        answer: dict[str, Any] = self._ask({"op": "status"})
        return answer

    def run(
        self,
        code: str,
        frames: bytes | memoryview,
        *,
        user: str,
        limits: Limits = DEFAULT,
        on_place: Callable[[int], None] | None = None,
    ) -> Outcome:
        """
        Run a program and return how it ended; never raises for what the program does.

        Args:
            code: Python.
            frames: One Arrow IPC file with the rows of `df`; empty for none.
            user: Whose run it is: one at a time each.
            limits: What it may take.
            on_place: Called with the place in the queue (1 is next) when it changes, and with 0 when the run begins.
        """
        if (reason := self.why_off()) is not None:
            return _without_result("refused", reason)
        text = code.encode("utf-8", "replace")
        if len(text) > limits.code_bytes:
            return _without_result("refused", f"the program is longer than {limits.code_bytes >> 10} KiB: shorten it")
        try:
            answer, document = self.exchange(text, frames, user, limits, on_place or (lambda _: None))
        except TimeoutError:
            return _without_result("died", _SILENT)
        except (OSError, EOFError, ValueError):
            return _without_result("died", _CUT_SHORT)
        if "refused" in answer:
            return _without_result("refused", str(answer["refused"]))
        return _outcome(answer["ended"], document, limits)

    def stop(self, user: str) -> bool:
        """End the user's run; return whether there was one."""
        try:
            return bool(self._ask({"op": "stop", "user": user})["stopped"])
        except (OSError, EOFError, ValueError, LookupError):
            return False

    def exchange(
        self, text: bytes, frames: bytes | memoryview, user: str, limits: Limits, on_place: Callable[[int], None]
    ) -> tuple[dict[str, Any], bytes]:
        """
        Return the runner's last answer and, where the run ended, the child's document: hostile bytes.

        Raises TimeoutError when the runner says nothing for longer than it ever does.
        """
        descriptors: list[int] = []
        with self._connected() as sock:
            sock.settimeout(self._silent_s)  # while the run waits the runner tells its place, changed or not
            try:
                descriptors += [wire.sealed(text, "code"), wire.sealed(frames, "data")]
                wire.send(sock, {"op": "run", "user": user, "limits": as_json(limits)}, descriptors)
            finally:
                wire.close(descriptors)
            told = None
            while True:
                answer, _ = wire.receive(sock)
                if "place" in answer:
                    if (place := int(answer["place"])) != told:
                        on_place(place)
                    told = place
                    if place == 0:
                        sock.settimeout(limits.wall_s + self._silent_s)
                else:
                    return answer, wire.exactly(sock, int(answer.get("bytes", 0)))

    def _ask(self, request: dict[str, Any]) -> Any:
        with self._connected() as sock:
            sock.settimeout(_ANSWER_S)
            wire.send(sock, request)
            return wire.receive(sock)[0]

    @contextlib.contextmanager
    def _connected(self) -> Any:
        if self.path is None:
            raise OSError(_OFF)
        with socket.socket(socket.AF_UNIX) as sock:
            _connect(sock, self.path)
            yield sock


def _connect(sock: socket.socket, path: Path) -> None:
    if len(os.fsencode(path)) <= _LONGEST_NAME:
        sock.connect(str(path))
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sock.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _outcome(ended: dict[str, Any], document: bytes, limits: Limits) -> Outcome:
    status: Status = ended["status"]
    items: tuple[Item, ...] = ()
    error, is_truncated = None, False
    if document:
        try:
            parsed = parse(document, limits)
        except BadResult as refused:
            if status == "done":
                return _without_result("refused", str(refused), ended)
        else:
            items, error, is_truncated = parsed.items, parsed.error, parsed.is_truncated
            if status == "done" and parsed.status == "error":
                status = "error"
    facts = (ended["wall_s"], ended["cpu_s"], ended["peak_bytes"])
    return Outcome(status, items, error, _message(status, limits), *facts, is_truncated)


def _message(status: Status, limits: Limits) -> str | None:
    gib = limits.memory_bytes / (1 << 30)
    return {
        "done": None,
        "error": "the program raised an exception: its own lines are above",
        "stopped": "the run was stopped",
        "timeout": f"the run took longer than {limits.wall_s:g} s and was ended: take fewer rows",
        "memory": f"the run needed more than {gib:.3g} GiB of memory and was ended: take fewer rows or columns",
        "cpu": f"the run took more than {limits.cpu_s:g} s of processor time and was ended: take fewer rows",
        "died": "the run's process died: a library crashed, it had more than 64 threads, or the sandbox was restarted;"
        " run it again",
        "refused": f"the result is larger than {limits.result_bytes >> 20} MiB: show less",
    }[status]


def _without_result(status: Status, message: str, ended: dict[str, Any] | None = None) -> Outcome:
    facts = ended or {"wall_s": 0.0, "cpu_s": 0.0, "peak_bytes": 0}
    return Outcome(status, (), None, message, facts["wall_s"], facts["cpu_s"], facts["peak_bytes"], False)
