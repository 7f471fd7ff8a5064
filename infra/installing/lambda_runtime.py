"""What AWS Lambda's own Python has beside a function's package: on this one, for functions that run on LocalStack."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

from infra.installing.environment import ONLINE, ROOT, base_python, install_uv, into, script, uv_settings
from infra.installing.report import run, step
from lakehouse.cache import cache_dir

LAMBDA_LOCK = ROOT / "infra" / "locks" / "lambda.lock"


def lambda_home() -> Path:
    """Return the environment of the Python that runs now, which may not exist yet, named by what its lock holds."""
    locked = hashlib.sha256(LAMBDA_LOCK.read_bytes()).hexdigest()[:16]
    return cache_dir() / "lambda" / f"python{platform.python_version()}-{locked}"


def lambda_python() -> Path:
    """Return the Python that runs functions, which may not exist yet."""
    return script(lambda_home(), "python")


def has_lambda_runtime() -> bool:
    """Return whether it is there, whole."""
    return _stamp().is_file()


def install_lambda_runtime(wanted: bool) -> None:
    """Say whether it is there; install it when it is *wanted* and missing."""
    home = lambda_home()
    if has_lambda_runtime():
        print(f"  Lambda's Python: there ({home})")
        return
    if not wanted:
        print("  Lambda's Python: missing; only the tests of functions on LocalStack need it; run: make test")
        return
    uv = install_uv()
    with step(f"installing what Lambda's Python has into {home}"):
        run([uv, "venv", "--clear", "--python", base_python(), home], ONLINE, uv_settings())
        run(
            [uv, "pip", "sync", "--compile-bytecode", *into(home), "--require-hashes", LAMBDA_LOCK],
            ONLINE,
            uv_settings(),
        )
        _stamp().write_text("")


def _stamp() -> Path:
    return lambda_home() / ".installed"
