"""How many seeds a test takes: few on every push, the full counts by ``make torture``."""

from __future__ import annotations

import os

TORTURE = bool(os.environ.get("TORTURE"))


def seeds(push: int, torture: int) -> int:
    """Return *torture* when ``make torture`` runs the tests, else *push*."""
    return torture if TORTURE else push
