"""The allowed system calls: their numbers, the filter made of them, and the probes that keep the sandbox off."""

from __future__ import annotations

import errno
import os
import platform
import re
import sys
from pathlib import Path

import pytest

from lakehouse.market.errors import BadInput
from lakehouse.sandbox import limits, policy, probes, seccomp, syscalls
from lakehouse.sandbox.limits import Limits, as_json
from lakehouse.sandbox.queueing import Busy, Queue
from tests.components import require

HEADERS = {"x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "/usr/include/asm-generic/unistd.h"}
NAMES = [name for group in policy.ALLOWED for name in group.calls.split()]


@pytest.mark.parametrize("machine", HEADERS)
def test_the_numbers_are_the_kernels(machine: str) -> None:
    """Every number in the table is the one in the kernel's own header."""
    header = Path(HEADERS[machine])
    if not header.exists():
        require("the kernel's headers", "install linux-libc-dev")
    text = header.read_text(encoding="ascii")
    defined = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)$", text, re.M)}
    defined.setdefault("newfstatat", defined.get("fstatat", -1))
    assert syscalls.numbers(machine) == {name: defined[name] for name in syscalls.numbers(machine)}


def test_every_call_is_named_once_with_a_reason() -> None:
    """No call is in two groups, and none is unknown on both machines."""
    assert len(NAMES) == len(set(NAMES))
    assert all(len(group.reason) > 5 for group in policy.ALLOWED)
    assert set(NAMES) <= set(syscalls.numbers("x86_64")) | set(syscalls.numbers("aarch64"))
    assert {*NAMES, *policy.ABSENT} == set(syscalls.numbers("x86_64")) | set(syscalls.numbers("aarch64"))


@pytest.mark.parametrize("machine", syscalls.MACHINES)
def test_the_filter_fits_the_kernel(machine: str) -> None:
    """It is made for both machines, of fewer instructions than the kernel takes, and jumps stay within it."""
    program = seccomp.program(machine)
    assert len(program) % 8 == 0
    assert len(program) // 8 < 4096


def test_every_other_call_is_refused() -> None:
    """Each number of the kernel's table that is not allowed answers EPERM or ENOSYS under the loaded filter."""
    if sys.platform != "linux" or platform.machine() not in syscalls.MACHINES:
        require("Linux", "run the tests on Linux, x86_64 or aarch64")
    refused = set(range(600)) - {syscalls.numbers()[name] for name in NAMES if name in syscalls.numbers()}
    if platform.machine() == "x86_64":
        refused -= {335, 336}  # the kernel's own way back from a probe, past seccomp: without a probe it does nothing
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, _answers(refused).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        answers = said.read()
    os.waitpid(child, 0)
    assert answers == "all refused"


def _answers(refused: set[int]) -> str:
    from lakehouse.sandbox.kernel import syscall

    seccomp.load(seccomp.program())
    for number in sorted(refused):
        try:
            syscall(number, -1, -1, -1, -1, -1, -1)
        except OSError as error:
            if error.errno in (errno.EPERM, errno.ENOSYS):
                continue
            return f"{number} answers {error}"
        return f"{number} is answered"
    return "all refused"


@pytest.mark.parametrize("failing", range(len(probes.PROBES)))
def test_a_failing_probe_keeps_the_sandbox_off(failing: int) -> None:
    """Whichever fails, its reason is what the page says; none is passed over."""
    forced = [*probes.PROBES]
    forced[failing] = lambda: "forced to fail"
    assert probes.why_off(tuple(forced)) == "forced to fail"


@pytest.mark.parametrize(("system", "named"), [("darwin", "macOS"), ("win32", "Windows")])
def test_other_systems_are_off_by_name(monkeypatch: pytest.MonkeyPatch, system: str, named: str) -> None:
    """The reason names the system, what it lacks, and what would help."""
    monkeypatch.setattr(sys, "platform", system)
    reason = probes.system() or ""
    assert reason.startswith(f"{named} has no Landlock and no seccomp: run the platform on Linux")


def test_other_processors_are_off_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of system calls are not guessed."""
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert (probes.machine() or "").startswith("the system calls of riscv64 are not known here")


def test_a_kernel_without_landlock_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason says what the kernel needs."""
    monkeypatch.setattr("lakehouse.sandbox.landlock.abi", lambda: 0)
    assert "lsm=landlock" in (probes.files() or "")


@pytest.mark.parametrize(
    "changed",
    [
        {"wall_s": 121},
        {"wall_s": 0},
        {"wall_s": float("nan")},
        {"memory_bytes": -1},
        {"cpu_s": "x"},
        {"code_bytes": None},
    ],
)
def test_limits_beyond_the_most_are_refused(changed: dict[str, object]) -> None:
    """Whoever asks: the runner grants no more than its own most."""
    with pytest.raises(BadInput, match=r"the limit \w+ is .*: it must be above 0|these are no limits of a run"):
        limits.parse({**as_json(Limits()), **changed})


def test_the_queue_is_first_come_first_served() -> None:
    """Places move up when somebody leaves, and nobody has two."""
    queue = Queue(1)
    first, second, third = (queue.join(name) for name in ("anna", "boris", "vera"))
    assert [queue.place(ticket) for ticket in (first, second, third)] == [0, 1, 2]
    with pytest.raises(Busy, match="you have a run already"):
        queue.join("vera")
    queue.leave(second)
    assert queue.place(third) == 1
    queue.leave(first)
    assert queue.place(third) == 0
    queue.leave(third)
    assert queue.join("vera")
