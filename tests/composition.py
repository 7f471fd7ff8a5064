"""What `docker compose config` says of docker-compose.yml, with secrets as `make env` makes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.installing.compose import compose
from infra.installing.environment import ROOT
from infra.installing.go_program import how_to_install
from tests.components import require

PROFILES = ("core", "cluster", "localstack", "demo")


def make_env(file: Path, profile: str = "") -> subprocess.CompletedProcess[str]:
    """Run `make env` over another file."""
    command = [sys.executable, str(ROOT / "infra" / "env.py"), "--profile", profile, "--file", str(file)]
    return subprocess.run(command, capture_output=True, text=True)


def configure(env_file: Path) -> subprocess.CompletedProcess[str]:
    """Run `docker compose config`."""
    program = compose().file
    if not program.is_file():
        require("Compose", how_to_install())
    # Whatever this process was told must not stand in for what the file says
    environ = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    command = [str(program), "--project-directory", str(ROOT), "--env-file", str(env_file)]
    return subprocess.run([*command, "config", "--format", "json"], env=environ, capture_output=True, text=True)


def composition(folder: Path, profile: str) -> Mapping[str, Any]:
    """Return the whole composition of *profile*."""
    made = make_env(folder / f"{profile}.env", profile)
    assert made.returncode == 0, made.stderr
    said = configure(folder / f"{profile}.env")
    assert said.returncode == 0, said.stderr
    found: dict[str, Any] = json.loads(said.stdout)
    return found
