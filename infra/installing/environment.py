"""The virtual environment: made by uv from the hashed lock, with the project itself in it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import tomllib
from pathlib import Path

from infra.installing.report import run, step
from lakehouse.cache import cache_dir

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
UV_LOCK = ROOT / "infra" / "locks" / "uv.lock"
ONLINE = "check that this machine reaches its Python package registry, then run make setup again"


def install_environment(venv: Path = ROOT / ".venv") -> None:
    """Make *venv* what the lock says, with ``lakehouse`` on its path; do nothing when it is so already."""
    stamp = venv / ".installed"
    wanted = fingerprint(venv)
    if stamp.is_file() and stamp.read_text() == wanted and script(venv, "lakehouse").is_file():
        print(f"  Python {platform.python_version()} and its packages: there ({venv})")
        return
    uv = install_uv()
    with step(f"installing the locked packages for Python {platform.python_version()} into {venv}"):
        run([uv, "venv", "--clear", "--python", base_python(), venv], ONLINE, uv_settings())
        # PySpark comes as source: what builds it is held to the lock as well
        locked: list[str | Path] = ["--require-hashes", "--build-constraint", LOCK, LOCK]
        run([uv, "pip", "sync", *into(venv), *locked], ONLINE, uv_settings())
        # setuptools comes with the lock, so this needs no network
        editable: list[str | Path] = ["--no-deps", "--no-build-isolation", "--editable", ROOT]
        run([uv, "pip", "install", *into(venv), *editable], ONLINE, uv_settings())
        stamp.write_text(wanted)


def install_uv() -> Path:
    """Return the locked uv, installed by pip into a small environment of its own in the cache on first use."""
    home = cache_dir() / "uv" / hashlib.sha256(UV_LOCK.read_bytes()).hexdigest()[:16]
    uv = script(home, "uv")
    if not uv.is_file():
        with step(f"installing uv into {home}"):
            no_venv = "install Python's venv module (Debian: apt-get install python3-venv), then run make setup again"
            run([base_python(), "-m", "venv", "--clear", home], no_venv)
            run([script(home, "python"), "-m", "pip", "install", "--require-hashes", "--requirement", UV_LOCK], ONLINE)
    return uv


def uv_settings() -> dict[str, str]:
    """
    Return the environment for uv where it says nothing itself.

    Downloads are kept with the platform's other ones, the machine's own authorities are trusted, and Python is ours.
    """
    ours = {"UV_CACHE_DIR": str(cache_dir() / "uv" / "packages"), "UV_SYSTEM_CERTS": "true"}
    return ours | {name: os.environ[name] for name in ours if name in os.environ} | {"UV_PYTHON_DOWNLOADS": "never"}


def into(venv: Path) -> list[str]:
    """Return uv's arguments for installing into *venv*."""
    return ["--python", str(script(venv, "python"))]


def script(venv: Path, name: str) -> Path:
    """Return the path of the program *name* of *venv*."""
    return venv / "bin" / name


def base_python() -> str:
    """Return the Python that set-up runs on, or the one under it when that is a virtual environment's."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def fingerprint(venv: Path) -> str:
    """Return what an installed environment depends on: its place, its Python, the lock and how the project is built."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    built_from = {name: project[name] for name in ("build-system", "project")} | project["tool"]["setuptools"]
    inputs = hashlib.sha256(LOCK.read_bytes() + json.dumps(built_from, sort_keys=True).encode())
    # python3 and python3.12 may be one
    return f"{venv} {Path(base_python()).resolve()} {platform.python_version()} {inputs.hexdigest()}"
