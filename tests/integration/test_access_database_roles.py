"""What each of PostgreSQL's roles can do, by trying."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from lakehouse.access import audit
from lakehouse.database.connection import connect

pytestmark = pytest.mark.postgres
DENIED = psycopg.errors.InsufficientPrivilege


@pytest.fixture
def owner(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn) as opened:
        audit.record(opened, "cli:anna", "add user", "boris", {}, "done")
        yield opened


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE lake.audit SET outcome = 'nothing'",
        "DELETE FROM lake.audit",
        "TRUNCATE lake.audit",
        "DROP TABLE lake.audit",
        "ALTER TABLE lake.audit DISABLE TRIGGER audit_is_only_added_to",
        "ALTER TABLE lake.audit RENAME TO old_audit",
        "DROP TRIGGER audit_is_only_added_to ON lake.audit",
        "CREATE OR REPLACE FUNCTION lake.refuse_audit_change() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN RETURN NULL; END'",
        "CREATE RULE r AS ON INSERT TO lake.audit DO INSTEAD NOTHING",
        "INSERT INTO lake.audit (at, user_name, action, target, detail, outcome) "
        "VALUES ('2020-01-01', '', '', '', '{}', '')",
        "INSERT INTO lake.audit (audit_id, user_name, action, target, detail, outcome) OVERRIDING SYSTEM VALUE "
        "VALUES (1, '', '', '', '{}', '')",
        "GRANT lakehouse_owner TO lakehouse_app",
        "ALTER ROLE lakehouse_app SUPERUSER",
        "SET session_replication_role = replica",
        "CREATE TABLE lake.other (x int)",
        "CREATE TABLE public.other (x int)",
        "CREATE SCHEMA other",
        "COPY lake.audit TO PROGRAM 'cat'",
        "UPDATE public.lakehouse_migration SET checksum = ''",
    ],
)
def test_the_app_cannot_alter_the_audit_record_nor_its_own_rights(
    dsn: str, owner: Connection[Any], statement: str
) -> None:
    """It adds entries, whose number and time the database gives."""
    with connect(dsn, "lakehouse_app") as app:
        with pytest.raises(psycopg.Error) as caught:
            app.execute(statement.encode())
        assert isinstance(caught.value, DENIED)
        assert [entry.target for entry in audit.read(app)] == ["boris"]


def test_granting_changes_nothing_for_the_app(dsn: str, owner: Connection[Any]) -> None:
    """PostgreSQL only warns about a grant of what one does not hold."""
    with connect(dsn, "lakehouse_app") as app:
        app.execute("GRANT SELECT ON lake.audit TO lakehouse_read")
        app.execute("GRANT UPDATE ON lake.audit TO lakehouse_app WITH GRANT OPTION")
        with pytest.raises(DENIED):
            app.execute("UPDATE lake.audit SET outcome = ''")
    with connect(dsn, "lakehouse_read") as reader, pytest.raises(DENIED):
        reader.execute("SELECT count(*) FROM lake.audit")


@pytest.mark.parametrize(
    "statement", ["UPDATE lake.audit SET outcome = ''", "DELETE FROM lake.audit", "TRUNCATE lake.audit"]
)
def test_the_owner_does_not_alter_the_record_by_a_slip(owner: Connection[Any], statement: str) -> None:
    """Whoever may do everything is asked to mean it."""
    with pytest.raises(psycopg.errors.RaiseException, match=r"lake.audit is only added to: \w+ is refused"):
        owner.execute(statement.encode())
    assert [entry.target for entry in audit.read(owner)] == ["boris"]
    owner.execute("ALTER TABLE lake.audit DISABLE TRIGGER audit_is_only_added_to")
    owner.execute("DELETE FROM lake.audit")
    assert audit.read(owner) == []


def test_the_reader_reads_gold_alone(dsn: str, owner: Connection[Any]) -> None:
    """All of gold, of every other schema nothing; it writes nowhere."""
    tables = owner.execute(
        """
        SELECT n.nspname || '.' || quote_ident(relname), n.nspname = 'gold' FROM pg_class c
        JOIN pg_namespace n ON n.oid = relnamespace
        WHERE relkind IN ('r', 'v', 'p', 'm') AND nspname IN ('gold', 'lake', 'store', 'public')
        """
    ).fetchall()
    assert {name for name, _ in tables} >= {"gold.fact_candle", "lake.app_user", "lake.session", "lake.api_token"}
    with connect(dsn, "lakehouse_read") as reader:
        for name, is_gold in tables:
            if is_gold:
                reader.execute(f"SELECT * FROM {name} LIMIT 1")  # noqa: S608
            else:
                with pytest.raises(DENIED):
                    reader.execute(f"SELECT * FROM {name} LIMIT 1")  # noqa: S608
            for change in (f"DELETE FROM {name}", f"INSERT INTO {name} DEFAULT VALUES"):  # noqa: S608
                with pytest.raises(DENIED):
                    reader.execute(change.encode())
        for change in ("CREATE TABLE gold.x (x int)", "CREATE TABLE public.x (x int)", "CREATE SCHEMA x"):
            with pytest.raises(DENIED):
                reader.execute(change.encode())


def test_the_reader_reads_what_is_added_to_gold(dsn: str, owner: Connection[Any]) -> None:
    """A table that the next version makes needs no grant to be remembered."""
    owner.execute("CREATE TABLE gold.later (x int)")
    with connect(dsn, "lakehouse_read") as reader:
        assert reader.execute("SELECT * FROM gold.later").fetchall() == []
