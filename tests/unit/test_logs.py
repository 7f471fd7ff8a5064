"""Logs go to standard error."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import pytest
import structlog

from lakehouse.logs import configure_logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    former = structlog.get_config()
    yield
    structlog.configure(**former)


def test_logs_go_to_standard_error_as_it_is_then(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that was run within a process, with a standard error of its own, leaves no closed file behind."""
    log = structlog.get_logger()
    with io.StringIO() as own, contextlib.redirect_stderr(own):
        configure_logs("warning", "json")
        log.warning("test.first")
        assert "test.first" in own.getvalue()
    log.warning("test.second")
    assert '"event": "test.second"' in capsys.readouterr().err
