"""What PostgreSQL keeps for a while only: old rows go, young ones and all that is still needed stay."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection, sql

from lakehouse.database.connection import connect
from lakehouse.jobs.retention import RULES, remove_old

pytestmark = pytest.mark.postgres

# By rule: statements that make a row of an age (in days), and the table to be counted
ROWS: dict[str, tuple[str, str]] = {
    "sandbox runs": (
        "lake.sandbox_run",
        """
        WITH begun AS (
            INSERT INTO lake.sandbox_run (run_id, began_at, user_name, code, code_sha256, selection, data_version,
                data_rows, data_bytes, data_sha256, limits)
            VALUES (gen_random_uuid(), now() - %(age)s, 'anna', 'print(df)', 'x', '{}', 1, 1, 1, 'x', '{}')
            RETURNING run_id)
        SELECT run_id FROM begun
        """,
    ),
    "jobs": (
        "lake.job",
        """
        WITH job AS (
            INSERT INTO lake.job (kind, state, requested_by, params, created_at, finished_at)
            VALUES ('ingest', 'done', 'anna', '{}', now() - %(age)s, now() - %(age)s) RETURNING job_id)
        INSERT INTO lake.schedule_run (name, due_at, job_id) SELECT 'increment', now() - %(age)s, job_id FROM job
        """,
    ),
    "runs of steps": (
        "lake.step_run",
        """
        INSERT INTO lake.step_run (run_id, step, started_at, finished_at)
        VALUES (gen_random_uuid()::text, 'gold', now() - %(age)s, now() - %(age)s)
        """,
    ),
    "messages": (
        "procrastinate_jobs",
        """
        WITH message AS (
            INSERT INTO procrastinate_jobs (queue_name, task_name, args, status)
            VALUES ('io', 'fetch', '{}', 'cancelled') RETURNING id)
        INSERT INTO procrastinate_events (job_id, type, at) SELECT id, 'cancelled', now() - %(age)s FROM message
        """,
    ),
    "sessions": (
        "lake.session",
        """
        INSERT INTO lake.session (token_hash, user_id, expires_at)
        VALUES (gen_random_uuid()::text::bytea, 1, now() - %(age)s)
        """,
    ),
    "tokens": (
        "lake.api_token",
        """
        INSERT INTO lake.api_token (token_hash, user_id, name, role, is_read_only, expires_at, revoked_at)
        VALUES (gen_random_uuid()::text::bytea, 1, 'x', 'viewer', true, 'infinity', now() - %(age)s)
        """,
    ),
    "login attempts": (
        "lake.login_attempt",
        "INSERT INTO lake.login_attempt (name, address, at) VALUES ('anna', '127.0.0.1', now() - %(age)s)",
    ),
    "known places of logins": (
        "lake.login_place",
        "INSERT INTO lake.login_place VALUES (1, gen_random_uuid()::text, now() - %(age)s)",
    ),
    "leases of requests": (
        "lake.request_lease",
        "INSERT INTO lake.request_lease (lease_id, expires_at) VALUES (gen_random_uuid(), now() - %(age)s)",
    ),
}


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn) as opened:
        opened.execute("INSERT INTO lake.app_user (name, password_hash, role) VALUES ('anna', 'x', 'analyst')")
        yield opened


def count(conn: Connection[Any], table: str) -> int:
    row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.SQL(table))).fetchone()
    return int(row[0]) if row else 0


def test_every_rule_has_rows_here() -> None:
    """A rule that is added is tried too."""
    assert list(ROWS) == [rule.what for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.what)
def test_what_is_too_old_goes_and_what_is_young_stays(conn: Connection[Any], rule: Any) -> None:
    """An hour this side of the limit and an hour beyond it."""
    table, insert = ROWS[rule.what]
    for hours in (rule.days * 24 - 1, rule.days * 24 + 1):
        conn.execute(insert.encode(), {"age": dt.timedelta(hours=hours)})
    assert count(conn, table) == 2
    removed = remove_old(conn)
    assert removed == {each.what: int(each is rule) for each in RULES}
    assert count(conn, table) == 1
    assert remove_old(conn) == {each.what: 0 for each in RULES}


def test_what_is_still_needed_stays_however_old(conn: Connection[Any]) -> None:
    """The audit record, jobs that go on, dead letters, messages that wait, the newest finished run of a step."""
    conn.execute(
        """
        INSERT INTO lake.audit (at, user_name, action, target, detail, outcome)
            VALUES ('2001-01-01', 'anna', 'ingest', 'SBER', '{}', 'queued');
        INSERT INTO lake.job (kind, state, requested_by, params, created_at) VALUES
            ('ingest', 'running', 'anna', '{}', '2001-01-01');
        INSERT INTO lake.step_run (run_id, step, started_at, finished_at) VALUES
            ('a', 'gold', '2001-01-01', '2001-01-01'), ('b', 'gold', '2001-01-02', NULL);
        INSERT INTO procrastinate_jobs (queue_name, task_name, args, status) VALUES
            ('io', 'fetch', '{}', 'failed'), ('io', 'fetch', '{}', 'todo');
        UPDATE procrastinate_events SET at = '2001-01-01';
        INSERT INTO lake.dead_letter (message_id, reason, failed_at)
            SELECT id, 'it failed', '2001-01-01' FROM procrastinate_jobs WHERE status = 'failed'
        """
    )
    assert remove_old(conn) == {rule.what: 0 for rule in RULES}
    assert [count(conn, table) for table in ("lake.audit", "lake.job", "lake.step_run", "lake.dead_letter")] == [
        1,
        1,
        2,
        1,
    ]
    assert count(conn, "procrastinate_jobs") == 2


def test_a_run_goes_with_its_end_and_a_job_with_its_windows(conn: Connection[Any]) -> None:
    """Nothing is left that speaks of what is gone."""
    conn.execute(ROWS["sandbox runs"][1].encode(), {"age": dt.timedelta(1000)})
    conn.execute(
        """
        INSERT INTO lake.sandbox_run_end (run_id, status, wall_s, cpu_s, peak_bytes, items, result_bytes, result_sha256,
            is_truncated) SELECT run_id, 'done', 1, 1, 1, 1, 1, 'x', false FROM lake.sandbox_run
        """
    )
    conn.execute(ROWS["jobs"][1].encode(), {"age": dt.timedelta(1000)})
    conn.execute(
        """
        INSERT INTO lake.job_window (job_id, family, engine, market, board, secid, timeframe, from_at, till_date)
        SELECT job_id, 'candles', 'stock', 'shares', 'TQBR', 'SBER', '1d', '2001-01-01', '2001-01-02' FROM lake.job
        """
    )
    remove_old(conn)
    assert [count(conn, table) for table in ("lake.sandbox_run_end", "lake.job_window")] == [0, 0]
    assert conn.execute("SELECT job_id FROM lake.schedule_run").fetchall() == [(None,)]
