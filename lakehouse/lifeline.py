"""A process that the supervisor starts ends with it, however the supervisor ends."""

from __future__ import annotations

import os
import signal
import sys
import threading


def end_with_parent() -> None:
    """
    Send this process SIGTERM once standard input is closed.

    The supervisor gives each child a pipe as standard input and never writes to it: the pipe closes when the
    supervisor is gone, kill -9 included. A process started by hand in a terminal is left alone.
    """
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return
    threading.Thread(target=_wait, args=(sys.stdin.fileno(),), name="lifeline", daemon=True).start()


def _wait(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
