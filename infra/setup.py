"""
Install all that the platform needs, and say what: ``make setup``.

Runs on any Python from 3.9 on, with nothing installed, and hands over to a Python that the platform runs on.
What is there already is left alone, so a second run takes a second or two.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("python3.12", "python3.13", "python3.11")


def main() -> int:
    options = argparse.ArgumentParser(description="Install all that the platform needs.")
    options.add_argument("--with-browser", action="store_true", help="bring Chromium too, for the tests of the pages")
    options.add_argument(
        "--with-stores", action="store_true", help="bring MinIO, LocalStack, Compose, Caddy, for tests"
    )
    chosen = options.parse_args()
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        return hand_over()
    sys.path.insert(0, str(ROOT))
    return install(chosen.with_browser, chosen.with_stores)


def install(with_browser: bool, with_stores: bool) -> int:
    # Not at the top: an older Python may not read these, and the root is on the path only now
    from infra.installing.browser import install_browser
    from infra.installing.caddy import install_caddy
    from infra.installing.compose import compose
    from infra.installing.environment import install_environment
    from infra.installing.jars import install_jars
    from infra.installing.java import install_java
    from infra.installing.lambda_runtime import install_lambda_runtime
    from infra.installing.localstack import install_localstack
    from infra.installing.minio import minio
    from infra.installing.report import SetupFailed
    from lakehouse.cache import cache_dir

    venv = ROOT / ".venv"
    print(f"Setting up {ROOT} (downloads are kept in {cache_dir()})", flush=True)
    try:
        install_environment(venv)
        install_java(venv)
        install_jars(venv)
        install_browser(wanted=with_browser, as_root=os.geteuid() == 0)
        minio().install(wanted=with_stores)
        compose().install(wanted=with_stores)
        install_caddy(wanted=with_stores)
        install_localstack(wanted=with_stores)
        install_lambda_runtime(wanted=with_stores)
    except SetupFailed as error:
        return fail(str(error))
    except OSError as error:
        return fail(f"{error}; make room or give access there, or set LAKEHOUSE_CACHE_DIR to another folder")
    print(f"Ready: {venv}/bin/lakehouse --help", flush=True)
    return 0


def hand_over() -> int:
    """Run set-up again on the first Python found that the platform runs on."""
    for name in PYTHONS:
        python = shutil.which(name)
        # A pyenv shim is on PATH for versions that are not active too, so it is tried
        if python and subprocess.run([python, "-c", ""], stderr=subprocess.DEVNULL).returncode == 0:
            os.execv(python, [python, str(Path(__file__).resolve()), *sys.argv[1:]])
    running = ".".join(map(str, sys.version_info[:3]))
    return fail(f"Python 3.11, 3.12 or 3.13 is needed, found only {running}; install one so that {PYTHONS[0]} runs")


def fail(message: str) -> int:
    print(f"Error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
