"""Images, built by buildah on a Debian of this machine's own: no Docker, and no registry of images, is asked."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.installing.environment import ROOT
from infra.installing.report import SetupFailed, run

DOCKERFILE = ROOT / "infra" / "docker" / "lakehouse.Dockerfile"
BASE = "localhost/lakehouse-base"
PROGRAMS = ("buildah", "debootstrap", "unshare")
# What the official Python images have beside Debian, as far as the Dockerfile needs it
PACKAGES = "ca-certificates,python3.11,python3-venv"
# Where Debian keeps authorities that the machine's owner added (a company's proxy)
AUTHORITIES = Path("/usr/local/share/ca-certificates")
ONLINE = "check that this machine reaches its registries, then run make images again"


@dataclass(frozen=True)
class Image:
    """An image that was built: its file system, mounted, and what it says of itself."""

    name: str
    root: Path
    user: str
    environment: dict[str, str]
    folder: str


class Builder:
    """Images in *folder*, which is ours alone: nothing of theirs lies elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        places = ["--root", str(folder / "storage"), "--runroot", str(folder / "run")]
        self._buildah = ["buildah", *places, "--storage-driver", "overlay"]

    def make_base(self) -> None:
        """Make the image that the others begin with, unless it is there."""
        if subprocess.run([*self._buildah, "inspect", "--type", "image", BASE], capture_output=True).returncode == 0:
            return
        debian = self.folder / "debian"
        shutil.rmtree(debian, ignore_errors=True)
        run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", debian], ONLINE)
        for authority in AUTHORITIES.glob("*.crt"):
            shutil.copy(authority, debian / AUTHORITIES.relative_to("/"))
        run(["chroot", debian, "update-ca-certificates"], ONLINE)
        container = self._said("from", "scratch")
        self._run("add", "--quiet", container, str(debian), "/")
        self._run("commit", "--quiet", "--rm", container, BASE)
        shutil.rmtree(debian)

    def build(self, target: str) -> None:
        """Build one target of the Dockerfile."""
        how = ["--isolation", "chroot", "--network", "host", "--layers", "--build-arg", f"PYTHON_IMAGE={BASE}"]
        what = ["--file", str(DOCKERFILE), "--ignorefile", str(ROOT / ".dockerignore"), "--target", target]
        self._run("bud", *how, *what, "--tag", target, str(ROOT))

    @contextmanager
    def mounted(self, target: str) -> Iterator[Image]:
        """Mount a container of the image *target* while the block runs."""
        container = self._said("from", "--pull-never", f"localhost/{target}")
        try:
            root = Path(self._said("mount", container))
            says: dict[str, Any] = json.loads(self._said("inspect", "--type", "image", f"localhost/{target}"))
            config = says["OCIv1"]["config"]
            environment = dict(entry.split("=", 1) for entry in config["Env"])
            yield Image(target, root, config["User"], environment, config["WorkingDir"])
        finally:
            self._run("rm", container)

    def remove(self) -> None:
        """Remove all that was made."""
        self._run("rm", "--all")
        self._run("rmi", "--all", "--force")
        shutil.rmtree(self.folder)

    def _run(self, *arguments: str) -> None:
        run([*self._buildah, *arguments], ONLINE)

    def _said(self, *arguments: str) -> str:
        asked = subprocess.run([*self._buildah, *arguments], capture_output=True, text=True)
        if asked.returncode != 0:
            raise SetupFailed(f"buildah {arguments[0]} failed: {asked.stderr.strip()}; run make images again")
        return asked.stdout.strip()
