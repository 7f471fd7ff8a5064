"""Keeping a Delta table small: many small files made few, and files removed that no kept version needs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import structlog
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError

from lakehouse.database.locks import files_lock_if_free, table_lock
from lakehouse.engines.address import TableAddress
from lakehouse.storage.store import open_store

log = structlog.get_logger()

# So far back goes time travel, and a change feed may be unread
KEPT = dt.timedelta(days=30)
_BACKUP = "nothing was removed: a backup is being taken"


@dataclass(frozen=True)
class TableCare:
    """
    What was done to a table.

    Attributes:
        version: The table's version afterwards; *former* the one before. Equal if there was nothing to do.
        compacted: Files that were made fewer, and how many they are now.
        removed: Files that no kept version needed, and *freed* their bytes.
        rows, files, size: What the table holds afterwards: rows, files, and their bytes.
        left_out: Why something was not done; empty if all was.
    """

    former: int
    version: int
    compacted: tuple[int, int] = (0, 0)
    removed: int = 0
    freed: int = 0
    rows: int = 0
    files: int = 0
    size: int = 0
    left_out: str = ""


def care_for(
    dsn: str,
    address: TableAddress,
    name: str,
    run_id: str,
    *,
    unread_from: int | None,
    record: Callable[[int, int], None],
    kept: dt.timedelta = KEPT,
) -> TableCare:
    """
    Compact the table and remove what no version within *kept* needs, alone on the table: its writers wait.

    Neither changes a row, nor what a change feed tells.

    Args:
        unread_from: The first version whose change somebody has yet to read; older ones than *kept* stop the removal.
        record: Called with the version before and after, under the lock, if nobody else committed in between.

    Raises:
        LockLost: if the lock was taken over (database/locks.py).
    """
    with table_lock(dsn, name, run_id) as generation:
        table = address.open()
        former, ours = table.version(), CommitProperties(custom_metadata={"userMetadata": run_id})
        try:
            generation.check()
            found = table.optimize.compact(commit_properties=ours)
            compacted = (int(found["numFilesRemoved"]), int(found["numFilesAdded"]))
            generation.check()
            unread = unread_from if unread_from is not None and unread_from <= former else None
            with files_lock_if_free(dsn) as is_free:
                removed, freed, left_out = _vacuum(address, unread, kept, ours) if is_free else (0, 0, _BACKUP)
        except CommitFailedError as error:
            log.warning("engines.care_left_out", table=name, error=str(error))
            return TableCare(former, address.open().version(), left_out=f"another writer came between: {error}")
        table = address.open()
        if table.version() > former and _all_ours(table, former, run_id):
            record(former, table.version())
        return TableCare(former, table.version(), compacted, removed, freed, *_measured(table), left_out)


def _vacuum(
    address: TableAddress, unread_from: int | None, kept: dt.timedelta, ours: CommitProperties
) -> tuple[int, int, str]:
    """Remove what no version within *kept* needs; return how many files and bytes, or why none."""
    if unread_from is not None:
        at = _committed_at(address.open(), unread_from)
        if at is None or at < dt.datetime.now(dt.UTC) - kept:
            return (
                0,
                0,
                f"nothing was removed: changes from version {unread_from} on are unread; merge and publish first",
            )
    hours = int(kept.total_seconds() // 3600)
    # deltalake names again what it removed long ago, and would commit for it
    listed = address.open().vacuum(hours, dry_run=True, enforce_retention_duration=False, full=True)
    store = open_store(address.url, address.options)
    there = [size for path in listed if (size := store.size(path)) is not None]
    if there:
        address.open().vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True, commit_properties=ours)
    return len(there), sum(there), ""


def _measured(table: DeltaTable) -> tuple[int, int, int]:
    """Return the rows, the files and the bytes of a table."""
    files = pa.table(table.get_add_actions(flatten=True))
    rows, size = (pc.sum(files[name]).as_py() or 0 for name in ("num_records", "size_bytes"))
    return rows, files.num_rows, size


def _committed_at(table: DeltaTable, version: int) -> dt.datetime | None:
    commits = table.history(table.version() - version + 1)
    found = next((commit for commit in commits if commit["version"] == version), None)
    return dt.datetime.fromtimestamp(found["timestamp"] / 1000, dt.UTC) if found else None


def _all_ours(table: DeltaTable, former: int, run_id: str) -> bool:
    return all(commit.get("userMetadata") == run_id for commit in table.history(table.version() - former))
