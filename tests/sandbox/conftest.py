"""A runner of its own for the tests of the sandbox, one for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lakehouse.sandbox.host import Sandbox
from tests.sandboxes import running_runner


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Return the sandbox as the platform runs it."""
    with running_runner(tmp_path_factory.mktemp("sandbox")) as runner:
        yield runner.sandbox
