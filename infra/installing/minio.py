"""MinIO, built from source: it is served as a Go module only."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from infra.installing.report import SetupFailed, run, step
from lakehouse.cache import cache_dir
from lakehouse.storage.minio import MINIO_VERSION, minio_program

MODULE = "github.com/minio/minio"
# Of the module's zip, as Go writes it; the go.sum inside holds those of all that it is built from
CHECKSUM = "h1:/qdoYujxF5MBLDMVLeiYJ/7fBa1HikX39Dvzb9Ji8pA="
OLDEST_GO = (1, 21)  # later ones bring the Go that a module asks for
ONLINE = "check that this machine reaches its Go module proxy, then run make test again"


def install_minio(wanted: bool) -> None:
    """Say whether MinIO is there; build it into the cache when it is *wanted*, missing, and this machine has Go."""
    program = minio_program()
    if program.is_file():
        print(f"  MinIO: there ({program})")
        return
    go = find_go()
    if not wanted or go is None:
        print(f"  MinIO: missing; only the tests of object stores need it; {how_to_install()}")
        return
    program.parent.mkdir(parents=True, exist_ok=True)
    with step(f"building MinIO from source into {program.parent} (7 minutes on two cores)"):
        with tempfile.TemporaryDirectory(dir=program.parent) as scratch:
            built = Path(scratch) / "minio"
            build(go, download(go), built)
            built.rename(program)
        shutil.rmtree(go_cache(), ignore_errors=True)  # 3 GB that nothing else needs


def download(go: str) -> Path:
    """
    Return the folder of MinIO's source.

    Raises:
        SetupFailed: if it cannot be had, or is not the one that was chosen.
    """
    asked = subprocess.run(
        [go, "mod", "download", "-modcacherw", "-json", f"{MODULE}@{MINIO_VERSION}"],
        env={**os.environ, **go_settings()},
        cwd=tempfile.gettempdir(),
        capture_output=True,
        text=True,
    )
    try:
        received = json.loads(asked.stdout)
    except ValueError:
        received = {}
    if asked.returncode != 0 or "Dir" not in received:
        why = received.get("Error") or asked.stderr.strip() or "it said nothing"
        raise SetupFailed(f"go mod download of MinIO failed: {why}; {ONLINE}")
    if received["Sum"] != CHECKSUM:
        raise SetupFailed(
            f"MinIO's source {MINIO_VERSION} received from the Go module proxy has checksum {received['Sum']}, "
            f"expected {CHECKSUM}; nothing was built; use a proxy that serves the original, then run make test again"
        )
    return Path(received["Dir"])


def build(go: str, source: Path, program: Path) -> None:
    """Build *program* in *source*, with what its go.sum holds: `go install` of a version would not look there."""
    options = ["-mod=readonly", "-modcacherw", "-trimpath", "-ldflags=-s -w"]
    run([go, "build", *options, "-o", program, "."], ONLINE, go_settings(), source)


def go_settings() -> dict[str, str]:
    """Return the environment for Go where it says nothing itself: all it keeps is in our cache, and no C compiler."""
    cache = go_cache()
    ours = {"GOMODCACHE": str(cache / "modules"), "GOCACHE": str(cache / "build")}
    return {**ours, "GOWORK": "off", "CGO_ENABLED": "0"}


def go_cache() -> Path:
    """Return where a build that was cut short is kept, and goes on the next time."""
    return cache_dir() / "go"


def find_go() -> str | None:
    """Return a Go that can build MinIO, None if this machine has none."""
    go = shutil.which("go")
    if go is None:
        return None
    said = subprocess.run([go, "version"], capture_output=True, text=True, cwd=tempfile.gettempdir()).stdout
    version = re.search(r"go(\d+)\.(\d+)", said)
    return go if version and tuple(map(int, version.groups())) >= OLDEST_GO else None


def how_to_install() -> str:
    """Return what brings MinIO to this machine."""
    make = "run: python3 infra/setup.py --with-stores"
    oldest = ".".join(map(str, OLDEST_GO))
    return make if find_go() else f"install Go {oldest} or later so that go runs, then {make}"
