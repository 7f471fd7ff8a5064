"""One contract over a folder and S3: objects appear whole, under new names, and are never changed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlparse

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, S3Store

from lakehouse.market.errors import LakehouseError
from lakehouse.storage.folder import UNFINISHED, Found, walk
from lakehouse.storage.s3 import PATIENCE_S, may_be_done, open_bucket, persist
from lakehouse.storage.space import DiskFull, is_full

if TYPE_CHECKING:
    from obstore import ObjectMeta

T = TypeVar("T")

_PIECE = 8 << 20
_AT_A_TIME = 1_000  # objects that S3 takes away by one request


class ObjectTooLarge(LakehouseError):
    """A file in the store that no object of ours can be."""


@dataclass(frozen=True)
class Store:
    """
    An object store at *url*: a folder (path or ``file://``), or ``s3://bucket/prefix``.

    *options* say how S3 is reached (`storage.s3.open_bucket`), and *patience_s* how long one that is away is waited
    for. Pickles by address, so a worker elsewhere opens it anew.

    Every act on S3 raises StoreRefused at once if there is no such bucket or the credentials are not taken, and
    StoreUnavailable when patience ends.
    """

    url: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)  # holds a secret
    patience_s: float = PATIENCE_S

    @cached_property
    def _store(self) -> LocalStore | S3Store:
        return open_bucket(self.url, self.options) if self.folder is None else LocalStore(self.folder, mkdir=True)

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "options": dict(self.options), "patience_s": self.patience_s}

    def put(self, key: str, body: bytes) -> bool:
        """
        Write *body* under *key* unless there is such an object; return whether it was written. Atomic.

        When S3 did not say what became of a try, an equal object counts as written: that try may have been it.

        Raises:
            DiskFull: if a folder's disk is full; there is no such object then.
        """
        may_be_ours = False

        def write() -> None:
            nonlocal may_be_ours
            try:
                obstore.put(self._store, key, body, mode="create")
            except BaseError as error:
                may_be_ours = may_be_ours or may_be_done(error)
                raise

        try:
            self._persist(write, f"write {key} to")
        except AlreadyExistsError:
            return may_be_ours and self.get(key) == body
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

        def read() -> bytes:
            found = obstore.get(self._store, key)
            if most is not None and found.meta["size"] > most:
                raise ObjectTooLarge(f"{key} has {found.meta['size']:,} bytes, at most {most:,} are read")
            return bytes(found.bytes())

        try:
            return self._persist(read, f"read {key} of")
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{self.url} has no object {key}") from error

    def read_into(self, key: str, file: IO[bytes]) -> None:
        """Write the body of *key* over *file*, piece by piece; raise FileNotFoundError without one."""

        def read() -> None:
            file.seek(0)
            file.truncate()
            for piece in obstore.get(self._store, key).stream(_PIECE):
                file.write(piece)

        try:
            self._persist(read, f"read {key} of")
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{self.url} has no object {key}") from error

    def put_file(self, key: str, file: IO[bytes]) -> None:
        """
        Write all of *file* under *key*, whatever was there: whole or not at all. For objects of any size.

        Raises:
            DiskFull: if a folder's disk is full; what was there is as it was.
        """

        def write() -> None:
            file.seek(0)
            obstore.put(self._store, key, file, mode="overwrite")

        try:
            self._persist(write, f"write {key} to")
        except (OSError, BaseError) as error:
            if self.folder is not None and is_full(error):
                raise DiskFull.of(f"cannot write {key}", self.folder) from error
            raise

    def delete(self, keys: Sequence[str]) -> None:
        """Remove the objects of *keys*; one that is not there is none."""
        for first in range(0, len(keys), _AT_A_TIME):
            part = keys[first : first + _AT_A_TIME]
            with contextlib.suppress(FileNotFoundError):
                self._persist(partial(obstore.delete, self._store, part), "remove objects of")

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the bytes of each object whose key begins with *prefix* (whole segments)."""
        return {item["path"]: item["size"] for item in self._persist(lambda: self._items(prefix), f"list {prefix} of")}

    def mark(self, key: str) -> str:
        """Return what marks the content of *key*, which changes with it (ETag); raise FileNotFoundError without one."""
        return str(self._persist(lambda: obstore.head(self._store, key), f"look for {key} in")["e_tag"])

    def marks(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield the keys that `list` yields, each with its `mark`."""
        if self.folder is not None:
            for key in self.list(prefix):
                yield key, self.mark(key)
            return
        for item in self._persist(lambda: self._items(prefix), f"list {prefix} of"):
            yield item["path"], str(item["e_tag"])

    def exists(self, key: str) -> bool:
        """Return whether there is an object *key*."""
        try:
            self._persist(lambda: self._look(key), f"look for {key} in")
        except FileNotFoundError:
            return False
        return True

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with *prefix* (whole segments), sorted; of a folder, those of plain files."""
        if self.folder is not None:
            yield from sorted(found.key for found in walk(self.folder, prefix.rstrip("/")) if not found.stranger)
            return
        yield from sorted(self._persist(lambda: self._keys(prefix), f"list {prefix or 'all'} of"))

    def strangers(self, prefix: str = "") -> Iterator[Found]:
        """Yield what lies under *prefix* in a folder and can be no object: links, pipes, names that are not UTF-8."""
        if self.folder is not None:
            yield from sorted(found for found in walk(self.folder, prefix.rstrip("/")) if found.stranger)

    def size(self, key: str) -> int | None:
        """Return the bytes of *key*, None without such an object."""
        try:
            return self._persist(lambda: obstore.head(self._store, key), f"look for {key} in")["size"]
        except FileNotFoundError:
            return None

    def _persist(self, act: Callable[[], T], what: str) -> T:
        if self.folder is not None:
            return act()
        return persist(act, what, f"{self.url} at {self.options.get('endpoint') or 'AWS'}", self.patience_s)

    def _look(self, key: str) -> None:
        try:
            obstore.head(self._store, key)
        except FileNotFoundError:
            if self.folder is None:
                # The answer to HEAD has no body, so it does not tell a missing object from a missing bucket
                obstore.get(self._store, key)
            raise

    def _keys(self, prefix: str) -> Sequence[str]:
        return [item["path"] for item in self._items(prefix)]

    def _items(self, prefix: str) -> Sequence[ObjectMeta]:
        return [item for chunk in obstore.list(self._store, prefix=prefix or None) for item in chunk]


def open_store(url: str, options: Mapping[str, str] | None = None, patience_s: float = PATIENCE_S) -> Store:
    """Return the store at *url*; a folder is made when it is first used."""
    return Store(url, dict(options or {}), patience_s)
