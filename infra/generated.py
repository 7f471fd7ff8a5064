"""Documents that are made from the code: written, or with ``--check`` compared."""

from __future__ import annotations

import sys
from pathlib import Path


def write_or_check(arguments: list[str], path: Path, text: str, difference: str) -> int:
    """Write *text* to *path*, or with ``--check`` say the *difference* if it is not there; return the exit code."""
    if "--check" not in arguments:
        path.write_text(text, encoding="utf-8")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return 0
    print(f"Error: {difference}", file=sys.stderr)
    return 1
