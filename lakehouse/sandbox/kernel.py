"""The kernel's calls that Python does not offer, by number: each raises OSError with the kernel's own reason."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Any

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


def syscall(number: int, *arguments: Any) -> int:
    """Make a system call; integers are passed as 64 bits."""
    passed = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    answer = int(_LIBC.syscall(ctypes.c_long(number), *passed))
    if answer < 0:
        raise _error(f"system call {number}")
    return answer


def prctl(option: int, value: int) -> None:
    """Change an attribute of this process."""
    unused = ctypes.c_ulong(0)
    if _LIBC.prctl(ctypes.c_int(option), ctypes.c_ulong(value), unused, unused, unused):
        raise _error(f"prctl {option}")


def drop_capabilities() -> None:
    """Give up all capabilities: root's own, and those that a user namespace brings."""
    number = {"x86_64": 126, "aarch64": 91}[os.uname().machine]
    syscall(number, struct.pack("=Ii", 0x20080522, 0), bytes(24))  # version 3: two sets of three words


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Put *source* on *target*, as the system call does."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    if _LIBC.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]):
        raise _error(f"mount on {target}")


def umount(target: str, flags: int) -> None:
    """Take what is mounted off *target*, as umount2(2) does."""
    if _LIBC.umount2(os.fsencode(target), ctypes.c_int(flags)):
        raise _error(f"unmount {target}")


def unshare(flags: int) -> None:
    """Enter new namespaces, as the system call does."""
    if _LIBC.unshare(ctypes.c_int(flags)):
        raise _error("unshare")


def pivot_root(new: str, old: str) -> None:
    """Make *new* the root and put the former one on *old*; both are mounts."""
    number = {"x86_64": 155, "aarch64": 41}[os.uname().machine]
    syscall(number, os.fsencode(new), os.fsencode(old))


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
