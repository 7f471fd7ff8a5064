"""`lakehouse doctor`: each thing is broken, and named with what to do."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from psycopg import Connection
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from lakehouse.cli import lakehouse
from lakehouse.database.connection import connect
from lakehouse.doctor.finding import Finding, Site
from lakehouse.doctor.looking import CHECKS
from lakehouse.market.candle import CALENDAR
from lakehouse.ports import free_port
from lakehouse.settings import Settings
from lakehouse.storage.store import open_store

pytestmark = pytest.mark.postgres


@pytest.fixture
def site(dsn: str, tmp_path: Path) -> Site:
    """Return a platform that is well, as far as it is there."""
    with connect(dsn) as conn:
        conn.execute("INSERT INTO lake.worker_heard (queue) VALUES ('io'), ('spark')")
        conn.execute(
            """
            INSERT INTO lake.audit (user_name, action, target, detail, outcome)
            VALUES ('anna', 'backup', '', '{}', 'done')
            """
        )
    return Site(Settings(data_dir=tmp_path, database_url=SecretStr(dsn), sandbox="off", port=free_port()))


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn) as conn:
        yield conn


def found(site: Site, check: str) -> list[Finding]:
    return list(CHECKS[check](site))


def trouble(site: Site, check: str) -> tuple[str, str, str]:
    """Return check, level and message of the one thing that is not well, which says what to do."""
    (one,) = [each for each in found(site, check) if each.level in ("warning", "failed")]
    assert one.remedy
    return one.check, one.level, one.message


def other(site: Site, **changes: Any) -> Site:
    return Site(site.settings.model_copy(update=changes), site.asks_exchange)


def test_nothing_is_wrong_where_all_is_well(site: Site) -> None:
    """Neither failed nor to be warned of; what was not looked at says why."""
    for check in CHECKS:
        for each in found(site, check):
            assert each.level in ("ok", "skipped"), each
            assert each.message


NO_BACKUP = "ALTER TABLE lake.audit DISABLE TRIGGER audit_is_only_added_to; DELETE FROM lake.audit"
OLD_BACKUP = """
    ALTER TABLE lake.audit DISABLE TRIGGER audit_is_only_added_to;
    UPDATE lake.audit SET at = now() - interval '8 days'
"""
BROKEN = {
    "a migration that did not run": (
        "schema",
        "DELETE FROM public.lakehouse_migration WHERE name = '0018_counters'",
        "failed",
        "migrations have not run: 0018_counters",
    ),
    "a migration that was edited": (
        "schema",
        "UPDATE public.lakehouse_migration SET checksum = 'x' WHERE name = '0001_lake'",
        "failed",
        "migrations were edited after they ran: 0001_lake",
    ),
    "a newer schema": (
        "schema",
        "INSERT INTO public.lakehouse_migration VALUES ('9999_later', 'x')",
        "failed",
        "it is a newer version's (9999_later)",
    ),
    "a row that is gone": ("state", "DELETE FROM lake.breaker", "failed", "lake.breaker has no row"),
    "a worker that is silent": (
        "queue",
        "UPDATE lake.worker_heard SET heard_at = now() - interval '2 minutes' WHERE queue = 'io'",
        "failed",
        "none is heard of: io",
    ),
    "a dead letter": (
        "queue",
        "INSERT INTO procrastinate_jobs (queue_name, task_name, status) VALUES ('io', 'fetch', 'failed')",
        "warning",
        "dead letters: 1",
    ),
    "a message that is stuck": (
        "queue",
        """
        INSERT INTO procrastinate_jobs (queue_name, task_name, status) VALUES ('io', 'fetch', 'doing');
        INSERT INTO procrastinate_events (job_id, type, at) SELECT id, 'started', now() - interval '3 hours'
            FROM procrastinate_jobs
        """,
        "warning",
        "is being done for more than 2 h",
    ),
    "a schedule that nobody ran": (
        "schedules",
        "UPDATE lake.schedule SET since = now() - interval '3 days' WHERE name = 'increment'",
        "warning",
        "increment was due at ",
    ),
    "an exchange that does not answer": (
        "schedules",
        "UPDATE lake.breaker SET since = now(), until = now(), reason = 'timeout'",
        "warning",
        "it does not answer since ",
    ),
    "no backup": ("backups", NO_BACKUP, "warning", "none was ever made"),
    "an old backup": (
        "backups",
        OLD_BACKUP,
        "warning",
        "the last was made 8 days ago",
    ),
    "an object that is lost": (
        "ledger",
        """
        INSERT INTO lake.bronze_object (object_key, family, engine, market, board, secid, timeframe, span, complete,
            fetched_at, rows, pages, end_proof)
        VALUES ('iss/a/b', 'candles', '', '', '', '', '', '[2020-01-01,2020-01-02)', true, now(), 0, 0, '')
        """,
        "failed",
        "1 of 1 objects looked for are not in Bronze: iss/a/b",
    ),
    "a table that was deleted": (
        "versions",
        "INSERT INTO lake.progress (table_name, delta_version, run_id) VALUES ('silver.candles', 3, 'r')",
        "warning",
        "silver.candles is not there, and version 3 is recorded",
    ),
}


@pytest.mark.parametrize(("table", "station"), [("silver.candles", "silver"), ("gold.fact_candle", "gold")])
def test_a_table_is_made_anew_from_the_station_before_it(
    site: Site, conn: Connection[Any], table: str, station: str
) -> None:
    """The remedy for one that was deleted makes that table: Silver from Bronze, Gold from Silver."""
    conn.execute("INSERT INTO lake.progress (table_name, delta_version, run_id) VALUES (%s, 3, 'r')", (table,))
    (finding,) = found(site, "versions")
    assert finding.remedy == f"the next merge derives it anew; at once: lakehouse rebuild {station}"


@pytest.mark.parametrize(("check", "statement", "level", "message"), BROKEN.values(), ids=BROKEN)
def test_what_the_database_shows_is_named(
    site: Site, conn: Connection[Any], check: str, statement: str, level: str, message: str
) -> None:
    """Whatever is broken in it, each by itself."""
    conn.execute(statement.encode())
    _, was, said = trouble(site, check)
    assert was == level
    assert message in said


def test_a_database_that_is_away_is_named_and_the_rest_is_looked_at(site: Site) -> None:
    """What needs the database is left out, the store is not."""
    away = other(site, database_url=SecretStr(make_conninfo(site.dsn or "", port=1)))
    check, level, message = trouble(away, "postgresql")
    assert (check, level) == ("database", "failed")
    assert message.startswith("it does not answer: connection failed")
    assert [each.level for each in found(away, "queue")] == ["skipped"]
    assert [each.level for each in found(away, "store")] == ["ok"]


def test_a_database_that_was_never_migrated_is_named(site: Site, conn: Connection[Any], dsn: str) -> None:
    """And what makes it one of ours."""
    conn.execute("DROP TABLE public.lakehouse_migration")
    assert trouble(site, "schema")[2] == "there is none yet"


def test_a_user_who_may_not_act_for_us_is_named(site: Site, conn: Connection[Any], dsn: str) -> None:
    """The address of the database names somebody who is not of the app's role; to who is, all can be shown."""
    conn.execute("DROP ROLE IF EXISTS doctor_stranger")
    conn.execute("CREATE ROLE doctor_stranger LOGIN PASSWORD 'x'")
    conn.execute("GRANT SELECT ON public.lakehouse_migration TO doctor_stranger")
    try:
        stranger = other(site, database_url=SecretStr(make_conninfo(dsn, user="doctor_stranger", password="x")))
        assert trouble(stranger, "schema")[2] == "we may not act as lakehouse_app"
        conn.execute("REVOKE SELECT ON public.lakehouse_migration FROM doctor_stranger")
        conn.execute("GRANT lakehouse_app TO doctor_stranger")
        for check in CHECKS:
            assert {each.level for each in found(other(stranger), check)} <= {"ok", "skipped"}, check
    finally:
        conn.execute("DROP OWNED BY doctor_stranger")
        conn.execute("DROP ROLE doctor_stranger")


def test_a_store_that_is_away_is_named(site: Site) -> None:
    """With the settings that say where it is."""
    away = {"bronze_url": "s3://bucket", "s3_endpoint": "http://127.0.0.1:1", "s3_region": "x"}
    keys = {"s3_access_key_id": "x", "s3_secret_access_key": SecretStr("the store's secret")}
    check, level, message = trouble(other(site, **away, **keys), "store")
    assert (check, level) == ("store", "failed")
    assert "did not answer" in message


def test_a_table_that_is_damaged_is_named(site: Site) -> None:
    """With the command that makes it anew."""
    table = site.data / CALENDAR.name.replace(".", "/")
    table.parent.mkdir(parents=True)
    pl.DataFrame({"a": [1]}).write_delta(table)
    assert [each.message for each in found(site, "tables")] == ["1 can be read"]
    for file in table.glob("*.parquet"):
        file.write_bytes(b"no parquet")
    check, level, message = trouble(site, "tables")
    assert (check, level) == ("tables", "failed")
    assert message.startswith("silver.calendar cannot be read: ")


def test_secrets_that_others_can_read_are_named(site: Site) -> None:
    """And how to close them."""
    secret = site.data / "postgres.password"
    secret.write_text("x")
    secret.chmod(0o644)
    assert trouble(site, "secrets") == ("secrets", "failed", f"{secret} can be read by others")


def test_a_port_that_is_taken_is_named(site: Site, tmp_path: Path) -> None:
    """Where no platform runs: its own port is its own."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        idle = other(site, database_url=None, port=number)
        assert trouble(idle, "port") == ("port", "failed", f"{number} is taken by another program")


def test_what_set_up_did_not_install_is_named(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark's jars and its Java; and a jar that is another than its checksum says."""
    monkeypatch.setenv("LAKEHOUSE_CACHE_DIR", str(tmp_path / "empty"))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert trouble(site, "jars")[1] == "failed"
    assert trouble(site, "java")[1] == "failed"
    from lakehouse.engines.jars import jars_dir

    jars_dir().mkdir(parents=True)
    (jars_dir() / "delta-spark_4.2_2.13-4.4.0.jar").write_bytes(b"another")
    assert "missing: " in trouble(site, "jars")[2]


def test_a_sandbox_that_is_away_is_named(site: Site) -> None:
    """All else works without it."""
    (site.data / "sandbox.sock").touch()
    check, level, _ = trouble(other(site, sandbox="auto"), "sandbox")
    assert (check, level) == ("sandbox", "warning")


def test_the_exchange_is_asked_only_when_that_is_wanted(site: Site, simulator: str) -> None:
    """One question; one that does not answer is named."""
    assert [each.level for each in found(site, "exchange")] == ["skipped"]
    asking = Site(site.settings.model_copy(update={"iss_url": simulator}), asks_exchange=True)
    assert found(asking, "exchange")[0].level == "ok"
    away = Site(site.settings.model_copy(update={"iss_url": "http://127.0.0.1:1/iss"}), asks_exchange=True)
    assert trouble(away, "exchange")[:2] == ("exchange", "failed")


def test_made_data_never_ask_the_real_exchange(site: Site) -> None:
    """Whatever the settings say."""
    (site.data / "source.json").write_text('{"source": "simulator", "seed": 1}')
    asking = Site(site.settings, asks_exchange=True)
    assert [(each.level, each.message) for each in found(asking, "exchange")] == [
        ("skipped", "the data are of the simulator")
    ]


def test_the_doctor_leaves_nothing_behind(site: Site) -> None:
    """Of what it writes to see whether it can."""
    found(site, "store")
    assert list(open_store(site.settings.bronze_location).list()) == []


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, **environment: str) -> Any:
    monkeypatch.setenv("LAKEHOUSE_SANDBOX", "off")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(lakehouse, ["doctor", *arguments])


def test_the_command_says_what_to_do_and_ends_with_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A line each; a misspelt setting stops it, as no other could be believed."""
    done = run(monkeypatch, "--data", str(tmp_path), LAKEHOUSE_DATAA="x")
    assert done.exit_code == 1
    assert done.output.startswith("failed   settings     unknown setting LAKEHOUSE_DATAA; known are ")
    assert "\n                      -> mend the environment" in done.output


def test_the_command_speaks_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With no platform running nothing fails: what could not be looked at says so."""
    done = run(monkeypatch, "--json", "--data", str(tmp_path), LAKEHOUSE_PORT=str(free_port()))
    assert done.exit_code == 0, done.output
    findings = json.loads(done.output)
    assert {each["check"] for each in findings} >= {"settings", "python", "jars", "database", "store"}
    assert all(set(each) == {"check", "level", "message", "remedy"} for each in findings)
    assert "failed" not in {each["level"] for each in findings}
