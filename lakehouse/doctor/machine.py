"""The machine: Python, Java, jars, memory, disk, the port, and who may read secrets."""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from lakehouse.cache import cache_dir
from lakehouse.doctor.finding import Finding, Site, failed, ok, skipped, warning
from lakehouse.engines.address import is_s3
from lakehouse.engines.jars import SparkNotInstalled, jar_paths, java_home, java_version
from lakehouse.ports import is_free
from lakehouse.storage.space import NEARLY_FULL, free_bytes, human_size
from lakehouse.up.folder import AMPLE_FREE

_OLDEST_PYTHON, _NEXT_PYTHON = (3, 11), (3, 14)
_SPARK_MEMORY = 2 << 30
_CHECKSUMS = Path(__file__).parents[2] / "infra" / "spark" / "jars.sha256"
_SECRETS = ("run.json", "postgres.password")


def python(site: Site) -> Iterator[Finding]:
    """Python is one that the locks are made for."""
    here = f"{platform.python_version()} ({sys.executable})"
    if _OLDEST_PYTHON <= sys.version_info[:2] < _NEXT_PYTHON:
        yield ok("python", here)
    else:
        yield failed("python", here, "install Python 3.11, 3.12 or 3.13, then: make setup PYTHON=python3.12")


def java(site: Site) -> Iterator[Finding]:
    """Spark has a Java."""
    try:
        home = java_home()
    except SparkNotInstalled as error:
        yield failed("java", str(error), "make setup")
    else:
        yield ok("java", f"{java_version(home)} ({home})")


def jars(site: Site) -> Iterator[Finding]:
    """The jars are there and are what their checksums say."""
    try:
        paths = jar_paths(with_s3=is_s3(site.settings.lake_location))
    except SparkNotInstalled as error:
        yield failed("jars", str(error), "make setup")
        return
    if not _CHECKSUMS.is_file():
        yield skipped("jars", f"{len(paths)} are there; their checksums are not part of this installation")
        return
    lines = _CHECKSUMS.read_text(encoding="ascii").splitlines()
    known = {name: digest for digest, name in (line.split() for line in lines if line)}
    folder = paths[0].parent
    missing = sorted(name for name in known if not (folder / name).is_file())
    wrong = sorted(
        name
        for name, digest in known.items()
        if name not in missing and hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest
    )
    if missing or wrong:
        named = f"missing: {', '.join(missing)}" if missing else f"not what its checksum says: {', '.join(wrong)}"
        yield failed("jars", f"{folder}: {named}", "make setup, which fetches them anew")
    else:
        yield ok("jars", f"{len(known)}, as their checksums say ({folder})")


def memory(site: Site) -> Iterator[Finding]:
    """Spark's heap finds room."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) << 10
    except (OSError, StopIteration):
        yield skipped("memory", "this system does not tell what is free")
        return
    if free < _SPARK_MEMORY:
        yield warning(
            "memory",
            f"{human_size(free)} are free, and Spark may take {human_size(_SPARK_MEMORY)}",
            "end other programs, or run Spark elsewhere: LAKEHOUSE_SPARK_MASTER=spark://...",
        )
    else:
        yield ok("memory", f"{human_size(free)} are free")


def disk(site: Site) -> Iterator[Finding]:
    """There is room for data and downloads."""
    for folder in dict.fromkeys((site.data, cache_dir())):
        free = free_bytes(folder)
        message = f"{folder} has {human_size(free)} free"
        if free < NEARLY_FULL:
            yield failed("disk", message, "make room there, or choose another folder with --data")
        elif free < AMPLE_FREE:
            yield warning("disk", message, "make room there before a large load")
        else:
            yield ok("disk", message)


def data_folder(site: Site) -> Iterator[Finding]:
    """The data folder can be written."""
    if not site.data.exists():
        yield skipped("data folder", f"{site.data} is not there yet: the first start makes it")
    elif os.access(site.data, os.R_OK | os.W_OK | os.X_OK):
        yield ok("data folder", str(site.data))
    else:
        yield failed("data folder", f"{site.data} cannot be written", f"chown it to {_user()}, or say --data")


def port(site: Site) -> Iterator[Finding]:
    """The port of the pages is free, or ours."""
    if site.dsn is not None:
        yield skipped("port", "the platform runs")
    elif site.settings.port == 0 or is_free(site.settings.port, site.settings.host):
        yield ok("port", f"{site.settings.port} is free")
    else:
        yield failed(
            "port",
            f"{site.settings.port} is taken by another program",
            "stop it, or choose another: lakehouse up --port 8001",
        )


def secrets(site: Site) -> Iterator[Finding]:
    """Files that hold secrets are for their owner alone."""
    found = [path for name in _SECRETS if (path := site.data / name).exists()]
    key = site.settings.tls_key
    found += [key] if key is not None and key.exists() else []
    open_ = [path for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077]
    for path in open_:
        yield failed("secrets", f"{path} can be read by others", f"chmod 600 {path}")
    if not open_:
        yield ok("secrets", f"{len(found)} files, readable by their owner alone")


def _user() -> str:
    return f"user {os.geteuid()}"
