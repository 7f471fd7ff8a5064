"""What a backup consists of: written last, sealed by its hash, so that half a backup is never taken for one."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lakehouse.market.errors import LakehouseError

FORMAT = 1


class BackupDamaged(LakehouseError):
    """Something of a backup is not what was written: it is not restored."""


@dataclass(frozen=True)
class File:
    """
    A file of a backup.

    Attributes:
        path: Where it belongs: ``bronze/KEY`` or ``lake/silver/candles/...``.
        sha256: Of its content, by which it is named in the target.
        size: Bytes.
        mark: What changes with the content of what may change under its name (uploads); empty otherwise.
    """

    path: str
    sha256: str
    size: int
    mark: str = ""


@dataclass(frozen=True)
class TableState:
    """A Delta table: its id, and the version that the backup holds of it."""

    table_id: str
    version: int


@dataclass(frozen=True)
class Manifest:
    """
    A backup.

    Attributes:
        backup_id: When it was taken, UTC: ``20260302T101500Z``; it names the backup.
        program: Version of the program that made it.
        stamp: Of which source the data are.
        migrations: Those that made the schema, with their checksums.
        roles: Roles of PostgreSQL that may be named in grants.
        server: Version of PostgreSQL, as 180006.
        dump: PostgreSQL's part; the facts of Gold are not in it, as they are in the lake.
        listing: The list of all other files.
        tables: The Delta tables, by name.
        objects: Objects that Bronze's ledger knew, and *lost*: those of them that Bronze did not hold.
        files, size: All files of the backup, and their bytes.
        new_files, new_size: Those of them that no earlier backup had brought.
    """

    backup_id: str
    program: str
    stamp: dict[str, Any]
    migrations: dict[str, str]
    roles: list[str]
    server: int
    dump: File
    listing: File
    tables: dict[str, TableState]
    objects: int
    lost: int
    files: int
    size: int
    new_files: int
    new_size: int


def encode(manifest: Manifest) -> bytes:
    """Return *manifest* as one line of JSON and its SHA-256 on a second."""
    line = json.dumps({"format": FORMAT, **asdict(manifest)}, ensure_ascii=False).encode()
    return line + b"\n" + hashlib.sha256(line).hexdigest().encode() + b"\n"


def decode(body: bytes, name: str) -> Manifest:
    """
    Return the manifest of *body*.

    Raises:
        BackupDamaged: if it is cut off, was changed, or is of a format that this version does not know.
    """
    line, _, seal = body.partition(b"\n")
    if seal.strip() != hashlib.sha256(line).hexdigest().encode():
        raise BackupDamaged(f"the manifest {name} is cut off or was changed, so there is no backup of that name")
    fields: Mapping[str, Any] = json.loads(line)
    if fields["format"] != FORMAT:
        raise BackupDamaged(f"{name} has format {fields['format']}, this version reads {FORMAT}: use the newer version")
    try:
        return TypeAdapter(Manifest).validate_python({key: fields[key] for key in fields if key != "format"})
    except ValidationError as error:
        raise BackupDamaged(f"the manifest {name} lacks what it must have: {error.errors()[0]}") from error


def encode_files(files: Sequence[File]) -> bytes:
    """Return a list of files: gzip (mtime 0) of JSON lines, equal for equal lists."""
    lines = (json.dumps([file.path, file.sha256, file.size, file.mark], ensure_ascii=False) for file in files)
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), 6, mtime=0)


def decode_files(body: bytes) -> list[File]:
    """Return the files of a list; raise BackupDamaged if it is none, or names what belongs to no place of ours."""
    try:
        files = [File(*json.loads(line)) for line in gzip.decompress(body).splitlines()]
    except (OSError, EOFError, ValueError, TypeError, zlib.error) as error:
        raise BackupDamaged(f"a backup's list of files cannot be read ({error})") from error
    for file in files:
        place, *parts = str(file.path).split("/")
        if place not in ("bronze", "lake") or not parts or {"", ".", ".."} & set(parts):
            raise BackupDamaged(f"a backup's list of files names {file.path!r}, which is no place of a backup")
    return files
