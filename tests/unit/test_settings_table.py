from __future__ import annotations

from pathlib import Path

import pytest

from infra import settings_table
from lakehouse.settings import Settings


def test_the_table_of_settings_is_current() -> None:
    """The committed table is what the settings say."""
    assert settings_table.main(["--check"]) == 0


def test_every_setting_has_its_line() -> None:
    """Each setting stands in the table once, with its meaning and with who reads it."""
    lines = settings_table.settings_table().splitlines()
    for name, field in Settings.model_fields.items():
        (line,) = (line for line in lines if line.startswith(f"| `LAKEHOUSE_{name.upper()}` |"))
        assert field.description
        assert line.endswith(f"| {field.description} | {settings_table.READ_BY[name]} |")


def test_bounds_and_choices_are_shown() -> None:
    """What values a setting takes is read from its declaration."""
    text = settings_table.settings_table()
    assert "| `LAKEHOUSE_REQUESTS_PER_S` | `5` | number from 0 to 50 |" in text
    assert "| `LAKEHOUSE_LOG_FORMAT` | `text` | `text`, `json` |" in text


def test_stale_table_of_settings_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table that is missing or differs is told with the remedy; writing it is the remedy."""
    path = tmp_path / "settings.md"
    assert settings_table.main(["--check"], path) == 1
    assert capsys.readouterr().err == (
        "Error: docs/settings.md is not what the settings are: run `python -m infra.settings_table`\n"
    )
    assert settings_table.main([], path) == 0
    assert settings_table.main(["--check"], path) == 0
