"""
Landlock: the files that an analyst's program can open, for reading only; no TCP, no signals to others.

The ruleset is made once in the fork server; a child only puts itself under it. What an older kernel's Landlock does not
know (TCP before ABI 4, signals before 6) the seccomp filter refuses as well.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from lakehouse.sandbox.kernel import PR_SET_NO_NEW_PRIVS, prctl, syscall

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same on all machines
_WANT_VERSION = 1
_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# Rights over files by ABI: 13 at first, then REFER, TRUNCATE, and (from 5) IOCTL_DEV
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ALL_FILE_RIGHTS = (1 << 16) - 1
_TCP = 0b11  # bind, connect
_SCOPED = 0b11  # abstract Unix sockets, signals


def abi() -> int:
    """Return the version of the kernel's Landlock, 0 if it has none or it is not enabled."""
    try:
        return syscall(_CREATE, None, 0, _WANT_VERSION)
    except OSError:
        return 0


def readable_only(paths: Iterable[Path]) -> int:
    """Return a ruleset (a descriptor) under which only what lies beneath *paths* can be read, and nothing written."""
    version = abi()
    rights = _FILE_RIGHTS.get(version, _ALL_FILE_RIGHTS)
    network, scoped = (_TCP if version >= 4 else 0), (_SCOPED if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = syscall(_CREATE, struct.pack("=QQQ", rights, network, scoped)[:size], size, 0)
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            _allow(ruleset, path)
    return ruleset


def restrict(ruleset: int) -> None:
    """Put this process under a ruleset for good."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    syscall(_RESTRICT, ruleset, 0)


def _allow(ruleset: int, path: Path) -> None:
    rights = _READ_FILE | _READ_DIR if path.is_dir() else _READ_FILE
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)
