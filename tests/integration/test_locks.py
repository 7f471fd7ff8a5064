"""One writer per table, and how far the next station has read."""

from __future__ import annotations

import threading
import time

import pytest

from lakehouse.database.connection import connect
from lakehouse.database.locks import LockLost, table_lock
from lakehouse.database.progress import read_progress, write_progress

pytestmark = pytest.mark.postgres


def test_two_runs_write_one_after_the_other(dsn: str) -> None:
    """The second run gets the lock when the first lets it go, with the next generation."""
    events: list[str] = []
    is_held = threading.Event()

    def first() -> None:
        with table_lock(dsn, "silver.candles", "r1") as generation:
            is_held.set()
            time.sleep(0.3)
            events.append(f"first {generation.number}")

    thread = threading.Thread(target=first)
    thread.start()
    assert is_held.wait(120)
    with table_lock(dsn, "silver.candles", "r2") as generation:
        events.append(f"second {generation.number}")
        generation.check()
    thread.join()
    assert events == ["first 1", "second 2"]


def test_tables_do_not_wait_for_each_other(dsn: str) -> None:
    """The lock is one table's."""
    with table_lock(dsn, "silver.candles", "r1") as one, table_lock(dsn, "silver.history", "r1") as other:
        one.check()
        other.check()


def test_a_failed_run_lets_its_lock_go(dsn: str) -> None:
    """An error in the block frees the table."""
    with pytest.raises(OSError, match="disk full"), table_lock(dsn, "silver.candles", "r1"):
        raise OSError("disk full")
    with table_lock(dsn, "silver.candles", "r2") as generation:
        assert generation.number == 2


def test_a_holder_whose_connection_was_cut_learns_it(dsn: str) -> None:
    """Before its commit it is told that the lock is gone, and another run can have it."""
    with table_lock(dsn, "silver.candles", "r1") as generation, connect(dsn) as conn:
        conn.execute("SELECT pg_terminate_backend(%s)", (generation.conn.info.backend_pid,))
        with table_lock(dsn, "silver.candles", "r2") as taken:
            taken.check()
        with pytest.raises(LockLost, match=r"silver.candles: .* of run r1 is gone; .*: lakehouse jobs redrive$"):
            generation.check()


def test_a_holder_is_told_that_another_run_was_there(dsn: str) -> None:
    """A generation that moved means that the difference was derived from what is no longer so."""
    with table_lock(dsn, "silver.candles", "r1") as generation, connect(dsn) as conn:
        conn.execute("UPDATE lake.table_lock SET generation = generation + 1, run_id = 'r2'")
        with pytest.raises(LockLost, match=r"silver.candles: another run took its lock after run r1; .*jobs redrive"):
            generation.check()


def test_progress_is_the_last_that_was_written(dsn: str) -> None:
    """It begins with none, and may be written twice, or go back after a rebuild."""
    with connect(dsn, "lakehouse_app") as conn:
        assert read_progress(conn, "silver.candles") is None
        for version in (3, 3, 7, 0):
            write_progress(conn, "silver.candles", version, "r1")
            assert read_progress(conn, "silver.candles") == version
        assert read_progress(conn, "silver.history") is None
