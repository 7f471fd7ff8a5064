"""
Compile the locks from pyproject.toml: ``make lock``.

They hold hashes for every platform and name no host. Pins stay as they are unless pyproject.toml forbids them;
``make lock OPTIONS=--upgrade`` takes the newest.
"""

from __future__ import annotations

import sys
import tempfile
import tomllib
from pathlib import Path

from infra.aws.third_party import FUNCTIONS_LOCK, LEFT_OUT
from infra.installing.environment import LOCK, ROOT, UV_LOCK, install_uv, uv_settings
from infra.installing.java import JAVA_LOCK
from infra.installing.report import SetupFailed, run

REMEDY = "mend pyproject.toml, or reach the Python package registry, then run make lock again"
COMPILE = (
    *("pip", "compile", "--quiet", "--universal", "--generate-hashes", "--python-version", "3.11"),
    *("--no-emit-index-url", "--custom-compile-command", "make lock"),
)


def main() -> int:
    pyproject = ROOT / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    try:
        compile_lock(LOCK, "--extra", "dev", "pyproject.toml")
        compile_lines(JAVA_LOCK, project["project"]["optional-dependencies"]["java"])
        compile_lines(UV_LOCK, project["dependency-groups"]["setup"])
        compile_functions_lock(project["dependency-groups"]["functions"])
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


def compile_lines(lock: Path, requirements: list[str], *options: str) -> None:
    """Compile *requirements* that are locked apart from the platform's own."""
    with tempfile.NamedTemporaryFile("w", suffix=".in") as file:
        file.write("\n".join(requirements))
        file.flush()
        compile_lock(lock, "--no-annotate", *options, file.name)


def compile_lock(lock: Path, *sources: str) -> None:
    run([install_uv(), *COMPILE, *sys.argv[1:], "--output-file", lock, *sources], REMEDY, uv_settings())
    print(f"{lock.relative_to(ROOT)}: compiled")


if __name__ == "__main__":
    sys.exit(main())
