"""
Programs that try to get out of the sandbox, and how they are known to have failed.

A program that gets what it wants prints ESCAPED; one that is refused raises, or is ended. Each proves itself in a child
without any wall, unless `unsafe` says why it must not be run there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lakehouse.sandbox.document import Figure, TableItem, Text
from lakehouse.sandbox.host import Limits, Outcome
from tests.sandboxes import PATIENT

ESCAPED = "ESCAPED"
QUICK = Limits(wall_s=2.0, cpu_s=2.0, memory_bytes=512 << 20)
LATE_S = 60  # what ends later than this was not ended by the clock on the wall, however busy the machine is

PRELUDE = """
import ctypes, errno, os
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    passed = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    answer = _libc.syscall(ctypes.c_long(number), *passed)
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer
def knock(number, *arguments):
    try:
        call(number, *arguments)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS):
            raise
def pipe():
    import stat
    for descriptor in range(64):
        try:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                return descriptor
        except OSError:
            pass
"""


@dataclass(frozen=True)
class Attack:
    """
    A hostile program.

    Attributes:
        name: What it tries, as the test is called.
        code: The program, `PRELUDE` before it; ESCAPED is printed where it gets to its end.
        unsafe: Why it is not run without walls; empty where it is.
        got_out: Whether what the host shows is what the attack wanted.
        raw: What the child's own document holds if it is not validated: the proof of those that poison it.
    """

    name: str
    code: str
    unsafe: str = ""
    limits: Limits = QUICK
    got_out: Callable[[Outcome], bool] = lambda outcome: ESCAPED in shown(outcome)
    raw: bytes = ESCAPED.encode()

    @property
    def program(self) -> str:
        """The whole program."""
        return f"{PRELUDE}{self.code}\nprint({ESCAPED!r})\n"

    @property
    def patient(self) -> Limits:
        """Its limits, and the time that getting through takes on a busy machine."""
        return replace(self.limits, wall_s=PATIENT.wall_s)


def shown(outcome: Outcome) -> str:
    """Return all text that the host would show of an outcome."""
    return "\n".join([*map(_text, outcome.items), outcome.error or "", outcome.message or ""])


def _text(item: object) -> str:
    if isinstance(item, Text):
        return item.text
    if isinstance(item, TableItem):
        return "\n".join([item.name, *item.columns, *(cell for row in item.rows for cell in row)])
    return repr(item.document) if isinstance(item, Figure) else ""


def knocks(doors: dict[str, tuple[int, ...]], but: dict[str, str] | None = None) -> list[Attack]:
    """
    Return an attack for each system call: it gets out if the kernel looks at the arguments, which are of no use.

    *but* says of some why no kernel can be asked without walls.
    """
    unsafe = but or {}
    return [
        Attack(f"system call {name}", f"knock({', '.join(map(str, numbers))})", unsafe.get(name, ""))
        for name, numbers in doors.items()
    ]
