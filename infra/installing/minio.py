"""MinIO, built from source: it is served as a Go module only."""

from __future__ import annotations

from infra.installing.go_program import GoProgram
from lakehouse.storage.minio import MINIO_VERSION, minio_program

MODULE = "github.com/minio/minio"
CHECKSUM = "h1:/qdoYujxF5MBLDMVLeiYJ/7fBa1HikX39Dvzb9Ji8pA="


def minio() -> GoProgram:
    """Return MinIO at the version that the platform is tested on."""
    return GoProgram(
        name="MinIO",
        module=MODULE,
        version=MINIO_VERSION,
        checksum=CHECKSUM,
        package=".",
        file=minio_program(),
        minutes=7,
        needed_by="the tests of object stores",
    )
