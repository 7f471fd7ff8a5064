"""What several commands share: options, the platform's database, who asks, JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import getpass
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click
from psycopg import Connection

from lakehouse.access.roles import Role, User
from lakehouse.database.connection import connect
from lakehouse.settings import load_settings
from lakehouse.storage.store import Store, open_store
from lakehouse.up import running_dsn, with_settings
from lakehouse.up.plan import read_stamp

F = TypeVar("F", bound=Callable[..., Any])

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Data folder (default: LAKEHOUSE_DATA_DIR, or the user's).",
)


def listening_options(command: F) -> F:
    """Add --host, --port and --behind-proxy to a command."""
    for option in (
        click.option("--behind-proxy", is_flag=True, default=None, help="A proxy with TLS stands in front."),
        click.option(
            "--port", type=click.IntRange(0, 65535), help="Port of the web server (default 8000; 0: a free one)."
        ),
        click.option(
            "--host", help="Address of the pages and the API (default 127.0.0.1); others need TLS or a proxy."
        ),
    ):
        command = option(command)
    return command


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


def connected(data: Path | None) -> Connection[Any]:
    """Connect to the database of the platform that runs on a folder; raise BadInput when none does."""
    return connect(running_dsn(with_settings(load_settings(), data_dir=data)))


def opened_store(data: Path | None) -> Store:
    """Return the store of Bronze of the platform on a folder."""
    settings = with_settings(load_settings(), data_dir=data)
    return open_store(settings.bronze_location, settings.s3_options)


def present(data: Path | None) -> dt.datetime | None:
    """Return the present; None where the source is no exchange: then its clock when it last answered counts."""
    is_real = read_stamp(with_settings(load_settings(), data_dir=data).data_dir)["source"] == "exchange"
    return dt.datetime.now(dt.UTC) if is_real else None


def plain(value: object) -> object:
    """Return *value* as JSON has it, for json.dumps(default=plain)."""
    if isinstance(value, dt.date):
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value)} is not JSON")
