"""Where what set-up downloads is kept. Standard library only: set-up reads it before anything is installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_dir() -> Path:
    """
    Return the folder for downloads and built things, which may not exist yet.

    ``LAKEHOUSE_CACHE_DIR``, else ``/var/cache/lakehouse`` as root, else the user's cache folder of the platform
    (the rule of platformdirs). Root's is not in its home, which the database server's user may not enter.
    """
    chosen = os.environ.get("LAKEHOUSE_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/cache/lakehouse")
    return _user_cache_dir()


def _user_cache_dir() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
        return Path(local) / "lakehouse" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "lakehouse"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lakehouse"
