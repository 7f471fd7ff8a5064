"""LocalStack, the stand-in for AWS in tests: from its own hashed lock, in an environment and on a Python of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from infra.installing.environment import ONLINE, ROOT, install_uv, into, uv_settings
from infra.installing.report import run, step
from lakehouse.cache import cache_dir

LOCALSTACK_LOCK = ROOT / "infra" / "locks" / "localstack.lock"
# On 3.11 it says "Ready." and its SQS fails; the lock is resolved for this one only
PYTHON = "3.13"


def localstack_home() -> Path:
    """Return the virtual environment of LocalStack, which may not exist yet, named by what its lock holds."""
    return cache_dir() / "localstack" / hashlib.sha256(LOCALSTACK_LOCK.read_bytes()).hexdigest()[:16]


def is_installed() -> bool:
    """Return whether LocalStack is there, whole."""
    return _stamp().is_file()


def install_localstack(wanted: bool) -> None:
    """Say whether LocalStack is there; install it when it is *wanted*, missing, and this machine has its Python."""
    home = localstack_home()
    if is_installed():
        print(f"  LocalStack: there ({home})")
        return
    python = find_python()
    if not wanted or python is None:
        print(f"  LocalStack: missing; only the tests of object stores need it; {how_to_install()}")
        return
    uv = install_uv()
    with step(f"installing LocalStack for {python} into {home}"):
        run([uv, "venv", "--clear", "--python", python, home], ONLINE, uv_settings())
        locked: list[str | Path] = ["--require-hashes", "--build-constraint", LOCALSTACK_LOCK, LOCALSTACK_LOCK]
        run([uv, "pip", "sync", "--compile-bytecode", *into(home), *locked], ONLINE, uv_settings())
        _stamp().write_text("")


def find_python() -> str | None:
    """Return a Python of LocalStack's version, None if this machine has none."""
    for python in _candidates():
        # A pyenv shim is on PATH for versions that are not active too, so it is tried
        if subprocess.run([python, "-c", ""], stderr=subprocess.DEVNULL).returncode == 0:
            return python
    return None


def how_to_install() -> str:
    """Return what brings LocalStack to this machine."""
    make = "run: python3 infra/setup.py --with-stores"
    return make if find_python() else f"install Python {PYTHON} so that python{PYTHON} runs, then {make}"


def _candidates() -> Iterator[str]:
    if found := shutil.which(f"python{PYTHON}"):
        yield found
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(pyenv.glob(f"versions/{PYTHON}.*/bin/python{PYTHON}"), reverse=True))


def _stamp() -> Path:
    return localstack_home() / ".installed"
