"""Docker's compose, built from source: the tests read docker-compose.yml by it, which takes no Docker engine."""

from __future__ import annotations

from infra.installing.go_program import GoProgram
from lakehouse.cache import cache_dir

VERSION = "v2.40.3"


def compose() -> GoProgram:
    """Return compose at the version that reads docker-compose.yml in tests."""
    return GoProgram(
        name="Compose",
        module="github.com/docker/compose/v2",
        version=VERSION,
        checksum="h1:XeYkQu1svDtyfZPv5nTwFryQ25ZJMkIlc4pz9HalMPI=",
        package="./cmd",
        file=cache_dir() / "compose" / VERSION / "docker-compose",
        minutes=4,
        needed_by="the tests of docker-compose.yml",
    )
