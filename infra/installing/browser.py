"""The browser that the tests of the pages drive: Chromium as the system packages it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from infra.installing.report import SetupFailed, run, step

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC_APPLICATIONS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def find_chromium() -> Path | None:
    """Return the path of a Chromium or Chrome of this machine, None if it has none."""
    on_path = (shutil.which(name) for name in NAMES)
    for found in (*filter(None, on_path), *MAC_APPLICATIONS):
        if Path(found).exists():
            return Path(found)
    return None


def install_browser(wanted: bool, as_root: bool) -> None:
    """Say which browser there is; install Debian's when one is *wanted*, missing, and apt-get may be used *as_root*."""
    found = find_chromium()
    if found:
        print(f"  Chromium: there ({found})")
    elif wanted and as_root and shutil.which("apt-get"):
        with step("installing Chromium by apt-get"):
            remedy = "check that this machine reaches its Debian mirror, then run make test again"
            quiet = {"DEBIAN_FRONTEND": "noninteractive"}
            run(["apt-get", "update"], remedy, quiet)
            run(["apt-get", "install", "--yes", "chromium"], remedy, quiet)
        if not find_chromium():
            raise SetupFailed("apt-get installed no chromium; install a Chromium by hand, then run make test again")
    else:
        print(f"  Chromium: missing; only the tests of the pages need it; {how_to_install()}")


def how_to_install() -> str:
    """Return the command that brings a Chromium to this kind of machine."""
    if sys.platform == "darwin":
        return "install it with: brew install --cask chromium"
    return "install it with: sudo apt-get install chromium (Debian), or as your system has it"
