"""Where what set-up downloads is kept. Standard library only: set-up reads it before anything is installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def cache_dir() -> Path:
    """
    Return the folder for downloads and built things, which may not exist yet.

    ``LAKEHOUSE_CACHE_DIR``, else ``/var/cache/lakehouse`` as root, else the user's cache folder of the platform
    (the rule of platformdirs). Root's is not in its home, which the database server's user may not enter.
    """
    if chosen := os.environ.get("LAKEHOUSE_CACHE_DIR"):
        return Path(chosen).expanduser().absolute()
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/cache/lakehouse")
    return user_cache_dir(sys.platform, Path.home(), os.environ)


def user_cache_dir(platform: str, home: Path, environ: Mapping[str, str]) -> Path:
    """Return a user's cache folder for the lakehouse on *platform* (as sys.platform names it)."""
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "lakehouse" / "Cache"
    if platform == "darwin":
        return home / "Library" / "Caches" / "lakehouse"
    return Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "lakehouse"
