"""
Where backups lie: a folder or S3.

``files/ab/abcd...`` are contents, each named by its SHA-256 and written once, whichever backups hold it;
``backups/ID.json`` are the manifests, written last. What no manifest names is no part of any backup.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, cast

from lakehouse.backup.manifest import BackupDamaged, File, Manifest, decode, decode_files, encode, encode_files
from lakehouse.market.errors import BadInput
from lakehouse.storage.store import Store

# Enough to keep an object store busy; a folder's disk is busy before
AT_A_TIME = 8
_MANIFESTS, _FILES = "backups", "files"
_IN_MEMORY = 32 << 20


@dataclass(frozen=True)
class Fault:
    """Something wrong in a target: a file, what is wrong with it, and the backups that need it."""

    path: str
    reason: str
    backups: Sequence[str]

    def __str__(self) -> str:
        return f"{self.path} {self.reason}; needed by {', '.join(self.backups)}"


@dataclass(frozen=True)
class Repository:
    """The backups in *store*."""

    store: Store

    def ids(self) -> list[str]:
        """Return the names of the backups, oldest first, damaged ones among them."""
        names = (key.rpartition("/")[2] for key in self.store.list(f"{_MANIFESTS}/"))
        return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))

    def manifest(self, backup_id: str) -> Manifest:
        """
        Return the manifest of a backup.

        Raises:
            BadInput: if there is none of that name.
            BackupDamaged: if it is not whole.
        """
        try:
            body = self.store.get(_manifest_key(backup_id))
        except FileNotFoundError:
            raise BadInput(
                f"there is no backup {backup_id} in {self.store.url}; there are: {', '.join(self.ids()) or 'none'}"
            ) from None
        return decode(body, _manifest_key(backup_id))

    def newest(self) -> Manifest | None:
        """Return the newest backup that is whole; None without one."""
        for backup_id in reversed(self.ids()):
            try:
                return self.manifest(backup_id)
            except BackupDamaged:
                continue
        return None

    def listing(self, manifest: Manifest) -> list[File]:
        """Return the files of a backup, PostgreSQL's dump and the list itself not among them."""
        with self.opened(manifest.listing) as file:
            return decode_files(file.read())

    def held(self) -> dict[str, int]:
        """Return the bytes of each content that is there, by its SHA-256."""
        return {key.rpartition("/")[2]: size for key, size in self.store.sizes(f"{_FILES}/").items()}

    def add(self, path: str, fill: Callable[[IO[bytes]], object], held: Iterable[str] = (), mark: str = "") -> File:
        """Write what *fill* writes, unless such a content is among *held*; return what it is."""
        with _spool() as spool:
            fill(spool)
            size, digest = spool.seek(0, os.SEEK_END), _sha256(spool)
            if digest not in held:
                self.store.put_file(_file_key(digest), spool)
        return File(path, digest, size, mark)

    def add_manifest(self, manifest: Manifest) -> None:
        """Write the manifest, which makes the backup one; raise BadInput if there is one of its name."""
        if not self.store.put(_manifest_key(manifest.backup_id), encode(manifest)):
            raise BadInput(f"{self.store.url} has a backup {manifest.backup_id}: another platform uses it as well?")

    def add_listing(self, files: Sequence[File]) -> File:
        """Write a list of files."""
        body = encode_files(files)
        return self.add("files.jsonl.gz", lambda spool: spool.write(body))

    @contextmanager
    def opened(self, file: File) -> Iterator[IO[bytes]]:
        """
        Give the content of *file*, from its start.

        Raises:
            BackupDamaged: if it is missing, or is not what was written.
        """
        with _spool() as spool:
            try:
                self.store.read_into(_file_key(file.sha256), spool)
            except FileNotFoundError:
                raise BackupDamaged(self._told(file, "is missing")) from None
            if _sha256(spool) != file.sha256:
                raise BackupDamaged(self._told(file, "is damaged: its hash is another"))
            spool.seek(0)
            yield spool

    def faults(self) -> Iterator[Fault]:
        """Read all that the backups name, and yield what is missing or damaged."""
        needed: dict[str, tuple[File, list[str]]] = {}
        for backup_id in self.ids():
            try:
                manifest = self.manifest(backup_id)
                files = [manifest.dump, manifest.listing, *self.listing(manifest)]
            except BackupDamaged as error:
                yield Fault(_manifest_key(backup_id), f"makes no backup: {error}", [backup_id])
                continue
            for file in files:
                needed.setdefault(file.sha256, (file, []))[1].append(backup_id)
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            reasons = pool.map(self._fault_of, (file for file, _ in needed.values()))
            for (file, backups), reason in zip(needed.values(), reasons, strict=True):
                if reason:
                    yield Fault(f"{_file_key(file.sha256)} ({file.path})", reason, sorted(set(backups)))

    def keep(self, count: int) -> tuple[list[str], int, int]:
        """
        Remove all but the newest *count* backups, and what none of those needs: also what a backup cut short left.

        Manifests go first: whatever ends this half-way, what is left is whole. Nobody may back up meanwhile.

        Returns:
            The backups removed; the files removed, and their bytes.

        Raises:
            BackupDamaged: if a manifest cannot be read; nothing is removed then.
        """
        manifests = [self.manifest(backup_id) for backup_id in self.ids()]
        gone = [manifest.backup_id for manifest in manifests[:-count]]
        needed = {
            file.sha256
            for manifest in manifests[-count:]
            for file in (manifest.dump, manifest.listing, *self.listing(manifest))
        }
        self.store.delete([_manifest_key(backup_id) for backup_id in gone])
        held = self.held()
        unneeded = sorted(set(held) - needed)
        self.store.delete([_file_key(digest) for digest in unneeded])
        self.store.clear_unfinished()
        return gone, len(unneeded), sum(held[digest] for digest in unneeded)

    def _fault_of(self, file: File) -> str:
        try:
            with self.opened(file):
                return ""
        except BackupDamaged as error:
            return "is missing" if "is missing" in str(error) else "is damaged"

    def _told(self, file: File, reason: str) -> str:
        return (
            f"{_file_key(file.sha256)} in {self.store.url} ({file.path}) {reason}; nothing was taken from it: "
            f"see `lakehouse backup --check {self.store.url}`, and choose another backup with --id"
        )


def _manifest_key(backup_id: str) -> str:
    return f"{_MANIFESTS}/{backup_id}.json"


def _file_key(digest: str) -> str:
    return f"{_FILES}/{digest[:2]}/{digest}"


def _sha256(file: IO[bytes]) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def _spool() -> IO[bytes]:
    """Return a file that goes to the disk (TMPDIR) only when it is large; nobody else can open it."""
    return cast(IO[bytes], SpooledTemporaryFile(_IN_MEMORY))
