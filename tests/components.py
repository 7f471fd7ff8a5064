"""What tests need that a machine may lack."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT.parent / "shared" / "moex"


def require(component: str, remedy: str) -> NoReturn:
    """
    End the test because *component* is missing: a failure under CI=true, elsewhere a skip that is listed at the end.

    *remedy* is what brings the component, in a few words.
    """
    reason = f"{component} is missing: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
