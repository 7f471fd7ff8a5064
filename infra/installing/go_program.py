"""Programs that are served as Go modules only: built from source into the cache, once for each version."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from infra.installing.report import SetupFailed, run, step
from lakehouse.cache import cache_dir

OLDEST_GO = (1, 21)  # later ones bring the Go that a module asks for
ONLINE = "check that this machine reaches its Go module proxy, then run make test again"


@dataclass(frozen=True)
class GoProgram:
    """
    A program, and the module that it is built from.

    Attributes:
        name: As it is called in messages.
        checksum: Of the module's zip, as Go writes it; the go.sum inside holds those of all that it is built from.
        package: The folder of its main package in the module.
        file: Where it is put; its folder is named by the version.
        needed_by: Who misses it when it is not there.
    """

    name: str
    module: str
    version: str
    checksum: str
    package: str
    file: Path
    minutes: int
    needed_by: str

    def install(self, wanted: bool) -> None:
        """Say whether it is there; build it when it is *wanted*, missing, and this machine has Go."""
        if self.file.is_file():
            print(f"  {self.name}: there ({self.file})")
            return
        go = find_go()
        if not wanted or go is None:
            print(f"  {self.name}: missing; only {self.needed_by} need it; {how_to_install()}")
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with step(f"building {self.name} from source into {self.file.parent} ({self.minutes} minutes on two cores)"):
            with tempfile.TemporaryDirectory(dir=self.file.parent) as scratch:
                built = Path(scratch) / "built"
                self._build(go, self._download(go), built)
                built.rename(self.file)
            shutil.rmtree(go_cache(), ignore_errors=True)  # 3 GB that nothing else needs

    def _download(self, go: str) -> Path:
        """Return the folder of the source; raise SetupFailed if it cannot be had, or is not the one chosen."""
        asked = subprocess.run(
            [go, "mod", "download", "-modcacherw", "-json", f"{self.module}@{self.version}"],
            env={**os.environ, **_settings()},
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
            raise SetupFailed(f"go mod download of {self.name} failed: {why}; {ONLINE}")
        if received["Sum"] != self.checksum:
            raise SetupFailed(
                f"{self.name}'s source {self.version} received from the Go module proxy has checksum "
                f"{received['Sum']}, expected {self.checksum}; nothing was built; use a proxy that serves the "
                "original, then run make test again"
            )
        return Path(received["Dir"])

    def _build(self, go: str, source: Path, program: Path) -> None:
        # In the source, with what its go.sum holds: `go install` of a version would not look there
        options = ["-mod=readonly", "-modcacherw", "-trimpath", "-ldflags=-s -w"]
        run([go, "build", *options, "-o", program, self.package], ONLINE, _settings(), source)


def go_cache() -> Path:
    """Return where a build that was cut short is kept, and goes on the next time."""
    return cache_dir() / "go"


def find_go() -> str | None:
    """Return a Go that can build the programs, None if this machine has none."""
    go = shutil.which("go")
    if go is None:
        return None
    said = subprocess.run([go, "version"], capture_output=True, text=True, cwd=tempfile.gettempdir()).stdout
    version = re.search(r"go(\d+)\.(\d+)", said)
    return go if version and tuple(map(int, version.groups())) >= OLDEST_GO else None


def how_to_install() -> str:
    """Return what brings the programs to this machine."""
    make = "run: python3 infra/setup.py --with-stores"
    oldest = ".".join(map(str, OLDEST_GO))
    return make if find_go() else f"install Go {oldest} or later so that go runs, then {make}"


def _settings() -> dict[str, str]:
    """Return the environment for Go: all it keeps is in our cache, and it needs no C compiler."""
    cache = go_cache()
    ours = {"GOMODCACHE": str(cache / "modules"), "GOCACHE": str(cache / "build")}
    return {**ours, "GOWORK": "off", "CGO_ENABLED": "0"}
