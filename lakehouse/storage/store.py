"""One contract over a folder and S3: objects appear whole, under new names, and are never changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, S3Store

from lakehouse.market.errors import LakehouseError
from lakehouse.storage.folder import UNFINISHED, Found, walk
from lakehouse.storage.space import DiskFull, is_full


class ObjectTooLarge(LakehouseError):
    """A file in the store that no object of ours can be."""


@dataclass(frozen=True)
class Store:
    """
    An object store at *url*: a folder (path or ``file://``), or ``s3://bucket/prefix``.

    *options* are obstore's S3 options (endpoint, access_key_id, ...). Pickles by address, so a worker elsewhere opens
    it anew.
    """

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def _store(self) -> LocalStore | S3Store:
        if self.folder is not None:
            return LocalStore(self.folder, mkdir=True)
        parts = urlparse(self.url)
        return S3Store(parts.netloc, prefix=parts.path.strip("/") or None, **self.options)

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "options": dict(self.options)}

    def put(self, key: str, body: bytes) -> bool:
        """
        Write *body* under *key* unless there is such an object; return whether it was written. Atomic.

        Raises:
            DiskFull: if a folder's disk is full; there is no such object then.
        """
        try:
            obstore.put(self._store, key, body, mode="create")
        except AlreadyExistsError:
            return False
        except (OSError, BaseError) as error:
            if self.folder is not None and is_full(error):
                raise DiskFull.of(f"cannot write {key}", self.folder) from error
            raise
        return True

    @property
    def folder(self) -> Path | None:
        """The folder that it is; None for S3."""
        parts = urlparse(self.url)
        if parts.scheme == "s3":
            return None
        return Path(unquote(parts.path) if parts.scheme == "file" else self.url).absolute()

    def clear_unfinished(self) -> int:
        """Remove what puts left that were cut short, in a folder; return how many. Nobody may be putting meanwhile."""
        unfinished = [path for path in self.folder.rglob("*#*") if UNFINISHED.search(path.name)] if self.folder else []
        for path in unfinished:
            path.unlink(missing_ok=True)
        return len(unfinished)

    def get(self, key: str, most: int | None = None) -> bytes:
        """Return the body of *key*; raise FileNotFoundError without one, ObjectTooLarge above *most* bytes if given."""
        found = obstore.get(self._store, key)
        if most is not None and found.meta["size"] > most:
            raise ObjectTooLarge(f"{key} has {found.meta['size']:,} bytes, at most {most:,} are read")
        return bytes(found.bytes())

    def exists(self, key: str) -> bool:
        """Return whether there is an object *key*."""
        try:
            obstore.head(self._store, key)
        except FileNotFoundError:
            return False
        return True

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with *prefix* (whole segments), sorted; of a folder, those of plain files."""
        if self.folder is not None:
            yield from sorted(found.key for found in walk(self.folder, prefix.rstrip("/")) if not found.stranger)
            return
        chunks = obstore.list(self._store, prefix=prefix or None)
        yield from sorted(item["path"] for chunk in chunks for item in chunk)

    def strangers(self, prefix: str = "") -> Iterator[Found]:
        """Yield what lies under *prefix* in a folder and can be no object: links, pipes, names that are not UTF-8."""
        if self.folder is not None:
            yield from sorted(found for found in walk(self.folder, prefix.rstrip("/")) if found.stranger)


def open_store(url: str, options: Mapping[str, Any] | None = None) -> Store:
    """Return the store at *url*; a folder is made when it is first used."""
    return Store(url, dict(options or {}))
