"""
Compile the locks from pyproject.toml: ``make lock``.

They hold hashes for every platform and name no host. Pins stay as they are unless pyproject.toml forbids them;
``make lock OPTIONS=--upgrade`` takes the newest.
"""

from __future__ import annotations

import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from infra.aws.third_party import FUNCTIONS_LOCK, LEFT_OUT
from infra.installing.environment import LOCK, ROOT, UV_LOCK, install_uv, uv_settings
from infra.installing.java import JAVA_LOCK
from infra.installing.lambda_runtime import LAMBDA_LOCK
from infra.installing.localstack import LOCALSTACK_LOCK
from infra.installing.localstack import PYTHON as LOCALSTACK_PYTHON
from infra.installing.report import SetupFailed, run

REMEDY = "mend pyproject.toml, or reach the Python package registry, then run make lock again"
COMPILE = (
    *("pip", "compile", "--quiet", "--generate-hashes"),
    *("--no-emit-index-url", "--custom-compile-command", "make lock"),
)
EVERYWHERE = ("--universal", "--python-version", "3.11", *sys.argv[1:])
# No OPTIONS: the newest versions of what LocalStack asks for do not start together. No 3.14, which part of it forbids
LOCALSTACK_ONLY = ("--python-version", LOCALSTACK_PYTHON)


def main() -> int:
    pyproject = ROOT / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    try:
        compile_lock(LOCK, *EVERYWHERE, "--extra", "dev", "pyproject.toml")
        compile_lines(JAVA_LOCK, project["project"]["optional-dependencies"]["java"])
        compile_lines(UV_LOCK, project["dependency-groups"]["setup"])
        compile_functions_lock(project["dependency-groups"]["functions"])
        compile_lines(LAMBDA_LOCK, project["dependency-groups"]["lambda"], "--constraints", str(LOCK))
        compile_lines(LOCALSTACK_LOCK, project["dependency-groups"]["localstack"], target=LOCALSTACK_ONLY)
    except SetupFailed as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def compile_functions_lock(requirements: list[str]) -> None:
    """Compile what the functions need in the versions that the platform is locked to and tested with."""
    with tempfile.NamedTemporaryFile("w", suffix=".in") as left_out:
        left_out.write("\n".join(LEFT_OUT))
        left_out.flush()
        compile_lines(FUNCTIONS_LOCK, requirements, "--constraints", str(LOCK), "--excludes", left_out.name)


def compile_lines(lock: Path, requirements: list[str], *options: str, target: Sequence[str] = EVERYWHERE) -> None:
    """Compile *requirements* that are locked apart from the platform's own, for the Python that *target* names."""
    with tempfile.NamedTemporaryFile("w", suffix=".in") as file:
        file.write("\n".join(requirements))
        file.flush()
        compile_lock(lock, *target, "--no-annotate", *options, file.name)


def compile_lock(lock: Path, *arguments: str) -> None:
    run([install_uv(), *COMPILE, "--output-file", lock, *arguments], REMEDY, uv_settings())
    print(f"{lock.relative_to(ROOT)}: compiled")


if __name__ == "__main__":
    sys.exit(main())
