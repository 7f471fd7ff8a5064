"""
The walls around one run, in the order in which they must be put up: own user, Landlock, limits, seccomp.

The user first, since seccomp allows no change of it; the limits before seccomp, which allows none to be raised.
"""

from __future__ import annotations

import math
import os
import resource
import signal
from dataclasses import dataclass

from lakehouse.sandbox import landlock, seccomp
from lakehouse.sandbox.kernel import PR_SET_DUMPABLE, PR_SET_PDEATHSIG, drop_capabilities, prctl

_NICENESS = 10
_DESCRIPTORS = 64
THREADS = 64
_STACK = 8 << 20


@dataclass(frozen=True)
class Walls:
    """
    What a child is put behind.

    Attributes:
        uid: The user it runs as, and its group; None where only root could change it.
        ruleset: Landlock's, a descriptor.
        filter: The seccomp program.
        cpu_s: Seconds of processor time; a second later there is no mercy.
        address_space: Bytes of it, those inherited from the fork server included.
    """

    uid: int | None
    ruleset: int
    filter: bytes
    cpu_s: float
    address_space: int


def put_up(walls: Walls) -> None:
    """Put this process, which has one thread, behind the walls for good."""
    os.nice(_NICENESS)
    own_user(walls.uid)
    restrict_files(walls.ruleset)
    limit(walls.cpu_s, walls.address_space, THREADS if walls.uid is not None else None)
    filter_calls(walls.filter)


def own_user(uid: int | None) -> None:
    """Become a user whom nobody else is, whom nobody debugs, and who ends with the fork server."""
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    drop_capabilities()
    prctl(PR_SET_DUMPABLE, 0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of user clears it, so it comes after


def restrict_files(ruleset: int) -> None:
    """See landlock.restrict."""
    landlock.restrict(ruleset)


def limit(cpu_s: float, address_space: int, threads: int | None) -> None:
    """Set the limits; the number of threads counts per user, so it is for a user of one's own only."""
    cpu = math.ceil(cpu_s)
    for what, soft, hard in (
        (resource.RLIMIT_AS, address_space, address_space),
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_NOFILE, _DESCRIPTORS, _DESCRIPTORS),
        (resource.RLIMIT_STACK, _STACK, _STACK),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
    ):
        resource.setrlimit(what, (soft, hard))
    if threads is not None:
        resource.setrlimit(resource.RLIMIT_NPROC, (threads, threads))


def filter_calls(program: bytes) -> None:
    """See seccomp.load."""
    seccomp.load(program)
