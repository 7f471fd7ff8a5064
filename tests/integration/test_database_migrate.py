"""Migrations."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lakehouse.database.connection import connect
from lakehouse.database.migrate import FOLDER, MigrationError, migrate, read_migrations

pytestmark = pytest.mark.postgres


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the platform's migrations, to be added to."""
    return Path(shutil.copytree(FOLDER, tmp_path / "migrations"))


def test_the_second_run_applies_nothing(dsn: str) -> None:
    """A database that is up to date stays as it is."""
    assert migrate(dsn) == []
    with connect(dsn) as conn:
        rows = conn.execute("SELECT name FROM public.lakehouse_migration ORDER BY name").fetchall()
    assert [name for (name,) in rows] == [migration.name for migration in read_migrations()]


def test_what_is_new_is_applied_in_the_order_of_its_numbers(dsn: str, folder: Path) -> None:
    """A later migration may use what an earlier one made."""
    (folder / "9002_fill.sql").write_text("INSERT INTO lake.made VALUES (1);")
    (folder / "9001_make.sql").write_text("CREATE TABLE lake.made (x int); CREATE INDEX ON lake.made (x);")
    assert migrate(dsn, folder) == ["9001_make", "9002_fill"]
    assert migrate(dsn, folder) == []
    with connect(dsn) as conn:
        assert conn.execute("SELECT x FROM lake.made").fetchall() == [(1,)]


def test_an_edited_migration_is_refused(dsn: str, folder: Path) -> None:
    """What ran is what the file says, for ever."""
    file = folder / "0001_lake.sql"
    file.write_text(file.read_text(encoding="utf-8") + "\n-- edited\n", encoding="utf-8")
    with pytest.raises(MigrationError, match=r"migration 0001_lake was edited after it ran on this database: restore"):
        migrate(dsn, folder)


def test_a_database_of_a_newer_version_is_refused(dsn: str, folder: Path) -> None:
    """An older version does not touch a schema that it does not know."""
    newer = folder / "9001_newer.sql"
    newer.write_text("CREATE TABLE lake.newer ();")
    migrate(dsn, folder)
    newer.unlink()
    with pytest.raises(MigrationError, match=r"does not know \(9001_newer\): use the newer version"):
        migrate(dsn, folder)


def test_a_failing_migration_leaves_no_trace(dsn: str, folder: Path) -> None:
    """It is undone with its record; those before it stay; mended, it runs."""
    (folder / "9001_good.sql").write_text("CREATE TABLE lake.good ();")
    bad = folder / "9002_bad.sql"
    bad.write_text("CREATE TABLE lake.half (); SELECT 1/0;")
    with pytest.raises(MigrationError, match="migration 9002_bad failed and left nothing behind: division by zero"):
        migrate(dsn, folder)
    with connect(dsn) as conn:
        assert conn.execute("SELECT to_regclass('lake.good'), to_regclass('lake.half')").fetchone() == (
            "lake.good",
            None,
        )
    bad.write_text("CREATE TABLE lake.half ();")
    assert migrate(dsn, folder) == ["9002_bad"]


def test_two_at_once_apply_each_once(dsn: str, folder: Path) -> None:
    """Services that start together do not migrate against each other."""
    (folder / "9001_slow.sql").write_text("CREATE TABLE lake.slow (); SELECT pg_sleep(0.2);")
    with ThreadPoolExecutor(3) as threads:
        applied = list(threads.map(lambda _: migrate(dsn, folder), range(3)))
    assert sorted(applied) == [[], [], ["9001_slow"]]
