"""What /v1/health tells: each thing that may be wrong, by breaking it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection
from pydantic import SecretStr
from structlog.testing import capture_logs

from lakehouse.database.connection import connect
from lakehouse.jobs import schedules
from lakehouse.operations import health
from lakehouse.operations.health import Health, look
from lakehouse.operations.metrics import LakehouseCollector
from lakehouse.settings import Settings
from lakehouse.storage.store import open_store

pytestmark = pytest.mark.postgres


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn, "lakehouse_app") as conn:
        yield conn


@pytest.fixture
def settings(dsn: str, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, database_url=SecretStr(dsn), source="exchange")


@pytest.fixture(autouse=True)
def looked_anew() -> None:
    health._looks.clear()


def hear(conn: Connection[Any], *queues: str, ago: str = "0") -> None:
    """Have workers been heard."""
    for queue in queues:
        conn.execute(
            """
            INSERT INTO lake.worker_heard (queue, heard_at) VALUES (%s, now() - %s::interval)
            ON CONFLICT (queue) DO UPDATE SET heard_at = excluded.heard_at
            """,
            (queue, ago),
        )


def codes(found: Health) -> list[str]:
    return [reason.code for reason in found.reasons]


def test_all_is_well_while_both_workers_live(conn: Connection[Any], settings: Settings) -> None:
    """And says the version of the data."""
    hear(conn, "io", "spark")
    found = look(settings, conn)
    assert (found.status, found.reasons, found.data_version) == ("ok", (), 0)
    assert found.document()["ready"] is True


def test_a_worker_that_is_silent_is_missed(conn: Connection[Any], settings: Settings) -> None:
    """One that was never heard, and one that was heard long ago; where functions serve a queue, none is expected."""
    hear(conn, "io", ago="9050 s")
    found = look(settings, conn)
    assert (found.status, codes(found)) == ("degraded", ["no_worker", "no_worker"])
    silent, never = (reason.message.split(":")[0] for reason in found.reasons)
    assert re.fullmatch(r"no worker of the queue io was heard for 90\d\d s", silent)
    assert never == "no worker of the queue spark was heard yet"
    hear(conn, "spark")
    assert codes(look(settings.model_copy(update={"queue_prefix": "lakehouse"}), conn)) == []


def test_an_exchange_that_does_not_answer_is_told(conn: Connection[Any], settings: Settings) -> None:
    """With the time at which it is asked again."""
    hear(conn, "io", "spark")
    conn.execute("UPDATE lake.breaker SET since = now(), until = now() + interval '60 s', reason = '503'")
    assert codes(look(settings, conn)) == ["exchange_paused"]


def test_dead_letters_are_told(conn: Connection[Any], settings: Settings) -> None:
    """And how many there are."""
    hear(conn, "io", "spark")
    conn.execute("INSERT INTO procrastinate_jobs (queue_name, task_name, status) VALUES ('io', 'fetch', 'failed')")
    found = look(settings, conn)
    assert [(reason.code, reason.message) for reason in found.reasons] == [
        ("dead_letters", "dead letters: 1; `lakehouse jobs` says why")
    ]


def test_a_schedule_that_nobody_ran_is_told(conn: Connection[Any], settings: Settings) -> None:
    """When the time was long ago, and it is on; a run makes it good."""
    hear(conn, "io", "spark")
    with connect(settings.database_url.get_secret_value()) as owner:  # type: ignore[union-attr]
        owner.execute("UPDATE lake.schedule SET since = now() - interval '3 days' WHERE name = 'increment'")
    found = look(settings, conn)
    assert codes(found) == ["schedule_late"]
    assert "the schedule increment was due at " in found.reasons[0].message
    assert schedules.run_due(conn, dt.datetime.now(dt.UTC)) == ["increment"]
    assert codes(look(settings, conn)) == []


def test_a_store_that_is_away_is_told(conn: Connection[Any], settings: Settings) -> None:
    """It is looked for once in a while only, however many ask."""
    hear(conn, "io", "spark")
    away = settings.model_copy(
        update={
            "bronze_url": "s3://bucket",
            "s3_endpoint": "http://127.0.0.1:1",
            "s3_region": "x",
            "s3_access_key_id": "x",
            "s3_secret_access_key": SecretStr("secret of the store"),
        }
    )
    assert codes(look(away, conn)) == ["store_away"]
    open_store(settings.bronze_location).put("source.json", b"{}")
    assert codes(look(settings, conn)) == ["store_away"]
    health._looks.clear()
    assert codes(look(settings, conn)) == []


def test_a_sandbox_that_is_away_is_told(conn: Connection[Any], settings: Settings, tmp_path: Path) -> None:
    """Where one is to be; one that is off by the settings is as it should be."""
    hear(conn, "io", "spark")
    missed = settings.model_copy(update={"sandbox_socket": tmp_path / "none.sock"})
    assert codes(look(missed, conn)) == ["sandbox_off"]
    assert codes(look(missed.model_copy(update={"sandbox": "off"}), conn)) == ["sandbox_off"]
    health._looks.clear()
    assert codes(look(missed.model_copy(update={"sandbox": "off"}), conn)) == []


def test_reasons_hold_no_secret_and_no_path(conn: Connection[Any], settings: Settings, tmp_path: Path) -> None:
    """They are shown to whoever asks."""
    conn.execute("UPDATE lake.breaker SET since = now(), until = now(), reason = 'answered by secret.internal'")
    missed = settings.model_copy(update={"sandbox_socket": tmp_path / "none.sock"})
    said = str(look(missed, conn).document())
    assert "secret.internal" not in said
    assert str(tmp_path) not in said
    assert all(secret not in said for secret in settings.secrets)


def test_a_row_that_is_gone_makes_no_look_fail(conn: Connection[Any], settings: Settings) -> None:
    """The doctor names it; health and metrics are shown."""
    hear(conn, "io", "spark")
    with connect(settings.database_url.get_secret_value()) as owner:  # type: ignore[union-attr]
        owner.execute("DELETE FROM lake.breaker")
    assert look(settings, conn).status == "ok"
    collector = LakehouseCollector(settings, lambda: nullcontext(conn))
    with capture_logs() as said:
        values = {sample.name: sample.value for family in collector.collect() for sample in family.samples}
    assert values["lakehouse_database_up"] == 0
    assert [line["event"] for line in said] == ["operations.metrics_not_read"]
