"""Numbered migrations, forward only, each in one transaction with the record that it ran."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection

from lakehouse.database.connection import connect
from lakehouse.market.errors import LakehouseError

FOLDER = Path(__file__).parent / "migrations"
_LOCK = 7_305_148_221  # any number: one migrator at a time


class MigrationError(LakehouseError):
    """The database's schema is not one that these migrations made."""


@dataclass(frozen=True)
class Migration:
    """One file of SQL."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(folder: Path = FOLDER) -> list[Migration]:
    """Return the migrations in *folder* in the order of their numbers."""
    return [Migration(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("[0-9]*.sql"))]


def unknown(applied: Mapping[str, str]) -> list[str]:
    """Return the names of those migrations, of *applied* with their checksums, that are not of this version."""
    known = {migration.name: migration.checksum for migration in read_migrations()}
    return sorted(name for name, checksum in applied.items() if known.get(name) != checksum)


def migrate(dsn: str, folder: Path = FOLDER) -> list[str]:
    """
    Bring the schema up to date; return the names of what was applied now.

    A migration that fails leaves no trace. Raises MigrationError for that, and when an applied one was edited or is
    unknown here.
    """
    with connect(dsn) as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        try:
            return _apply(conn, read_migrations(folder))
        finally:
            conn.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def _apply(conn: Connection[Any], migrations: list[Migration]) -> list[str]:
    conn.execute(
        """
        CREATE TABLE IF NOT EXISTS public.lakehouse_migration (
            name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
        """
    )
    applied = dict(conn.execute("SELECT name, checksum FROM public.lakehouse_migration").fetchall())
    known = {migration.name for migration in migrations}
    if unknown := sorted(set(applied) - known):
        raise MigrationError(
            f"the database holds migrations this version does not know ({', '.join(unknown)}): use the newer version"
        )
    todo = []
    for migration in migrations:
        if migration.name not in applied:
            todo.append(migration)
        elif applied[migration.name] != migration.checksum:
            raise MigrationError(
                f"migration {migration.name} was edited after it ran on this database: "
                "restore the file, and put the change into a new migration"
            )
    for migration in todo:
        try:
            _run(conn, migration)
        except psycopg.Error as error:
            raise MigrationError(f"migration {migration.name} failed and left nothing behind: {error}") from error
    return [migration.name for migration in todo]


def _run(conn: Connection[Any], migration: Migration) -> None:
    with conn.transaction():
        conn.execute(migration.sql.encode())
        conn.execute(
            "INSERT INTO public.lakehouse_migration (name, checksum) VALUES (%s, %s)",
            (migration.name, migration.checksum),
        )
