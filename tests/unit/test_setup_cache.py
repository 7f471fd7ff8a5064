import os
import re
import sys
from pathlib import Path

import platformdirs
import pytest

from infra.installing.environment import ROOT
from infra.installing.jars import POM, ivy_module, pyspark_jars, read_checksums
from lakehouse.cache import cache_dir, user_cache_dir
from lakehouse.engines.jars import SparkNotInstalled, jar_paths, jars_dir, java_home

CHECKSUMS = ROOT / "infra" / "spark" / "jars.sha256"


def test_the_chosen_cache_folder_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """LAKEHOUSE_CACHE_DIR is taken as it is."""
    monkeypatch.setenv("LAKEHOUSE_CACHE_DIR", str(tmp_path))
    assert cache_dir() == tmp_path


def test_the_chosen_cache_folder_may_be_relative_or_in_the_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A relative folder means the same one after a change of folder, and ~ is the home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LAKEHOUSE_CACHE_DIR", "~/kept")
    assert cache_dir() == tmp_path / "kept"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAKEHOUSE_CACHE_DIR", "kept")
    assert cache_dir() == tmp_path / "kept"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's cache has this rule")
def test_roots_cache_is_where_other_users_may_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's home is closed to the database server's user, so root's cache is not there."""
    monkeypatch.delenv("LAKEHOUSE_CACHE_DIR", raising=False)
    assert cache_dir() == Path("/var/cache/lakehouse")


@pytest.mark.skipif(sys.platform != "linux", reason="platformdirs answers for its own platform")
@pytest.mark.parametrize("xdg", ["", "/elsewhere/cache"])
def test_a_users_cache_is_where_platformdirs_puts_it(monkeypatch: pytest.MonkeyPatch, xdg: str) -> None:
    """Set-up has no platformdirs yet and must agree with it."""
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    ours = user_cache_dir("linux", Path.home(), os.environ)
    assert ours == Path(platformdirs.user_cache_dir("lakehouse", appauthor=False))


def test_other_platforms_have_their_own_place(tmp_path: Path) -> None:
    """Caches are elsewhere on macOS and on Windows, which may move them by LOCALAPPDATA."""
    assert user_cache_dir("darwin", tmp_path, {}) == tmp_path / "Library" / "Caches" / "lakehouse"
    assert user_cache_dir("win32", tmp_path, {}) == tmp_path / "AppData" / "Local" / "lakehouse" / "Cache"
    assert user_cache_dir("win32", tmp_path, {"LOCALAPPDATA": "/moved"}) == Path("/moved/lakehouse/Cache")


def test_missing_jars_name_the_folder_and_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without set-up Spark cannot start, and the error says what to do."""
    monkeypatch.setenv("LAKEHOUSE_CACHE_DIR", str(tmp_path))
    with pytest.raises(SparkNotInstalled, match=f"jars are missing: {tmp_path}.* holds none; run make setup"):
        jar_paths()


def test_a_missing_java_says_where_it_was_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No JAVA_HOME, nothing on PATH, nothing installed."""
    monkeypatch.setenv("LAKEHOUSE_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(
        SparkNotInstalled, match=f"no Java 17 or later in JAVA_HOME, on PATH or in {tmp_path}.*run make"
    ):
        java_home()


def test_a_java_too_old_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """JAVA_HOME with Java 8 does not stop the Java that set-up installed from being found."""
    monkeypatch.setenv("LAKEHOUSE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(fake_java(tmp_path / "older", "11.0.2") / "bin"))
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "old", "1.8.0_402")))
    installed = fake_java(tmp_path / "cache" / "java" / "home", "21.0.8")
    assert java_home() == installed


def test_every_place_that_names_the_versions_of_spark_and_delta_agrees() -> None:
    """pyproject.toml, the POM, the checksums, the jars' folder and the Hadoop inside PySpark are changed together."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    delta = project.split('"delta-spark==')[1].split('"')[0]
    spark = project.split('"pyspark==')[1].split('"')[0]
    versions = pom_versions()
    hadoop = versions["hadoop-aws"]
    assert jars_dir().name == f"spark-{spark}-delta-{delta}-s3a-{hadoop}"
    assert {version for name, version in versions.items() if name.startswith("delta-")} == {delta}
    assert set(read_checksums(CHECKSUMS)) == {f"{name}-{version}.jar" for name, version in versions.items()}
    assert ivy_module(POM).count('transitive="false"') == len(versions)
    assert (pyspark_jars(Path(sys.prefix)) / f"hadoop-client-api-{hadoop}.jar").is_file()


def pom_versions() -> dict[str, str]:
    items = re.findall(r"<artifactId>(.*?)</artifactId><version>(.*?)</version></artifactItem>", POM.read_text())
    assert len(items) == len(dict(items))
    return dict(items)


def fake_java(home: Path, version: str) -> Path:
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)
    return home
