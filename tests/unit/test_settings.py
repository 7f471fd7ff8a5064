"""The environment is read once, and what is wrong with it is said."""

from __future__ import annotations

import pytest

from lakehouse.market.errors import BadInput
from lakehouse.settings import load_settings


def test_a_misspelt_setting_is_refused() -> None:
    """A variable that no setting reads is named, with those that exist."""
    with pytest.raises(BadInput, match=r"unknown setting LAKEHOUSE_DATAA; known are .*LAKEHOUSE_DATA_DIR"):
        load_settings({"LAKEHOUSE_DATAA": "/tmp"})


def test_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that does not fit is told with the variable's name."""
    monkeypatch.setenv("LAKEHOUSE_PORT", "x")
    with pytest.raises(BadInput, match="LAKEHOUSE_PORT: Input should be a valid integer"):
        load_settings()
