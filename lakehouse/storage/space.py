"""Room on a disk, and what is said when there is none."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lakehouse.market.errors import LakehouseError

# Below it nothing is started any more
NEARLY_FULL = 256 << 20
# obstore, the JVM and PostgreSQL tell it in words: those of strerror, or a hint
_FULL = ("No space left on device", "Disk quota exceeded", "Check free disk space")


class DiskFull(LakehouseError):
    """Something could not be written because its disk is full; nothing half-written counts."""

    @classmethod
    def of(cls, what: str, folder: Path, again: str = "lakehouse jobs retry --failed") -> DiskFull:
        """Return the error for *what* (a failed act, in words): the folder, what is free there, and what to do then."""
        return cls(
            f"{what}: no space left in {folder} ({human_size(free_bytes(folder))} free); make room there, "
            f"then what failed is done again by: {again}"
        )


@contextmanager
def naming_full_disk(what: str, folder: Path) -> Iterator[None]:
    """Raise DiskFull, which names the folder, for whatever a full disk makes fail in the block."""
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        if is_full(error):
            raise DiskFull.of(what, folder) from error
        raise


def free_bytes(folder: Path) -> int:
    """Return how much an ordinary user may still write where *folder* lies, or will."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def human_size(count: int) -> str:
    """Return a number of bytes as a person writes it."""
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 100 * size else f"{count // size} {unit}"
    return f"{count >> 10} kB"


def is_full(error: BaseException | None) -> bool:
    """Return whether *error*, or one that caused it, says that a disk is full."""
    while error is not None:
        if isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
            return True
        if any(said in str(error) for said in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False
