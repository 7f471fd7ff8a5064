"""A process that the supervisor starts ends with it, however the supervisor ends."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
import time

_GRACE_S = 3.0


def end_with_parent() -> None:
    """
    Send this process SIGTERM once standard input is closed, if that is a pipe or a socket, and soon after SIGKILL.

    The supervisor gives each child a pipe as standard input and never writes to it: the pipe closes when the
    supervisor is gone, kill -9 included. A terminal or /dev/null (a process started by hand, by cron) says nothing.
    """
    if sys.stdin is None or sys.stdin.closed:
        return
    descriptor = sys.stdin.fileno()
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        threading.Thread(target=_wait, args=(descriptor,), name="lifeline", daemon=True).start()


def _wait(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)  # what it started as well, such as a JVM
    os.kill(os.getpid(), signal.SIGKILL)
