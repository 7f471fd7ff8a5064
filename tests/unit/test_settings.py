"""The environment is read once, and what is wrong with it is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from lakehouse.market.errors import BadInput
from lakehouse.settings import Settings, load_settings


def test_a_misspelt_setting_is_refused() -> None:
    """A variable that no setting reads is named, with those that exist."""
    with pytest.raises(BadInput, match=r"unknown setting LAKEHOUSE_DATAA; known are .*LAKEHOUSE_DATA_DIR"):
        load_settings({"LAKEHOUSE_DATAA": "/tmp"})


def test_no_command_of_make_or_docs_sets_what_the_program_refuses() -> None:
    """
    A `LAKEHOUSE_` variable that they set is a setting, or one of docker-compose.yml's own.

    Whoever follows them would get `unknown setting` from every command in the same shell.
    """
    root = Path(__file__).parents[2]
    texts = [root / "Makefile", root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]
    found = {name for path in texts for name in re.findall(r"\b(LAKEHOUSE_\w+)=", path.read_text(encoding="utf-8"))}
    composed = set(re.findall(r"\$\{(LAKEHOUSE_\w+)", (root / "docker-compose.yml").read_text(encoding="utf-8")))
    assert len(found) > 10
    assert found - composed - {f"LAKEHOUSE_{name.upper()}" for name in Settings.model_fields} == set()


def test_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that does not fit is told with the variable's name."""
    monkeypatch.setenv("LAKEHOUSE_PORT", "x")
    with pytest.raises(BadInput, match="LAKEHOUSE_PORT: Input should be a valid integer"):
        load_settings()


def test_bronze_is_a_folder_unless_a_store_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder needs no other setting."""
    monkeypatch.setenv("LAKEHOUSE_DATA_DIR", "/data")
    assert (load_settings().bronze_location, load_settings().s3_options) == ("/data/bronze", {})


def test_an_object_store_is_chosen_by_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are not given are left to the store: AWS knows its address, and the machine's role."""
    monkeypatch.setenv("LAKEHOUSE_BRONZE_URL", "s3://bucket/bronze")
    monkeypatch.setenv("LAKEHOUSE_S3_REGION", "eu-north-1")
    assert load_settings().bronze_location == "s3://bucket/bronze"
    assert load_settings().s3_options == {"region": "eu-north-1"}
    monkeypatch.setenv("LAKEHOUSE_S3_ENDPOINT", "http://127.0.0.1:9000")
    monkeypatch.setenv("LAKEHOUSE_S3_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("LAKEHOUSE_S3_SECRET_ACCESS_KEY", "secret")
    assert load_settings().s3_options == {
        "endpoint": "http://127.0.0.1:9000",
        "region": "eu-north-1",
        "access_key_id": "reader",
        "secret_access_key": "secret",
    }


def test_tables_lie_in_the_data_folder_unless_a_place_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of another kind is refused at start, not at the first merge."""
    monkeypatch.setenv("LAKEHOUSE_DATA_DIR", "/data")
    assert load_settings().lake_location == "/data"
    monkeypatch.setenv("LAKEHOUSE_LAKE_URL", "s3://bucket/lake")
    assert load_settings().lake_location == "s3://bucket/lake"
    monkeypatch.setenv("LAKEHOUSE_LAKE_URL", "s3a://bucket/lake")
    with pytest.raises(BadInput, match="LAKEHOUSE_LAKE_URL: s3a://bucket/lake is neither s3://bucket/prefix nor a"):
        load_settings()


def test_settings_do_not_show_the_secret_of_the_store() -> None:
    """Whoever logs the settings logs no secret."""
    assert "hush" not in repr(Settings(s3_secret_access_key=SecretStr("hush")))


@pytest.mark.parametrize("address", ["127.0.0.1:9000", "${LAKEHOUSE_S3_ENDPOINT}", "http://", "http://a b"])
def test_an_endpoint_that_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """At start: the store's library would end the process at it."""
    monkeypatch.setenv("LAKEHOUSE_S3_ENDPOINT", address)
    with pytest.raises(BadInput, match=r"^LAKEHOUSE_S3_ENDPOINT: String should match pattern"):
        load_settings()
