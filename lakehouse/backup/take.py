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

from lakehouse.backup.manifest import File, Manifest
from lakehouse.backup.moment import TABLES, Moment, moment
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


def take(source: Source, repository: Repository, patience_s: float | None = None) -> Manifest:
    """
    Take a backup; return it.

    Nothing counts before the manifest is written, last: a backup that is cut short leaves files that the next one
    finds and uses.

    Raises:
        BadInput: if the target holds backups of another source.
        MigrationError: if the database is of a newer version of this program.
        NotNow: if a table is being written all the while.
    """
    former = repository.newest()
    if former and former.stamp != source.stamp:
        raise BadInput(
            f"{repository.store.url} holds backups of {named(former.stamp)}, and this is {named(source.stamp)}: "
            "choose another target"
        )
    with files_lock(source.dsn):
        backup_id = _free_id(repository)
        held = repository.held()
        options = {} if patience_s is None else {"patience_s": patience_s}
        with moment(source.dsn, source.lake, **options) as then:
            migrations, server = then.migrations(), server_version(then.conn)
            if newer := unknown(migrations):
                raise MigrationError(
                    "the database is of a newer version, whose migrations this one does not know "
                    f"({', '.join(newer)}): back up with that"
                )
            dumped = repository.add("postgres.dump", lambda spool: dump(source.dsn, then.snapshot, spool), held)
            objects, wanted = then.objects(), list(_wanted_of_tables(source.lake, then))
            told = {"migrations": migrations, "roles": then.roles(), "tables": then.tables}
        wanted += _wanted_of_bronze(source.bronze)
        reused = _reusable(repository, former, then, held)
        files = _copied(source, repository, wanted, reused, held)
        there = {file.path.removeprefix("bronze/") for file in files}
        lost = sorted(objects - there)
        if lost:
            log.error("backup.objects_lost", count=len(lost), first=lost[0])
        listing = repository.add_listing(files)
        everything = [dumped, listing, *files]
        new = {file.sha256: file.size for file in everything if file.sha256 not in held}
        if repository.store.folder is not None:
            os.sync()  # all of it is on the disk before anything names it
        manifest = Manifest(
            backup_id=backup_id,
            program=version("moex-lakehouse"),
            stamp=dict(source.stamp),
            server=server,
            dump=dumped,
            listing=listing,
            objects=len(objects),
            files=len(everything),
            size=sum(file.size for file in everything),
            new_files=len(new),
            new_size=sum(new.values()),
            lost=lost,
            **told,  # type: ignore[arg-type]
        )
        repository.add_manifest(manifest)
    log.info("backup.taken", id=backup_id, files=manifest.files, new_bytes=manifest.new_size)
    return manifest


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
    repository: Repository, former: Manifest | None, then: Moment, held: Mapping[str, int]
) -> dict[tuple[str, str], File]:
    """Return the files of the backup before that are the same now and lie in the target whole, by path and mark."""
    if former is None:
        return {}
    # A table made anew begins its log again under the same names
    other = tuple(
        f"lake/{name.replace('.', '/')}/"
        for name, state in former.tables.items()
        if name not in then.tables or then.tables[name].table_id != state.table_id
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
