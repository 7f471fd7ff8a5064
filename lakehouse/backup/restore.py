"""The way back: a backup into an empty place, every file's hash compared, PostgreSQL filled, readers served again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any

from psycopg import Connection

from lakehouse.access import audit
from lakehouse.access.roles import User
from lakehouse.backup.manifest import BackupDamaged, File, Manifest
from lakehouse.backup.moment import TABLES
from lakehouse.backup.postgres import fill, refuse_filled, server_version
from lakehouse.backup.repository import AT_A_TIME, Repository
from lakehouse.database.connection import connect
from lakehouse.database.migrate import MigrationError, migrate, unknown
from lakehouse.market.candle import FACT_CANDLE
from lakehouse.market.errors import BadInput
from lakehouse.serving.publish import rebuild_serving
from lakehouse.silver.lake import Lake
from lakehouse.storage.stamp import KEY, UNFINISHED, Stamp, encoded, named, read
from lakehouse.storage.store import Store, open_store

# What is published after a restore must not have the number of something that was published behind the backup
_VERSIONS_LEFT_OUT = 1_000_000


@dataclass(frozen=True)
class Destination:
    """
    Where a backup is restored to.

    Attributes:
        stamped: The places that are stamped with the source: the data folder, and what lies outside it.
    """

    bronze: Store
    lake: Lake
    stamped: Sequence[Store]


@dataclass(frozen=True)
class Restored:
    """What came back: rows of Bronze's ledger, candles that readers see, users, and migrations that ran behind it."""

    objects: int
    candles: int
    users: int
    migrated: Sequence[str]


def refuse_newer(manifest: Manifest) -> None:
    """Raise MigrationError if this program is older than the one that made the backup, or another one."""
    if newer := unknown(manifest.migrations):
        raise MigrationError(
            f"backup {manifest.backup_id} was made by version {manifest.program}, whose migrations this one does not "
            f"know ({', '.join(newer)}): restore it with that version, or a newer one"
        )


def refuse_filled_stores(destination: Destination, stamp: Stamp) -> None:
    """Raise BadInput unless there is nothing where Bronze and the tables go, or the same source's stamp alone."""
    for store in (destination.bronze, open_store(destination.lake.url, destination.lake.options)):
        keys = list(islice(store.list(), 2))
        if keys == [KEY] and (found := read(store)) != stamp:
            raise BadInput(f"{store.url} is for data of {named(found)}, the backup is of {named(stamp)}")
        if keys not in ([], [KEY]):
            raise BadInput(f"{store.url} is not empty, it holds {keys[-1]} for one: restore into an empty place")


def restore(
    repository: Repository,
    manifest: Manifest,
    destination: Destination,
    database: Callable[[], AbstractContextManager[str]],
    by: User,
) -> Restored:
    """
    Restore a backup into an empty place.

    Until all is done the places are stamped as unfinished, so that nothing starts on half of it.

    Args:
        database: Gives the address of an empty database while its block runs.
        by: Who restores, for the audit record that came back.

    Raises:
        BackupDamaged: if a file is missing or its hash is another.
    """
    _stamp(destination, UNFINISHED)
    _copy(repository, repository.listing(manifest), destination)
    for table in TABLES:
        if state := manifest.tables.get(table.name):
            delta = destination.lake.at(table).open()
            if (str(delta.metadata().id), delta.version()) != (state.table_id, state.version):
                raise BackupDamaged(f"{table.name} came back at version {delta.version()}, expected {state.version}")
    with database() as dsn, repository.opened(manifest.dump) as dump:
        with connect(dsn) as conn:
            server_version(conn)
            refuse_filled(conn)
            fill(dsn, conn, dump, manifest.roles)
            migrated = migrate(dsn)
            conn.execute("SELECT lake.confine_readers()")  # rights to the database itself are in no dump
            _begin_anew(conn)
            if destination.lake.at(FACT_CANDLE).exists():
                # What Gold lost since it was published last is known to be right: the files are those of the backup
                rebuild_serving(dsn, destination.lake, accept_shrinkage=True)
            conn.execute("ANALYZE")
            restored = _counted(conn, migrated)
            audit.record(conn, by, "restore", repository.store.url, {"backup": manifest.backup_id}, "done", "")
        if restored.objects != manifest.objects:
            raise BackupDamaged(f"the ledger came back with {restored.objects} objects, expected {manifest.objects}")
    _stamp(destination, manifest.stamp)
    return restored


def _stamp(destination: Destination, stamp: Stamp) -> None:
    for store in destination.stamped:
        store.put_file(KEY, BytesIO(encoded(stamp)))


def _copy(repository: Repository, files: Sequence[File], destination: Destination) -> None:
    places: Mapping[str, Store] = {
        "bronze": destination.bronze,
        "lake": open_store(destination.lake.url, destination.lake.options),
    }

    def copy(file: File) -> None:
        place, _, key = file.path.partition("/")
        with repository.opened(file) as content:
            places[place].put_file(key, content)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        try:
            for _ in pool.map(copy, files):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _begin_anew(conn: Connection[Any]) -> None:
    """End what was going on: sessions, some of which may have been revoked since, and what asked the exchange."""
    conn.execute("DELETE FROM lake.session")
    conn.execute("DELETE FROM lake.request_lease")
    conn.execute("UPDATE gold.publication SET data_version = data_version + %s", (_VERSIONS_LEFT_OUT,))


def _counted(conn: Connection[Any], migrated: Sequence[str]) -> Restored:
    row = conn.execute(
        """
        SELECT (SELECT count(*) FROM lake.bronze_object), (SELECT coalesce(sum(rows), 0)::bigint FROM gold.series),
            (SELECT count(*) FROM lake.app_user WHERE disabled_at IS NULL)
        """
    ).fetchone()
    objects, candles, users = row or (0, 0, 0)
    return Restored(objects, candles, users, migrated)
