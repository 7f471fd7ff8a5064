"""``lakehouse migrate`` and ``lakehouse buckets``, which services of their own containers find done."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from lakehouse.database.connection import connect
from lakehouse.database.logins import ROLE_BY_LOGIN
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.storage.buckets import admit, send_events
from lakehouse.storage.minio import MinioServer
from lakehouse.storage.s3 import StoreRefused
from lakehouse.storage.store import open_store
from tests.stores import make_bucket, options
from tests.up_process import COMMAND

ARN = "arn:minio:sqs::lake:webhook"
FIRST, SECOND = "a-first-password-of-it", "another-password-of-it"


@pytest.fixture
def empty_dsn(postgres: EmbeddedPostgres) -> Iterator[str]:
    """Return a database without anything in it; the logins are the server's, so they go as well."""
    name = f"empty_{uuid.uuid4().hex}"
    with connect(postgres.dsn) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield make_conninfo(postgres.dsn, dbname=name)
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        for login in ROLE_BY_LOGIN:
            conn.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(login)))


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
    given = {f"LAKEHOUSE_{name.upper()}": value for name, value in settings.items()}
    return subprocess.run([*COMMAND, *arguments], env={**environ, **given}, capture_output=True, text=True)


def can_log_in(dsn: str, login: str, password: str) -> bool:
    try:
        psycopg.connect(make_conninfo(dsn, user=login, password=password)).close()
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            return False
        raise
    return True


@pytest.mark.postgres
def test_migrate_makes_schema_and_logins_and_changes_passwords(empty_dsn: str) -> None:
    """A second run finds the schema, and sets the passwords that are said then."""
    first = run("migrate", database_url=empty_dsn, app_password=FIRST, read_password=FIRST)
    assert first.returncode == 0, first.stderr
    assert "0001_lake" in first.stdout
    assert all(can_log_in(empty_dsn, login, FIRST) for login in ROLE_BY_LOGIN)
    again = run("migrate", database_url=empty_dsn, app_password=SECOND)
    assert again.returncode == 0, again.stderr
    assert "migrations applied now: none" in again.stdout
    assert can_log_in(empty_dsn, "lakehouse_web", SECOND)
    assert not can_log_in(empty_dsn, "lakehouse_web", FIRST)
    assert can_log_in(empty_dsn, "lakehouse_reader", FIRST)
    assert FIRST not in first.stdout + first.stderr + again.stdout + again.stderr


@pytest.mark.postgres
def test_a_login_has_its_role_and_no_more(empty_dsn: str) -> None:
    """It makes no roles or databases, and is a member of one role."""
    run("migrate", database_url=empty_dsn, app_password=FIRST, read_password=FIRST)
    with connect(empty_dsn) as conn:
        rows = conn.execute(
            """
            SELECT r.rolname, m.rolname, r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication
            FROM pg_roles r JOIN pg_auth_members a ON a.member = r.oid JOIN pg_roles m ON m.oid = a.roleid
            WHERE r.rolname = ANY(%s)
            """,
            (list(ROLE_BY_LOGIN),),
        ).fetchall()
    assert {login: role for login, role, _ in rows} == ROLE_BY_LOGIN
    assert not any(may_more for _, _, may_more in rows)


@pytest.mark.postgres
def test_a_reader_writes_nothing_and_holds_up_nobody(empty_dsn: str) -> None:
    """No temporary table, no large object, no lock that others wait for; few connections, and statements that end."""
    run("migrate", database_url=empty_dsn, app_password=FIRST, read_password=FIRST)
    reader, web = (
        make_conninfo(empty_dsn, user=login, password=FIRST) for login in ("lakehouse_reader", "lakehouse_web")
    )
    with connect(empty_dsn) as conn:
        locks = [name for (name,) in conn.execute(
            "SELECT DISTINCT oid::regprocedure::text FROM pg_proc WHERE proname LIKE '%advisory%' ORDER BY 1"
        )]  # fmt: skip
    assert len(locks) >= 20
    with connect(reader) as conn:
        for statement in (
            "CREATE TEMP TABLE x AS SELECT 1",
            "SELECT lo_from_bytea(0, 'x')",
            "SELECT lo_create(0)",
            "SELECT lo_creat(-1)",
            "SELECT lo_export(1, '/tmp/x')",
            *(f"SELECT {lock.replace('bigint', '1').replace('integer', '1')}" for lock in locks),
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement.encode())
        assert conn.execute("SHOW statement_timeout").fetchone() == ("10min",)
        assert conn.execute("SHOW temp_file_limit").fetchone() == ("4GB",)
        with ExitStack() as held, pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            assert [held.enter_context(connect(reader)) for _ in range(30)] == []
    with connect(web) as conn, conn.transaction():
        conn.execute("CREATE TEMP TABLE x AS SELECT 1")
        conn.execute("SELECT pg_advisory_xact_lock(1)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SELECT lo_export(1, '/tmp/x')")


def test_migrate_without_a_database_says_what_to_set() -> None:
    """It never starts one of its own."""
    ran = run("migrate")
    assert (ran.returncode, ran.stderr) == (
        1,
        "Error: LAKEHOUSE_DATABASE_URL is not set: name the database, as its owner\n",
    )


def test_a_short_password_is_refused(tmp_path: Path) -> None:
    """Before anything is asked of the database."""
    ran = run("migrate", database_url="postgresql://nobody@127.0.0.1:1/none", app_password="short")
    assert ran.returncode == 1
    assert "LAKEHOUSE_APP_PASSWORD" in ran.stderr


def test_buckets_are_made_once_and_stamped(minio: MinioServer) -> None:
    """Of another source they are refused, as the data must not mix."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3 = {f"s3_{key}": value for key, value in options(minio).items()}
    urls = {"bronze_url": f"s3://{name}-bronze", "lake_url": f"s3://{name}-tables/lake"}
    first = run("buckets", source="exchange", **urls, **s3)
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"buckets made now: {name}-bronze, {name}-tables\n"
    assert run("buckets", source="exchange", **urls, **s3).stdout == "buckets made now: none, they are there\n"
    assert open_store(urls["lake_url"], options(minio)).exists("source.json")
    other = run("buckets", source="simulator", **urls, **s3)
    assert other.returncode == 1
    assert "holds data of the exchange, and this is the simulator with seed 1" in other.stderr


def test_the_user_of_the_buckets_has_them_alone(minio: MinioServer) -> None:
    """It reads, writes and lists there, and makes no bucket, user or event; a changed secret is the one that counts."""
    name, user = f"bucket-{uuid.uuid4().hex[:12]}", f"user-{uuid.uuid4().hex[:8]}"
    root = {"minio_root_user": minio.access_key_id, "minio_root_password": minio.secret_access_key}
    urls = {"bronze_url": f"s3://{name}", "lake_url": f"s3://{name}/lake"}
    other = make_bucket(minio)
    for secret in (FIRST, SECOND):
        reached = {**options(minio), "access_key_id": user, "secret_access_key": secret}
        s3 = {f"s3_{key}": value for key, value in reached.items()}
        ran = run("buckets", **urls, **s3, **root)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.endswith("the user of LAKEHOUSE_S3_ACCESS_KEY_ID has these buckets, and no others\n")
        assert not [each for each in (minio.secret_access_key, secret, user) if each in ran.stdout + ran.stderr]
        store = open_store(urls["bronze_url"], reached)
        store.put("iss/x", b"x")
        assert (store.get("iss/x"), list(store.list("iss/"))) == (b"x", ["iss/x"])
        store.delete(["iss/x"])
        assert list(store.list("iss/")) == []
    refused = run("buckets", **{**urls, "bronze_url": f"s3://{name}-more"}, **s3)
    assert refused.returncode == 1
    assert f"cannot make the bucket {name}-more" in refused.stderr
    with pytest.raises(StoreRefused):
        open_store(f"s3://{other}", reached).put("iss/x", b"")
    with pytest.raises(StoreRefused):
        send_events(urls["bronze_url"], ARN, reached)
    with pytest.raises(StoreRefused, match="LAKEHOUSE_MINIO_ROOT_USER"):
        admit(reached, reached, [urls["bronze_url"]])


def test_a_root_that_is_half_said_is_told() -> None:
    """With what is missing, before the store is asked."""
    urls = {"bronze_url": "s3://bucket", "lake_url": "s3://bucket/lake"}
    ran = run("buckets", **urls, minio_root_user="root", s3_endpoint="http://127.0.0.1:1", s3_access_key_id="x")
    missing = "LAKEHOUSE_MINIO_ROOT_PASSWORD, LAKEHOUSE_S3_SECRET_ACCESS_KEY"
    assert (ran.returncode, ran.stderr) == (1, f"Error: to make a user of MinIO, set {missing} as well\n")


def test_an_unknown_target_of_events_is_told(minio: MinioServer) -> None:
    """The store knows it by a setting of its own."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3 = {f"s3_{key}": value for key, value in options(minio).items()}
    ran = run(
        "buckets",
        "--events",
        "arn:minio:sqs::other:webhook",
        bronze_url=f"s3://{name}",
        lake_url=f"s3://{name}/x",
        **s3,
    )
    assert ran.returncode == 1
    assert f"cannot have {name} tell arn:minio:sqs::other:webhook of objects" in ran.stderr


def test_folders_need_no_buckets() -> None:
    """It says which settings are meant."""
    ran = run("buckets")
    assert ran.returncode == 1
    assert "LAKEHOUSE_BRONZE_URL and LAKEHOUSE_LAKE_URL must be s3://BUCKET/PREFIX" in ran.stderr
