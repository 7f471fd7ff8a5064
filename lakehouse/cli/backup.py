"""``lakehouse backup`` and ``lakehouse restore``."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from lakehouse.access import audit
from lakehouse.backup.manifest import BackupDamaged, Manifest
from lakehouse.backup.postgres import refuse_filled, server_version
from lakehouse.backup.repository import Repository
from lakehouse.backup.restore import Destination, Restored, refuse_filled_stores, refuse_newer, restore
from lakehouse.backup.take import Source, take
from lakehouse.cli.options import data_option, ending_on_sigterm, operator
from lakehouse.database.connection import connect
from lakehouse.database.locks import files_lock
from lakehouse.database.migrate import read_migrations
from lakehouse.market.errors import BadInput, LakehouseError
from lakehouse.settings import Settings, load_settings
from lakehouse.silver.lake import Lake
from lakehouse.storage import stamp
from lakehouse.storage.space import DiskFull, human_size, is_full
from lakehouse.storage.store import Store, open_store
from lakehouse.up import with_settings
from lakehouse.up.folder import sole_use
from lakehouse.up.offline import database_of, embedded
from lakehouse.up.plan import read_stamp, stamp_file


@click.command()
@click.argument("target")
@data_option
@click.option("--keep", type=click.IntRange(1, 10_000), help="Then remove all but the newest N backups.")
@click.option("--list", "act", flag_value="list", help="Only list the backups in TARGET.")
@click.option("--check", "act", flag_value="check", help="Only read all that is in TARGET, and compare the hashes.")
def backup(target: str, data: Path | None, keep: int | None, act: str | None) -> None:
    """
    Back up PostgreSQL, Bronze and the tables, at one moment, into TARGET: a folder or s3://bucket/prefix.

    The platform may run. A second backup into TARGET copies only what is new. Dumps hold hashes of passwords and
    tokens: the files are readable by their owner alone.
    """
    if act and keep:
        raise click.UsageError("--keep belongs to a backup, not to --list or --check")
    settings = with_settings(load_settings(), data_dir=data)
    repository = _repository(target, settings)
    if act == "list":
        _print(repository)
    elif act == "check":
        _check(repository)
    else:
        os.umask(0o077)
        with ending_on_sigterm():
            _back_up(repository, settings, keep)


@click.command("restore")
@click.argument("source")
@click.option("--data", required=True, type=click.Path(file_okay=False, path_type=Path), help="An empty data folder.")
@click.option("--id", "backup_id", help="Which backup (default: the newest; `lakehouse backup --list SOURCE`).")
def restore_(source: str, data: Path, backup_id: str | None) -> None:
    """
    Restore a backup in SOURCE (a folder or s3://bucket/prefix) into an empty data folder.

    With LAKEHOUSE_DATABASE_URL, PostgreSQL's part goes into that empty database; with LAKEHOUSE_BRONZE_URL and
    LAKEHOUSE_LAKE_URL, objects and tables go there. Users keep their passwords, sessions end.
    """
    settings = with_settings(load_settings(), data_dir=data)
    began, repository = time.monotonic(), _repository(source, settings)
    manifest = repository.manifest(backup_id) if backup_id else repository.newest()
    if manifest is None:
        raise BadInput(f"there is no whole backup in {source}")
    refuse_newer(manifest)
    _refuse_filled(settings, manifest)
    with ending_on_sigterm(), _naming_full_disk("the restore is cut short", data, "empty it, and restore again"):
        found = _restored(repository, manifest, settings)
    click.echo(
        f"restored {manifest.backup_id} in {time.monotonic() - began:.1f} s: {found.objects:,} objects, "
        f"{found.candles:,} candles, {found.users} users; sessions have ended"
    )
    if found.migrated:
        click.echo(f"the database was brought up to date: {', '.join(found.migrated)}")


def _back_up(repository: Repository, settings: Settings, keep: int | None) -> None:
    began, target = time.monotonic(), repository.store
    again = "the same command: what is there is used"
    with database_of(settings) as dsn, _naming_full_disk("the backup is cut short", target.folder, again):
        bronze, lake = _places(settings)
        made = take(Source(dsn, bronze, lake, _stamp(settings)), repository)
        click.echo(
            f"{made.backup_id}: {made.files:,} files, {human_size(made.size)}, of which new {made.new_files:,}, "
            f"{human_size(made.new_size)}; {time.monotonic() - began:.1f} s"
        )
        if made.lost:
            click.echo(
                f"{made.lost:,} objects that the ledger knows are not in Bronze: see `bronze.objects_lost` in "
                "docs/operations.md",
                err=True,
            )
        detail: dict[str, Any] = {"backup": made.backup_id, "new_bytes": made.new_size}
        if keep:
            with files_lock(dsn):  # another backup, which waited for this one, has files that no manifest names yet
                gone, files, size = repository.keep(keep)
            click.echo(f"removed {len(gone)} backups, and {files:,} files that no other needs, {human_size(size)}")
            detail["removed"] = gone
        if len(made.migrations) == len(read_migrations()):  # before an upgrade the record is an older version's
            with connect(dsn) as conn:
                audit.record(conn, operator(), "backup", target.url, detail, "done", "")


def _restored(repository: Repository, manifest: Manifest, settings: Settings) -> Restored:
    data, (bronze, lake) = settings.data_dir, _places(settings)
    (data / "logs").mkdir(parents=True, exist_ok=True)
    named = [open_store(url, settings.s3_options) for url in (settings.bronze_url, settings.lake_url) if url]
    destination = Destination(bronze, lake, [open_store(str(data.absolute())), *named])

    @contextlib.contextmanager
    def database() -> Iterator[str]:
        if settings.database_url is not None:
            yield settings.database_url.get_secret_value()
        else:
            with embedded(data) as dsn:
                yield dsn

    with sole_use(data):
        return restore(repository, manifest, destination, database, operator())


def _refuse_filled(settings: Settings, manifest: Manifest) -> None:
    """Raise BadInput unless all that a restore fills is empty."""
    data = settings.data_dir
    if data.exists() and (found := next(data.iterdir(), None)):
        raise BadInput(f"{data} is not empty, it holds {found.name} for one: restore into an empty folder")
    bronze, lake = _places(settings)
    refuse_filled_stores(Destination(bronze, lake, ()), manifest.stamp)
    if settings.database_url is not None:
        with connect(settings.database_url.get_secret_value()) as conn:
            server_version(conn)
            refuse_filled(conn)


def _repository(place: str, settings: Settings) -> Repository:
    if "://" not in place:
        return Repository(open_store(str(Path(place).absolute())))
    if not place.startswith("s3://"):
        raise BadInput(f"{place} is neither a folder nor s3://bucket/prefix")
    return Repository(open_store(place, settings.s3_options))


def _places(settings: Settings) -> tuple[Store, Lake]:
    options = settings.s3_options
    return open_store(settings.bronze_location, options), Lake(settings.lake_location, options)


def _stamp(settings: Settings) -> dict[str, Any]:
    """Return of which source the data are: by the folder's stamp, else by Bronze's, else by the settings."""
    if stamp_file(settings.data_dir).exists():
        return read_stamp(settings.data_dir)
    bronze = open_store(settings.bronze_location, settings.s3_options)
    return stamp.read(bronze) if bronze.exists(stamp.KEY) else {"source": settings.source}


def _print(repository: Repository) -> None:
    for backup_id in repository.ids():
        try:
            made = repository.manifest(backup_id)
        except BackupDamaged as error:
            click.echo(f"{backup_id}  {error}")
            continue
        click.echo(
            f"{backup_id}  {made.files:,} files, {human_size(made.size)}, of which new {human_size(made.new_size)}; "
            f"{made.objects:,} objects of {stamp.named(made.stamp)}; by version {made.program}"
        )


def _check(repository: Repository) -> None:
    ids, faults = repository.ids(), 0
    for fault in repository.faults():
        faults += 1
        click.echo(fault)
    if faults:
        raise LakehouseError(
            f"{faults} faults in {repository.store.url}: remove the files named, then back up again: what the "
            "platform still holds is copied anew"
        )
    click.echo(f"{len(ids)} backups are whole" if ids else f"there is no backup in {repository.store.url}")


@contextlib.contextmanager
def _naming_full_disk(what: str, folder: Path | None, again: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        # What is on its way waits in a temporary file
        where = folder if isinstance(error, DiskFull) and folder else Path(tempfile.gettempdir())
        raise DiskFull.of(what, where, again) from error
