"""The tables that a statement names, opened as they are or, by Delta's own versions, as they were."""

from __future__ import annotations

import datetime as dt
from collections.abc import Container
from dataclasses import dataclass

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from lakehouse.market.errors import LakehouseError
from lakehouse.market.moscow import parse_instant
from lakehouse.market.table import Table
from lakehouse.serving.lake_sql.process import SqlRefused
from lakehouse.serving.lake_sql.views import TABLES, VIEW_BY_BARE_NAME
from lakehouse.silver.lake import Lake


class LakeEmpty(LakehouseError):
    """What a statement names has not been made yet."""


class VersionGone(SqlRefused):
    """A version that the table does not have, not yet or no longer."""


@dataclass(frozen=True)
class Opened:
    """The tables that a statement may read, and those that the lake does not hold, or did not hold then."""

    tables: list[tuple[Table, DeltaTable]]
    missing: list[Table]


def open_tables(lake: Lake, named: set[str] | None, at: str | None, hidden: Container[str] = ()) -> Opened:
    """
    Open the tables behind *named*, bare names of views in small letters, others among them; all tables for None.

    Those that are *hidden* are as if there were none of the name.

    Raises:
        SqlRefused: if *at* is a version and there are several tables, or as `table_at` does.
        LakeEmpty: if all were wanted, and none is there.
    """
    there = [table for table in TABLES if table.name not in hidden]
    wanted = [table for table in there if named is None or table.name in _tables_of(named)]
    if at is not None and _is_version(at) and len(wanted) > 1:
        names = "all tables" if named is None else " and ".join(table.name for table in wanted)
        raise SqlRefused(f"{at} is the version of one table, and the statement reads {names}: give a time instead")
    opened = Opened([], [])
    for table in wanted:
        address = lake.at(table)
        try:
            if address.exists():
                opened.tables.append((table, table_at(address.open(), table, at)))
                continue
        except VersionGone:
            if named is not None:
                raise
        opened.missing.append(table)
    if named is None and not opened.tables:
        raise LakeEmpty(no_data(lake, opened))
    return opened


def no_data(lake: Lake, opened: Opened) -> str:
    """Return what is to be said of the tables that are missing."""
    names = ", ".join(table.name for table in opened.missing)
    return f"there is no data in {lake.url} yet ({names} is not there): run lakehouse demo or lakehouse ingest"


def table_at(delta: DeltaTable, table: Table, at: str | None) -> DeltaTable:
    """
    Return *delta* as it was at a version, at an ISO time (UTC unless it says otherwise) or at the end of a Moscow date.

    As it is for None.

    Raises:
        SqlRefused: if *at* is none of these.
        VersionGone: if the table has no such version, or did not exist then.
    """
    if at is None:
        return delta
    version = int(at) if _is_version(at) else _version_at(delta, table, at)
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
        instant = parse_instant(at, is_end=True)
    except ValueError as error:
        raise SqlRefused(
            f"{at[:40]!r} is neither a version such as 12 nor a time such as 2026-03-05T18:00 (UTC), "
            "nor a date such as 2026-03-05 (the end of that day in Moscow)"
        ) from error
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


def _tables_of(named: set[str]) -> set[str]:
    return {VIEW_BY_BARE_NAME[name].table.name for name in named if name in VIEW_BY_BARE_NAME}


def _is_version(at: str) -> bool:
    return at.isascii() and at.isdigit()
