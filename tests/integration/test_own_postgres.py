"""A PostgreSQL of one's own: the owner of its database needs no superuser (docs/deploy.md)."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from lakehouse.access import users
from lakehouse.database.connection import connect
from lakehouse.database.logins import set_logins
from lakehouse.database.migrate import migrate
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.serving.publish import publish_gold, rebuild_serving
from lakehouse.serving.queries import candles, publication
from tests.gold_lake import GoldLake, instrument, random_facts

pytestmark = [pytest.mark.postgres]


@pytest.fixture
def own() -> Iterator[tuple[str, str]]:
    """Return the address of a database on a server where the platform never was, as its owner; and of its superuser."""
    folder = Path(tempfile.mkdtemp(prefix="lakehouse-test-"))
    folder.chmod(0o755)
    with EmbeddedPostgres(folder / "postgres", fsync=False) as server:
        password = secrets.token_hex(16)
        with connect(server.dsn) as conn:
            conn.execute(sql.SQL("CREATE ROLE lakehouse LOGIN CREATEROLE PASSWORD {}").format(sql.Literal(password)))
            conn.execute("CREATE DATABASE lakehouse OWNER lakehouse")
        yield make_conninfo(server.dsn, user="lakehouse", password=password, dbname="lakehouse"), server.dsn
    shutil.rmtree(folder)


def test_the_owner_of_the_database_needs_no_superuser(own: tuple[str, str], tmp_path: Path) -> None:
    """It migrates, publishes, builds anew and makes logins, of which each reads or writes what its role may."""
    owner, _ = own
    lake = GoldLake(tmp_path)
    facts = random_facts(1, instruments=2, days=30)
    lake.create(facts, [instrument(1, "SBER"), instrument(2, "GAZP")])

    migrate(owner)
    passwords = {"lakehouse_web": secrets.token_hex(16), "lakehouse_reader": secrets.token_hex(16)}
    with connect(owner) as conn:
        set_logins(conn, passwords)
        assert conn.info.parameter_status("is_superuser") == "off"
    publish_gold(owner, lake.lake)
    rebuild_serving(owner, lake.lake)

    web, reader = (make_conninfo(owner, user=name, password=password) for name, password in passwords.items())
    with connect(web, "lakehouse_app") as conn:
        users.create_user(conn, "anna", secrets.token_hex(8), "analyst")
        assert publication(conn).data_version > 0
    with connect(reader, "lakehouse_read") as conn:
        assert len(candles(conn, "SBER", None, "1d").rows) > 0
    with connect(owner) as conn:
        assert "anna" in [user.name for user in users.list_users(conn)]


def test_a_migrated_database_needs_no_createrole(own: tuple[str, str]) -> None:
    """Once the roles are there the owner may lose CREATEROLE: the next start migrates nothing and goes on."""
    owner, superuser = own
    migrate(owner)
    with connect(superuser) as conn:
        conn.execute("ALTER ROLE lakehouse NOCREATEROLE")

    assert migrate(owner) == []
    with connect(owner) as conn:
        assert users.ensure_admin(conn)
