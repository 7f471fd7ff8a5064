"""Options that several commands share."""

from __future__ import annotations

import contextlib
import getpass
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click

from lakehouse.access.roles import Role, User

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Data folder (default: LAKEHOUSE_DATA_DIR, or the user's).",
)


@contextlib.contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C while the block runs, so that a stopped supervisor stops its services."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def operator() -> User:
    """
    Return who uses the command line, for the audit record.

    Whoever can read the data folder's secrets is an administrator; there is no account to check.
    """
    return User(0, f"cli:{getpass.getuser()}", Role.ADMIN)
