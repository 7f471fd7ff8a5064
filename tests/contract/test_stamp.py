"""The stamp of a store: data of two sources never mix, wherever they lie."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lakehouse.market.errors import BadInput
from lakehouse.settings import Settings
from lakehouse.storage.minio import MinioServer
from lakehouse.storage.stamp import KEY, claim, encoded, read
from lakehouse.storage.store import Store
from lakehouse.up.folder import claim_stores
from lakehouse.up.plan import Plan
from tests.stores import empty_store

EXCHANGE = {"source": "exchange"}
MADE = {"source": "simulator", "seed": 7}


@pytest.fixture(params=["folder", "minio"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Return an empty place of each kind of store in turn."""
    server: MinioServer | None = None if request.param == "folder" else request.getfixturevalue("minio")
    return empty_store(server, tmp_path)


def test_a_store_keeps_to_the_source_that_came_first(place: Store) -> None:
    """The same source comes again and again; another one is refused and changes nothing."""
    claim(place, MADE, "LAKEHOUSE_BRONZE_URL")
    claim(place, MADE, "LAKEHOUSE_BRONZE_URL")
    refusal = (
        rf"^{place.url} holds data of the simulator with seed 7, and this is the exchange: they must not mix; "
        r"choose another place in LAKEHOUSE_LAKE_URL$"
    )
    with pytest.raises(BadInput, match=refusal):
        claim(place, EXCHANGE, "LAKEHOUSE_LAKE_URL")
    assert read(place) == MADE


def test_of_two_sources_at_once_one_is_refused(place: Store) -> None:
    """Whichever was first: the stamp is made only where there is none."""

    def claimed(seed: int) -> bool:
        try:
            claim(place, {"source": "simulator", "seed": seed}, "LAKEHOUSE_BRONZE_URL")
        except BadInput:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(claimed, range(4))) == 1


def test_a_stamp_that_cannot_be_read_is_told(place: Store) -> None:
    """Nothing is guessed: the message says what to put there."""
    place.put(KEY, b"{")
    with pytest.raises(
        BadInput, match=rf"^cannot read source.json in {place.url}, .*: put \{{\"source\": \"exchange\"\}} or"
    ):
        claim(place, EXCHANGE, "LAKEHOUSE_BRONZE_URL")


def test_both_places_that_settings_name_are_stamped(place: Store, tmp_path: Path) -> None:
    """Bronze and the tables, each under its own setting; what lies in the data folder has the folder's stamp."""
    given: dict[str, Any] = {f"s3_{name}": value for name, value in place.options.items()}
    plan = Plan(Settings(bronze_url=f"{place.url}/bronze", lake_url=f"{place.url}/lake", data_dir=tmp_path, **given))
    claim_stores(plan)
    claim_stores(Plan(Settings(data_dir=tmp_path)))
    assert sorted(place.list()) == ["bronze/source.json", "lake/source.json"]
    with pytest.raises(BadInput, match=r"choose another place in LAKEHOUSE_BRONZE_URL$"):
        claim_stores(Plan(plan.settings, source="recorded"))


def test_a_platform_does_not_start_on_the_bronze_of_another_source(tmp_path: Path) -> None:
    """Before anything of it runs."""
    bronze = tmp_path / "bronze"
    bronze.mkdir()
    (bronze / KEY).write_bytes(encoded(MADE))
    done = subprocess.run(
        [sys.executable, "-c", "from lakehouse.cli import main; main()", "up", "--data", str(tmp_path / "data")],
        env={"LAKEHOUSE_BRONZE_URL": str(bronze), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    refusal = f"Error: {bronze} holds data of the simulator with seed 7, and this is the exchange: they must not mix"
    assert (done.returncode, done.stderr.splitlines()[-1].startswith(refusal)) == (1, True), done.stderr
