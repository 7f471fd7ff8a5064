"""The way up from the first schema that landed: what people have comes along, and what is new is in force."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection, sql

from lakehouse.database.binaries import find
from lakehouse.database.connection import connect
from lakehouse.database.migrate import FOLDER, MigrationError, migrate, read_migrations

pytestmark = pytest.mark.postgres
FIRST = ("0001_lake", "0002_procrastinate", "0003_gold")

# A row of what a later migration made, put there once it ran alone
ROWS = {
    "0006_volumes": """
        INSERT INTO lake.volume_gap (engine, market, board, secid, timeframe, trade_date, state, measure, day_volume,
            intraday_volume, object_key) VALUES ('stock', 'shares', 'TQBR', 'SBER', '1m', '2024-01-03', 'differs',
            'volume', 24238030, 24238029, 'a minute object')
        """,
    "0007_quarantine": """
        INSERT INTO lake.quarantine VALUES ('a key#1.0', 'silver.candles', 'stock', 'shares', 'TQBR', 'SBER', '1d',
            'high < low', '[]', '2024-01-06 00:00:00+00');
        INSERT INTO lake.quarantine_count VALUES ('silver.candles', 'high < low', 1)
        """,
    "0015_access": """
        INSERT INTO lake.api_token (token_hash, user_id, name, role, is_read_only, expires_at)
            VALUES ('\\x01', 1, 'nightly', 'viewer', true, '2025-01-01 00:00:00+00');
        INSERT INTO lake.login_place (user_id, place) VALUES (1, '127.0.0.0/24')
        """,
    "0020_price_jumps": """
        INSERT INTO lake.price_jump VALUES (1, '2024-08-19 21:00:00+00', '2024-08-20', 'BELU', '2024-08-19', 2747,
            340.8, 1, 1, 8)
        """,
    "0018_counters": "INSERT INTO lake.worker_heard (queue) VALUES ('spark')",
    "0010_uploads": "INSERT INTO lake.upload (upload_key, mark, state) VALUES ('uploads/a.json', '\"e\"', 'imported')",
    "0011_queue_and_schedules": """
        INSERT INTO lake.wake (message_id) VALUES (1);
        INSERT INTO lake.function_worker VALUES (1);
        INSERT INTO lake.dead_letter (message_id, reason) VALUES (1, 'it failed four times');
        INSERT INTO lake.schedule_run (name, due_at, job_id) VALUES ('care', '2024-01-07 02:30:00+00', 1)
        """,
    "0014_sandbox": """
        INSERT INTO lake.analysis (user_id, name, code, selection) VALUES (1, 'mine', 'print(df)', '{}');
        INSERT INTO lake.sandbox_run (run_id, user_name, code, code_sha256, selection, data_version, data_rows,
            data_bytes, data_sha256, limits) VALUES ('3f2504e0-4f89-41d3-9a0c-0305e82c3301', 'admin', 'print(df)', 'x',
            '{}', 1, 1, 1, 'x', '{}');
        INSERT INTO lake.sandbox_run_end (run_id, status, wall_s, cpu_s, peak_bytes, items, result_bytes, result_sha256,
            is_truncated) VALUES ('3f2504e0-4f89-41d3-9a0c-0305e82c3301', 'done', 1, 1, 1, 1, 1, 'x', false)
        """,
}
# What a migration removes by intent: failures of the last minutes counted in another way
REMOVED = {("0015_access", "lake.login_attempt")}


def rows(conn: Connection[Any]) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of all tables, those of partitions with their parent."""
    names = conn.execute(
        """
        SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('lake', 'gold', 'store', 'public') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        """
    ).fetchall()
    return {
        name: [row for (row,) in conn.execute(sql.SQL("SELECT to_jsonb(t) FROM {} t").format(sql.SQL(name)))]
        for (name,) in names
    }


def schema(dsn: str) -> str:
    """Return the schema in words, without the partition that only the landed one holds and pg_dump's random key."""
    command = [str(find() / "pg_dump"), "--dbname", dsn, "--schema-only", "--exclude-table=store.fact_candle_1"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return "\n".join(line for line in text.splitlines() if not line.startswith("\\"))


def test_what_people_have_comes_along_from_the_first_schema(landed: str, dsn: str, tmp_path: Path) -> None:
    """Each migration alone onto the one before: every row of every table is kept, and the schema ends as a new one."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    with connect(landed) as conn:
        assert [name for name, found in rows(conn).items() if not found] == []
        for migration in read_migrations():
            shutil.copy(FOLDER / f"{migration.name}.sql", folder)
            if migration.name in FIRST:
                continue
            before = rows(conn)
            assert migrate(landed, folder) == [migration.name]
            after = rows(conn)
            for table, kept in before.items():
                if (migration.name, table) in REMOVED:
                    continue
                gone = [row for row in kept if not any(row.items() <= now.items() for now in after.get(table, []))]
                assert (migration.name, table, gone) == (migration.name, table, [])
            conn.execute(ROWS.get(migration.name, "SELECT").encode())
    assert schema(landed) == schema(dsn)


def test_constraints_are_in_force_behind_the_way_up(landed: str) -> None:
    """The first ones as well as the later ones, on rows old and new."""
    migrate(landed)
    with connect(landed) as conn:
        assert conn.execute("SELECT conname FROM pg_constraint WHERE NOT convalidated").fetchall() == []
        conn.execute("UPDATE lake.coverage SET state = 'provisional'")
        with pytest.raises(psycopg.errors.CheckViolation):
            conn.execute("UPDATE lake.coverage SET state = 'guessed'")
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            conn.execute("DELETE FROM lake.job")
        conn.execute("INSERT INTO lake.app_user (name, password_hash, role) VALUES ('anna', 'x', 'viewer')")
        assert conn.execute("SELECT user_id FROM lake.app_user WHERE name = 'anna'").fetchone() == (2,)
        with pytest.raises(psycopg.errors.UniqueViolation):
            conn.execute("INSERT INTO lake.app_user (name, password_hash, role) VALUES ('admin', 'x', 'viewer')")
    with connect(landed, "lakehouse_app") as app, pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute("DELETE FROM lake.audit")


def test_a_first_migration_that_was_edited_is_refused(landed: str, tmp_path: Path) -> None:
    """What people have names the checksums that landed: an edit of one of those files would shut them out."""
    folder = Path(shutil.copytree(FOLDER, tmp_path / "migrations"))
    file = folder / "0003_gold.sql"
    file.write_text(file.read_text(encoding="utf-8").replace("bigint", "integer"), encoding="utf-8")
    with pytest.raises(MigrationError, match=r"migration 0003_gold was edited after it ran on this database: restore"):
        migrate(landed, folder)


def test_two_processes_at_once_bring_it_up_once(landed: str) -> None:
    """Containers that start together wait for each other; each migration runs in one of them."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        applied = pool.map(migrate, [landed, landed], chunksize=1)
    expected = [migration.name for migration in read_migrations() if migration.name not in FIRST]
    assert sorted(applied) == [[], expected]
