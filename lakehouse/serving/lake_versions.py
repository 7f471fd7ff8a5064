"""A table as it was: by Delta's own versions, which are numbered from 0 by the commits of the table."""

from __future__ import annotations

import datetime as dt

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from lakehouse.market.table import Table
from lakehouse.serving.lake_sql_process import SqlRefused


class VersionGone(SqlRefused):
    """A version that the table does not have, not yet or no longer."""


def table_at(delta: DeltaTable, table: Table, at: str | None) -> DeltaTable:
    """
    Return *delta* as it was at a version or an ISO time (UTC unless it says otherwise); as it is for None.

    Raises:
        SqlRefused: if *at* is neither.
        VersionGone: if the table has no such version, or did not exist then.
    """
    if at is None:
        return delta
    version = int(at) if at.isascii() and at.isdigit() else _version_at(delta, table, at)
    newest = delta.version()
    try:
        delta.load_as_version(version)
    except (DeltaError, OverflowError) as error:
        if version <= newest:
            raise VersionGone(
                f"version {version} of {table.name} can be read no more: its log was cleaned; its newest is {newest}"
            ) from error
        raise VersionGone(f"{table.name} has no version {version}: its newest is {newest}") from error
    return delta


def _version_at(delta: DeltaTable, table: Table, at: str) -> int:
    try:
        instant = dt.datetime.fromisoformat(at)
    except ValueError as error:
        raise SqlRefused(
            f"{at[:40]!r} is neither a version such as 12 nor a time such as 2026-03-05T18:00 (UTC)"
        ) from error
    instant = instant if instant.tzinfo else instant.replace(tzinfo=dt.UTC)
    made_ms = {int(commit["version"]): int(commit["timestamp"]) for commit in delta.history()}
    until_ms = instant.timestamp() * 1000
    if versions := [version for version, ms in made_ms.items() if ms <= until_ms]:
        return max(versions)
    oldest = min(made_ms)
    since = dt.datetime.fromtimestamp(made_ms[oldest] / 1000, dt.UTC)
    if oldest:
        raise VersionGone(
            f"{table.name} can be read back to {since:%F %T%z} (version {oldest}): older commits were cleaned away"
        )
    raise VersionGone(f"{table.name} did not exist at {instant:%F %T%z}: it was made at {since:%F %T%z}")
