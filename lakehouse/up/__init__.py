"""
Starting and stopping the platform on one machine: each service a process of its own, started by ``python -m``.

The supervisor gives every child a pipe as standard input (lifeline.py), so none outlives it, and a session of its own,
so Ctrl-C in the terminal reaches the supervisor alone. A service that dies is started again.
"""

from lakehouse.up.folder import log_file, running_dsn
from lakehouse.up.plan import Plan, stamped_plan, with_settings
from lakehouse.up.platform import Platform, running
from lakehouse.up.service import ServiceFailed

__all__ = [
    "Plan",
    "Platform",
    "ServiceFailed",
    "log_file",
    "running",
    "running_dsn",
    "stamped_plan",
    "with_settings",
]
