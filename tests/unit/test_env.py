"""The .env of docker-compose.yml, as `make env` writes it."""

import stat
from pathlib import Path

import pytest

from infra import env
from infra.env import Refused, read, write


def test_secrets_are_random_and_for_the_owner_alone(tmp_path: Path) -> None:
    """Two files share no secret, and each is readable by its owner only."""
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        write(file, ["core"])
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first, second = map(read, files)
    for name in env.SECRETS:
        assert len(first[name]) >= 16
        assert first[name] != second[name]
    assert len({first[name] for name in env.SECRETS}) == len(env.SECRETS)


def test_what_is_there_stays_and_what_is_missing_is_added(tmp_path: Path) -> None:
    """A second run changes nothing; a file without an end of line keeps its last one."""
    file = tmp_path / ".env"
    file.touch(mode=0o600)
    file.write_text("# ours\nLAKEHOUSE_SITE=lake.example.org\nPOSTGRES_PASSWORD=mine")
    added = write(file, ["core"])
    assert "POSTGRES_PASSWORD" not in added
    text = file.read_text()
    assert text.startswith("# ours\nLAKEHOUSE_SITE=lake.example.org\nPOSTGRES_PASSWORD=mine\nCOMPOSE_PROFILES=core\n")
    assert write(file, ["core"]) == []
    assert file.read_text() == text


def test_another_profile_is_refused_and_says_what_to_change(tmp_path: Path) -> None:
    """Nothing is overwritten; what only the former profile needs must go as well."""
    file = tmp_path / ".env"
    write(file, ["cluster"])
    text = file.read_text()
    with pytest.raises(
        Refused, match=r"not overwritten; write there: COMPOSE_PROFILES=core, no LAKEHOUSE_SPARK_MASTER, no"
    ):
        write(file, ["core"])
    assert file.read_text() == text


def test_an_own_value_for_what_no_profile_says_is_no_difference(tmp_path: Path) -> None:
    """A Spark master of one's own may stand in the file of any profile without one."""
    file = tmp_path / ".env"
    file.touch(mode=0o600)
    file.write_text("LAKEHOUSE_SPARK_MASTER=spark://ours:7077\n")
    write(file, ["core"])
    assert read(file)["LAKEHOUSE_SPARK_MASTER"] == "spark://ours:7077"


def test_profiles_add_up(tmp_path: Path) -> None:
    """The clusters on the simulator need what both need."""
    write(tmp_path / ".env", ["cluster", "demo"])
    said = read(tmp_path / ".env")
    assert said["COMPOSE_PROFILES"] == "cluster,demo"
    assert said["LAKEHOUSE_SOURCE"] == "simulator"
    assert said["LAKEHOUSE_DASK_SCHEDULER"] == "tcp://dask-scheduler:8786"


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """Secrets are not added where they would be seen."""
    file = tmp_path / ".env"
    file.write_text("A=1\n")
    file.chmod(0o644)
    with pytest.raises(Refused, match=r"others than its owner may read .*: chmod 600"):
        write(file, ["core"])
    assert file.read_text() == "A=1\n"


@pytest.mark.parametrize("profile", ["", "kubernetes", "core,,demo"])
def test_a_profile_that_there_is_not_is_refused(tmp_path: Path, profile: str) -> None:
    """The message names those that there are."""
    with pytest.raises(Refused, match=r"there is no profile .*: choose of core, cluster, demo, localstack"):
        write(tmp_path / ".env", profile.split(","))
    assert not (tmp_path / ".env").exists()
