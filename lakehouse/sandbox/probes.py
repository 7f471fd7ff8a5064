"""What the sandbox cannot do without, each found out by asking the kernel."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable

from lakehouse.sandbox import landlock, syscalls

Probe = Callable[[], str | None]


def system() -> str | None:
    """Linux is the only system that has the walls."""
    if sys.platform != "linux":
        named = {"darwin": "macOS", "win32": "Windows"}.get(sys.platform, sys.platform)
        return f"{named} has no Landlock and no seccomp: run the platform on Linux, in a virtual machine or a container"
    return None


def machine() -> str | None:
    """The numbers of the system calls are known for two machines."""
    if platform.machine() in syscalls.MACHINES and sys.byteorder == "little":
        return None
    return f"the system calls of {platform.machine()} are not known here: run the platform on x86_64 or aarch64"


def files() -> str | None:
    """Landlock closes the file system."""
    if landlock.abi() >= 1:
        return None
    return (
        "the kernel offers no Landlock: it takes Linux 5.13 or later with `landlock` among the security modules "
        "(boot with lsm=landlock,...); Docker offers it on such a kernel"
    )


def descriptors() -> str | None:
    """A run is signalled by a descriptor of its process, its data come in sealed memory."""
    if all(hasattr(os, name) for name in ("pidfd_open", "memfd_create", "eventfd")):
        return None
    return "Python was built without pidfd_open, memfd_create or eventfd: use one built on Linux 5.4 or later"


PROBES: tuple[Probe, ...] = (system, machine, files, descriptors)


def why_off(probes: tuple[Probe, ...] = PROBES) -> str | None:
    """Return what the first probe that fails says, with what would help; None if none does."""
    return next((reason for probe in probes if (reason := probe())), None)
