"""Commands run as a user who may write nowhere, and a small disk of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.components import require

NOBODY = 65534


def as_nobody() -> list[str]:
    """Return what to put before a command: nothing where we are an ordinary user ourselves."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        require("setpriv", "install util-linux")
    # May read all, as root's Python lies where others cannot go, and write nothing
    capability = "+dac_read_search"
    ids = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return ["setpriv", *ids, f"--inh-caps={capability}", f"--ambient-caps={capability}"]


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount a disk of so many megabytes on *folder*, which belongs to nobody."""
    folder.mkdir(parents=True)
    options = f"size={megabytes}m,mode=0755" + (f",uid={NOBODY},gid={NOBODY}" if os.geteuid() == 0 else "")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        require("a disk to fill", f"this user may not mount one ({mounted.stderr.strip()}); run the tests as root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(disk: Path, leave: int = 0) -> Path:
    """Write a file that takes all but *leave* bytes of the disk; return it."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        try:
            while (free := shutil.disk_usage(disk).free - leave) > 0:
                file.write(bytes(min(free, 1 << 20)))
                file.flush()
        except OSError:
            pass
    return ballast
