"""
The warm process that every run is forked from: it has the libraries loaded, one thread, and nobody's data.

It takes jobs over standard input, a Unix socket: limits as JSON, and as descriptors a socket for news of the run, the
program, the data, the pipe of the result. It reads none of these, so a run inherits nothing of another.
"""

from __future__ import annotations

import contextlib
import gc
import os
import secrets
import select
import signal
import site
import socket
import sys
from pathlib import Path
from typing import Any

from lakehouse.market.errors import LakehouseError
from lakehouse.sandbox import landlock, namespaces, seccomp, warm, wire

_READABLE = ("/usr/lib", "/lib", "/lib64", "/usr/lib64", "/usr/share/zoneinfo", "/etc/localtime", "/etc/ld.so.cache")
# Nobody's; the second where a container knows 65,536 users only. Each run has the next one of a span
_UIDS = (range(1_900_000_000, 2_000_000_000), range(62_000, 65_000))


def main() -> None:
    """Serve until standard input ends. Arguments: ``namespaces`` to enter them."""
    control = socket.socket(fileno=os.dup(0))
    null, proc = os.open(os.devnull, os.O_RDWR), os.open("/proc", os.O_PATH)
    os.dup2(null, 0)
    os.dup2(null, 1)
    warm.up()  # before the namespaces, whose root is read-only: Python keeps what it compiles
    gc.collect()
    gc.freeze()
    if "namespaces" in sys.argv[1:]:
        namespaces.enter(readable())
    server = _Server(control, null, proc)
    wire.send(control, {"ready": True})
    with contextlib.suppress(EOFError, ConnectionError):
        server.serve()
    os._exit(0)


def readable() -> list[Path]:
    """Return what a run may read: Python with its packages, the system's libraries and zone files."""
    packages = [Path(folder) for folder in site.getsitepackages()]
    return [Path(sys.base_prefix) / "lib", *packages, *map(Path, _READABLE)]


class _Server:
    def __init__(self, control: socket.socket, null: int, proc: int) -> None:
        self._control, self._null, self._proc = control, null, proc
        self._ruleset = landlock.readable_only(readable())
        self._filter = seccomp.program()
        self._uids = _uids(proc)
        # Another runner of this machine has the same span: two runs that were one user would share its limits
        self._runs = secrets.randbelow(len(self._uids)) if self._uids else 0
        self._children: dict[int, tuple[int, socket.socket]] = {}  # by pidfd
        if (threads := len(os.listdir(os.open("self/task", os.O_RDONLY, dir_fd=proc)))) != 1:
            raise LakehouseError(f"{threads} threads run after loading the libraries; a fork would not take them along")

    def serve(self) -> None:
        waiting = select.poll()
        waiting.register(self._control, select.POLLIN)
        while True:
            for descriptor, _ in waiting.poll():
                if descriptor == self._control.fileno():
                    if pidfd := self._start(*wire.receive(self._control)):
                        waiting.register(pidfd, select.POLLIN)
                else:
                    waiting.unregister(descriptor)
                    self._bury(descriptor)

    def _start(self, job: dict[str, Any], descriptors: list[int]) -> int | None:
        news = socket.socket(fileno=descriptors[0])
        self._runs += 1
        space, resident = self._memory()
        try:
            pid = os.fork()
        except OSError as error:
            with contextlib.suppress(OSError):
                wire.send(news, {"failed": str(error)})
            news.close()
            wire.close(descriptors[1:])
            return None
        if not pid:
            self._become_child(job, descriptors, space)
        pidfd = os.pidfd_open(pid)
        wire.close(descriptors[1:])
        with contextlib.suppress(OSError):  # who asked is gone: the run ends, and is buried
            wire.send(news, {"resident": resident}, [pidfd])
        self._children[pidfd] = (pid, news)
        return pidfd

    def _bury(self, pidfd: int) -> None:
        pid, news = self._children.pop(pidfd)
        _, status, usage = os.wait4(pid, 0)
        os.close(pidfd)
        ended = {"status": status, "cpu_s": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss << 10}
        with contextlib.suppress(OSError):
            wire.send(news, ended)
        news.close()

    def _become_child(self, job: dict[str, Any], descriptors: list[int], space: int) -> None:
        from lakehouse.sandbox import child
        from lakehouse.sandbox.walls import Walls

        try:
            for number in (0, 1, 2):
                os.dup2(self._null, number)
            self._die_first()
            code, data, result = descriptors[1:]
            _close_all_but({code, data, result, self._ruleset})
            uid = self._uids[self._runs % len(self._uids)] if self._uids else None
            walls = Walls(
                uid, self._ruleset, self._filter, job["cpu_s"], space + job["memory_bytes"] + job["data_bytes"]
            )
            child.run(child.Work(code, data, result, job["text_bytes"], job["result_bytes"]), walls)
        finally:
            os._exit(71)

    def _die_first(self) -> None:
        """Let the kernel take this process, not another, when the machine runs out of memory."""
        with contextlib.suppress(OSError):
            score = os.open("self/oom_score_adj", os.O_WRONLY, dir_fd=self._proc)
            os.write(score, b"1000")

    def _memory(self) -> tuple[int, int]:
        """Return our address space and what of it is resident, in bytes."""
        statm = os.open("self/statm", os.O_RDONLY, dir_fd=self._proc)
        try:
            pages = os.read(statm, 256).split()
        finally:
            os.close(statm)
        page = os.sysconf("SC_PAGE_SIZE")
        return int(pages[0]) * page, int(pages[1]) * page


def _uids(proc: int) -> range | None:
    """Return the users that runs may become; None where only root could change the user."""
    if os.geteuid() != 0:
        return None
    mapping = os.open("self/uid_map", os.O_RDONLY, dir_fd=proc)
    try:
        spans = [tuple(map(int, line.split())) for line in os.read(mapping, 4096).splitlines()]
    finally:
        os.close(mapping)
    for uids in _UIDS:
        if any(inside <= uids.start and uids.stop <= inside + count for inside, _, count in spans):
            return uids
    raise LakehouseError("this container maps no user ids that a run could have: give it a range of 65,536")


def _close_all_but(kept: set[int]) -> None:
    low = 3
    for descriptor in sorted(kept):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, 1 << 20)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main()
