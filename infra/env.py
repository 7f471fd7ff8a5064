"""
Write the ``.env`` that docker-compose.yml reads: ``make env``, ``make env PROFILE=cluster``.

Secrets are random and stand nowhere else. What is there already stays as it is: only what is missing is added.
Standard library only, and any Python from 3.9 on: nothing needs to be set up for it.
"""

from __future__ import annotations

import argparse
import os
import secrets
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# For MinIO a name has at most 20 characters and a secret at most 40; all of these stand in URLs as they are
SECRETS = {
    "POSTGRES_PASSWORD": lambda: secrets.token_urlsafe(24),
    "LAKEHOUSE_APP_PASSWORD": lambda: secrets.token_urlsafe(24),
    "LAKEHOUSE_READ_PASSWORD": lambda: secrets.token_urlsafe(24),
    "LAKEHOUSE_MINIO_ROOT_USER": lambda: secrets.token_hex(8),
    "LAKEHOUSE_MINIO_ROOT_PASSWORD": lambda: secrets.token_urlsafe(24),
    "LAKEHOUSE_S3_ACCESS_KEY_ID": lambda: secrets.token_hex(8),
    "LAKEHOUSE_S3_SECRET_ACCESS_KEY": lambda: secrets.token_urlsafe(24),
    "LAKEHOUSE_STORAGE_TOKEN": lambda: secrets.token_urlsafe(24),
    "LAKEHOUSE_METRICS_TOKEN": lambda: secrets.token_urlsafe(24),
}
_SIMULATOR = {
    "LAKEHOUSE_SOURCE": "simulator",
    "LAKEHOUSE_ISS_URL": "http://simulator:8090/iss",
    "LAKEHOUSE_REQUESTS_PER_S": "0",
}
# What makes the services that all profiles share use those of one
WIRES_BY_PROFILE: Mapping[str, Mapping[str, str]] = {
    "core": {},
    "cluster": {
        "LAKEHOUSE_SPARK_MASTER": "spark://spark-master:7077",
        "LAKEHOUSE_DASK_SCHEDULER": "tcp://dask-scheduler:8786",
        "SPARK_DRIVER_NAME": "spark-driver",
    },
    "demo": _SIMULATOR,
    "localstack": {
        **_SIMULATOR,
        "LAKEHOUSE_S3_ENDPOINT": "http://localstack:4566",
        "LAKEHOUSE_SQS_ENDPOINT": "http://localstack:4566",
        "LAKEHOUSE_QUEUE_PREFIX": "lakehouse",
    },
}


class Refused(Exception):
    """The file is not as it must be; the message says what to do."""


def write(file: Path, profiles: list[str]) -> list[str]:
    """
    Add to *file*, which is made if need be and readable by its owner only, what *profiles* need and it lacks.

    Returns:
        The names added now.

    Raises:
        Refused: if others may read it, or it says something else than the profiles need; nothing is written then.
    """
    wires = wiring(profiles)
    there = read(file)
    changes = [f"{name}={value}" for name, value in wires.items() if there.get(name, value) != value]
    changes += [f"no {name}" for name in there if name not in wires and (name, there[name]) in _of_other_profiles()]
    if changes:
        raise Refused(f"{file} says otherwise and is not overwritten; write there: {', '.join(changes)}")
    missing = [name for name in (*wires, *SECRETS) if name not in there]
    if missing:
        text = "".join(f"{name}={wires[name] if name in wires else SECRETS[name]()}\n" for name in missing)
        _append(file, text)
    return missing


def wiring(profiles: list[str]) -> dict[str, str]:
    """Return what is no secret in the file of *profiles*; raise Refused for one that there is not."""
    if not profiles or (unknown := sorted(set(profiles) - set(WIRES_BY_PROFILE))):
        raise Refused(f"there is no profile {', '.join(unknown) or profiles}: choose of {', '.join(WIRES_BY_PROFILE)}")
    wires = {"COMPOSE_PROFILES": ",".join(profiles)}
    for profile in profiles:
        wires.update(WIRES_BY_PROFILE[profile])
    return wires


def _of_other_profiles() -> set[tuple[str, str]]:
    return {wire for wires in WIRES_BY_PROFILE.values() for wire in wires.items()}


def read(file: Path) -> dict[str, str]:
    """Return what *file* says, nothing if there is none; raise Refused if others may read it."""
    try:
        mode = file.stat().st_mode
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    if stat.S_IMODE(mode) & 0o077:
        raise Refused(f"others than its owner may read {file}, which holds secrets: chmod 600 {file}")
    lines = (line.strip().removeprefix("export ") for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _append(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "rb+") as opened:
        kept = opened.read()
        opened.write((b"\n" if kept and not kept.endswith(b"\n") else b"") + text.encode())


def main() -> int:
    options = argparse.ArgumentParser(description="Write the .env that docker-compose.yml reads.")
    options.add_argument("--profile", default="", help="core (default), cluster, localstack or demo; several by commas")
    options.add_argument("--file", type=Path, default=ROOT / ".env")
    chosen = options.parse_args()
    try:
        profile = chosen.profile or read(chosen.file).get("COMPOSE_PROFILES") or "core"
        added = write(chosen.file, profile.split(","))
    except (Refused, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"{chosen.file}: {'added ' + ', '.join(added) if added else 'nothing was missing'}")
    print("Next: docker compose up --detach --wait")
    return 0


if __name__ == "__main__":
    sys.exit(main())
