"""A certificate of one's own, as a person makes one to try TLS."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.components import require


def made_certificate(folder: Path, name: str = "lakehouse.test") -> tuple[Path, Path]:
    """Return the files of a new self-signed certificate for *name*, and of its key."""
    program = shutil.which("openssl") or require("openssl", "install your system's package openssl")
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key)]
    command = [program, "req", "-x509", *new_key, "-days", "1", *subject, "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
