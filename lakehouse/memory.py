"""
How little memory a process that lives long keeps.

glibc gives threads arenas of their own, eight for each core, and of all but the first it never gives back the end: one
large step in each thread would keep a process large for good. Here all threads share the first.
"""

from __future__ import annotations

import ctypes
import gc
import os
from contextlib import suppress

# Of malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE_BYTES = 1 << 20


def keep_little() -> None:
    """Let this process, and those it starts, keep little of what they do not use; call it before there are threads."""
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")  # Spark's JVM has threads that compute at a time
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", f"{_LARGE_BYTES}")
    with suppress(AttributeError):  # glibc alone has it
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        # Both would otherwise grow with what was given back
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)


def give_back() -> None:
    """Give back what was taken for something that may not come again for hours."""
    gc.collect()
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
