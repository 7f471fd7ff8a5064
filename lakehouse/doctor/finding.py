"""What a look at one thing finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from psycopg import Connection

from lakehouse.database.connection import connect
from lakehouse.database.outage import why_away
from lakehouse.market.errors import BadInput
from lakehouse.settings import Settings
from lakehouse.silver.lake import Lake
from lakehouse.up import running_dsn
from lakehouse.up.plan import read_stamp, stamp_file

Level = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """
    One line of the doctor's.

    Attributes:
        check: What was looked at.
        level: *failed*: it does not work, or will not; *warning*: it works for now; *skipped*: it was not looked at.
        remedy: What to do; empty if there is nothing to do.
    """

    check: str
    level: Level
    message: str
    remedy: str = ""


def ok(check: str, message: str) -> Finding:
    """Return that all is well."""
    return Finding(check, "ok", message)


def warning(check: str, message: str, remedy: str) -> Finding:
    """Return that something should be seen to."""
    return Finding(check, "warning", message, remedy)


def failed(check: str, message: str, remedy: str) -> Finding:
    """Return that something is broken."""
    return Finding(check, "failed", message, remedy)


def skipped(check: str, message: str) -> Finding:
    """Return that something was not looked at, and why."""
    return Finding(check, "skipped", message)


@dataclass(frozen=True)
class Site:
    """
    What is looked at.

    Attributes:
        asks_exchange: Whether the exchange may be asked a question.
    """

    settings: Settings
    asks_exchange: bool = False

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.settings.data_dir

    @property
    def lake(self) -> Lake:
        """The Delta tables."""
        return Lake(self.settings.lake_location, self.settings.s3_options)

    @property
    def has_data(self) -> bool:
        """Whether a platform ever ran on the folder."""
        return stamp_file(self.data).exists()

    @property
    def source(self) -> str:
        """Where the data are from: what the folder is stamped with, else what the settings say."""
        return str(read_stamp(self.data)["source"]) if self.has_data else self.settings.source

    @cached_property
    def dsn(self) -> str | None:
        """The database of the platform that runs, or one's own; None where none runs."""
        try:
            return running_dsn(self.settings)
        except BadInput:
            return None

    @cached_property
    def why_no_database(self) -> str:
        """Why the database cannot be asked; empty if it can."""
        if self.dsn is None:
            return "no platform runs on the data folder"
        return why_away(self.dsn)

    def connect(self) -> Connection[Any]:
        """Connect to the database; only where it can be asked."""
        return connect(self.dsn or "")


Check = Callable[[Site], Iterable[Finding]]


def with_database(name: str, look: Callable[[Site, Connection[Any]], Iterator[Finding]]) -> Check:
    """Return the check *look*, which is left out where the database cannot be asked."""

    def check(site: Site) -> Iterator[Finding]:
        if site.why_no_database:
            yield skipped(name, "the database cannot be asked")
            return
        with site.connect() as conn:
            yield from look(site, conn)

    return check
