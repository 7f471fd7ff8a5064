"""The real services that tests use, as session fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from infra.installing.browser import find_chromium, how_to_install
from tests.components import RECORDED, require

# Few examples on every push, thousands by `make torture`; made services are slow at times, so no deadline
settings.register_profile("push", max_examples=25, deadline=None)
settings.register_profile("torture", max_examples=5000, deadline=None)
settings.load_profile("push")


@pytest.fixture(scope="session")
def recorded_dir() -> Path:
    """Return the folder of the exchange's recorded data, which may not be redistributed and so is no part of this."""
    if not RECORDED.is_dir():
        pytest.skip(f"the recorded data is not at {RECORDED}")
    return RECORDED


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    """Return the Chromium that the tests of the pages drive."""
    return find_chromium() or require("Chromium", how_to_install())
