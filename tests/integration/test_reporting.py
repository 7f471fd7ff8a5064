"""What a worker tells of its fetching, through one connection for the whole process."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection

from lakehouse.bronze.fetch import Cancelled
from lakehouse.database.connection import connect
from lakehouse.database.outage import close_shared
from lakehouse.jobs import queue
from lakehouse.jobs.queue import IngestRequest
from lakehouse.jobs.reporting import AnnounceLanded, WindowProgress

pytestmark = pytest.mark.postgres


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn, "lakehouse_app") as opened:
        yield opened
    close_shared()


def test_progress_never_goes_backwards(conn: Connection[Any], dsn: str) -> None:
    """A window that is read again from its start shows what was read before until there is more."""
    window_id = running_window(conn)
    WindowProgress(dsn, window_id)(7, 3500)
    WindowProgress(dsn, window_id)(1, 500)
    assert progress(conn, window_id) == (7, 3500)
    WindowProgress(dsn, window_id)(8, 4000)
    assert progress(conn, window_id) == (8, 4000)


def test_progress_is_written_a_few_times_a_second(conn: Connection[Any], dsn: str) -> None:
    """Pages come faster than anybody looks."""
    window_id = running_window(conn)
    report = WindowProgress(dsn, window_id)
    for pages in range(1, 100):
        report(pages, 500 * pages)
    assert progress(conn, window_id) == (1, 500)


def test_a_cancelled_job_stops_its_windows_at_the_next_page(conn: Connection[Any], dsn: str) -> None:
    """The report is where a window learns of it."""
    window_id = running_window(conn)
    conn.execute("UPDATE lake.job SET state = 'cancelling', cancel_requested = true")
    with pytest.raises(Cancelled, match=f"window {window_id} was cancelled"):
        WindowProgress(dsn, window_id)(1, 500)


def test_all_threads_share_one_connection(conn: Connection[Any], dsn: str) -> None:
    """Sixteen windows that report and announce at once open no connection each."""
    window_id = running_window(conn)

    def tell(number: int) -> None:
        WindowProgress(dsn, window_id)(number, number)
        AnnounceLanded(dsn)(f"iss/{number}")

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert progress(conn, window_id) == (15, 15)
    assert announced(conn) == {f"iss/{number}" for number in range(16)}
    assert others_connected(conn) == 1


def test_a_connection_that_was_cut_is_opened_again(conn: Connection[Any], dsn: str) -> None:
    """The report after it is written, and nobody sees an error."""
    window_id = running_window(conn)
    WindowProgress(dsn, window_id)(1, 500)
    cut_others(conn)
    WindowProgress(dsn, window_id)(2, 1000)
    cut_others(conn)
    AnnounceLanded(dsn)("iss/1")
    assert progress(conn, window_id) == (2, 1000)
    assert announced(conn) == {"iss/1"}


def test_reports_travel_to_other_machines(conn: Connection[Any], dsn: str) -> None:
    """They are pickled, after they were used too, and write at once where they arrive."""
    window_id = running_window(conn)
    report = WindowProgress(dsn, window_id)
    report(1, 500)
    pickle.loads(pickle.dumps(report))(2, 1000)
    pickle.loads(pickle.dumps(AnnounceLanded(dsn)))("iss/1")
    assert progress(conn, window_id) == (2, 1000)
    assert announced(conn) == {"iss/1"}


def test_at_its_end_a_process_closes_what_it_shares(conn: Connection[Any], dsn: str) -> None:
    """No connection stays behind; the next use opens one."""
    window_id = running_window(conn)
    WindowProgress(dsn, window_id)(1, 500)
    close_shared()
    until = time.monotonic() + 120  # the server notices when it likes
    while others_connected(conn) and time.monotonic() < until:
        time.sleep(0.05)
    assert others_connected(conn) == 0
    WindowProgress(dsn, window_id)(2, 1000)
    assert others_connected(conn) == 1


def running_window(conn: Connection[Any]) -> int:
    """Make a job with a window that is being read; return the window's id."""
    job_id = queue.submit_ingest(conn, IngestRequest.parse({"instruments": ["SBER"]}), "anna")
    row = conn.execute(
        """
        INSERT INTO lake.job_window
            (job_id, family, engine, market, board, secid, timeframe, from_at, till_date, state)
        VALUES (%s, 'candles', 'stock', 'shares', 'TQBR', 'SBER', '1d', '2024-01-01', '2024-12-31', 'running')
        RETURNING window_id
        """,
        (job_id,),
    ).fetchone()
    assert row is not None
    return int(row[0])


def progress(conn: Connection[Any], window_id: int) -> tuple[Any, ...] | None:
    """Return the pages and rows of a window."""
    return conn.execute("SELECT pages, rows FROM lake.job_window WHERE window_id = %s", (window_id,)).fetchone()


def announced(conn: Connection[Any]) -> set[str]:
    """Return the objects that the queue knows of."""
    rows = conn.execute("SELECT args ->> 'object_key' FROM procrastinate_jobs WHERE task_name = 'landed'").fetchall()
    return {key for (key,) in rows}


def others_connected(conn: Connection[Any]) -> int:
    """Return how many clients but us the database has."""
    conn.execute("RESET ROLE")
    row = conn.execute(
        """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        """
    ).fetchone()
    return int(row[0]) if row else 0


def cut_others(conn: Connection[Any]) -> None:
    """End every other connection, as a server that restarts does."""
    conn.execute("RESET ROLE")
    conn.execute(
        """
        SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        """
    )
