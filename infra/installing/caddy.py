"""Caddy, the TLS proxy of docker-compose.yml, out of the system's package: for the test that runs the services."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from infra.installing.report import run, step
from lakehouse.cache import cache_dir

_REMEDY = "check that this machine reaches its Debian mirror, then run make test again"


def find_caddy() -> Path | None:
    """Return the path of a Caddy, None if there is none."""
    unpacked = cache_dir() / "caddy" / "usr" / "bin" / "caddy"
    found = str(unpacked) if unpacked.is_file() else shutil.which("caddy")
    return Path(found) if found else None


def install_caddy(wanted: bool) -> None:
    """Say whether there is a Caddy; unpack Debian's into the cache when it is *wanted* and missing: nothing starts."""
    found = find_caddy()
    if found:
        print(f"  Caddy: there ({found})")
    elif wanted and shutil.which("apt-get"):
        with step("unpacking Debian's Caddy into the cache"):
            _unpack(cache_dir() / "caddy")
    else:
        print(f"  Caddy: missing; only the tests of docker-compose.yml need it; {how_to_install()}")


def how_to_install() -> str:
    """Return what brings Caddy to this kind of machine."""
    return "install it so that caddy runs: brew install caddy, apt-get install caddy, or as your system has it"


def _unpack(folder: Path) -> None:
    if os.geteuid() == 0:
        run(["apt-get", "update"], _REMEDY)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)  # apt's own user writes there
        run(["apt-get", "download", "caddy"], _REMEDY, folder=Path(scratch))
        for package in Path(scratch).glob("caddy_*.deb"):
            run(["dpkg-deb", "--extract", package, folder], _REMEDY)
