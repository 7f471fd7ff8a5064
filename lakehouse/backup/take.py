"""Taking a backup, while the platform runs: one moment of it, and of its files what the target does not hold yet."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import structlog

from lakehouse.backup.manifest import File, Manifest, TableState
from lakehouse.backup.moment import PATIENCE_S, TABLES, Moment, moment
from lakehouse.backup.postgres import dump, server_version
from lakehouse.backup.repository import AT_A_TIME, Repository
from lakehouse.backup.tables import needed_files
from lakehouse.database.locks import files_lock
from lakehouse.database.migrate import MigrationError, unknown
from lakehouse.market.errors import BadInput
from lakehouse.silver.lake import Lake
from lakehouse.storage.stamp import named
from lakehouse.storage.store import Store, open_store

log = structlog.get_logger()

# Objects never change; an uploaded file may be put there anew
_WRITTEN_ONCE, _MUTABLE = ("iss/", "rejected/"), "uploads/"


@dataclass(frozen=True)
class Source:
    """What is backed up: the database, Bronze, the tables, and the source that all of it is of."""

    dsn: str
    bronze: Store
    lake: Lake
    stamp: Mapping[str, Any]


@dataclass(frozen=True)
class _Wanted:
    """A file that a backup needs, and whether it may have gone meanwhile."""

    path: str
    mark: str = ""
    may_be_gone: bool = False


def take(source: Source, repository: Repository, patience_s: float = PATIENCE_S) -> Manifest:
    """
    Take a backup; return it.

    Nothing counts before the manifest is written, last: a backup that is cut short leaves files that the next one
    finds and uses.

    Raises:
        BadInput: if the target holds backups of another source.
        MigrationError: if the database is of a newer version of this program.
        NotNow: if a table is being written for longer than *patience_s*.
    """
    with files_lock(source.dsn):
        former = repository.newest()
        if former and former.stamp != source.stamp:
            raise BadInput(
                f"{repository.store.url} holds backups of {named(former.stamp)}, and this is {named(source.stamp)}: "
                "choose another target"
            )
        backup_id, held = _free_id(repository), repository.held()
        seen = _look(source, repository, held, patience_s)
        wanted = [*seen.wanted, *_wanted_of_bronze(source.bronze)]
        files = _copied(source, repository, wanted, _reusable(repository, former, seen.tables, held), held)
        listing = repository.add_listing(files)
        if repository.store.folder is not None:
            os.sync()  # all of it is on the disk before anything names it
        manifest = _manifest(backup_id, source, seen, [seen.dump, listing, *files], held)
        repository.add_manifest(manifest)
    log.info("backup.taken", id=backup_id, files=manifest.files, new_bytes=manifest.new_size)
    return manifest


@dataclass(frozen=True)
class _Seen:
    """What was seen at the moment of the backup."""

    migrations: dict[str, str]
    roles: list[str]
    server: int
    tables: dict[str, TableState]
    objects: set[str]
    dump: File
    wanted: list[_Wanted]


def _look(source: Source, repository: Repository, held: Mapping[str, int], patience_s: float) -> _Seen:
    """Dump PostgreSQL as it is at one moment, and list what the tables need to be read as they are then."""
    with moment(source.dsn, source.lake, patience_s) as then:
        migrations = then.migrations()
        if newer := unknown(migrations):
            raise MigrationError(
                "the database is of a newer version, whose migrations this one does not know "
                f"({', '.join(newer)}): back up with that"
            )
        return _Seen(
            migrations,
            then.roles(),
            server_version(then.conn),
            then.tables,
            then.objects(),
            repository.add("postgres.dump", lambda spool: dump(source.dsn, then.snapshot, spool), held),
            list(_wanted_of_tables(source.lake, then)),
        )


def _manifest(backup_id: str, source: Source, seen: _Seen, files: list[File], held: Mapping[str, int]) -> Manifest:
    """Describe a backup of *files*: the dump, the list, and all others."""
    new = {file.sha256: file.size for file in files if file.sha256 not in held}
    lost = sorted(seen.objects - {file.path.removeprefix("bronze/") for file in files})
    if lost:
        log.error("backup.objects_lost", count=len(lost), first=lost[0])
    return Manifest(
        backup_id=backup_id,
        program=version("moex-lakehouse"),
        stamp=dict(source.stamp),
        migrations=seen.migrations,
        roles=seen.roles,
        server=seen.server,
        dump=files[0],
        listing=files[1],
        tables=seen.tables,
        objects=len(seen.objects),
        lost=len(lost),
        files=len(files),
        size=sum(file.size for file in files),
        new_files=len(new),
        new_size=sum(new.values()),
    )


def _free_id(repository: Repository) -> str:
    """Return the name of a backup taken now: two are never taken in the same second."""
    taken = set(repository.ids())
    while (name := f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}") in taken:
        time.sleep(0.1)
    return name


def _wanted_of_tables(lake: Lake, then: Moment) -> Iterator[_Wanted]:
    store = open_store(lake.url, lake.options)
    for table in TABLES:
        if state := then.tables.get(table.name):
            folder = table.name.replace(".", "/")
            files = needed_files(lake.at(table), store, folder, state.version, then.readers(table))
            yield from (_Wanted(f"lake/{folder}/{name}") for name in files)


def _wanted_of_bronze(bronze: Store) -> Iterator[_Wanted]:
    """Yield what lies in Bronze now: all that the ledger knew, and what landed since."""
    for prefix in _WRITTEN_ONCE:
        yield from (_Wanted(f"bronze/{key}", may_be_gone=True) for key in bronze.list(prefix))
    yield from (_Wanted(f"bronze/{key}", mark, may_be_gone=True) for key, mark in bronze.marks(_MUTABLE))


def _reusable(
    repository: Repository, former: Manifest | None, tables: Mapping[str, TableState], held: Mapping[str, int]
) -> dict[tuple[str, str], File]:
    """Return the files of the backup before that are the same now and lie in the target whole, by path and mark."""
    if former is None:
        return {}
    # A table made anew begins its log again under the same names
    other = tuple(
        f"lake/{name.replace('.', '/')}/"
        for name, state in former.tables.items()
        if name not in tables or tables[name].table_id != state.table_id
    )
    return {
        (file.path, file.mark): file
        for file in repository.listing(former)
        if held.get(file.sha256) == file.size and not (other and file.path.startswith(other))
    }


def _copied(
    source: Source,
    repository: Repository,
    wanted: list[_Wanted],
    reused: Mapping[tuple[str, str], File],
    held: Mapping[str, int],
) -> list[File]:
    lake = open_store(source.lake.url, source.lake.options)

    def copy(each: _Wanted) -> File | None:
        if file := reused.get((each.path, each.mark)):
            return file
        place, _, key = each.path.partition("/")
        read: Callable[..., None] = partial((source.bronze if place == "bronze" else lake).read_into, key)
        try:
            return repository.add(each.path, read, held, each.mark)
        except FileNotFoundError:
            if each.may_be_gone:
                return None
            raise

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        try:
            return [file for file in pool.map(copy, wanted) if file]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
