"""What a start finds and takes up, what stands in its way, and when a dead service is started again."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from psycopg import Connection

from lakehouse.bronze.fetch import Landed, fetch_window
from lakehouse.bronze.ledger import coverage
from lakehouse.bronze.reconcile import reconcile
from lakehouse.database.connection import connect
from lakehouse.database.runner import EmbeddedPostgres, password_file
from lakehouse.engines.delta import clear_half_made
from lakehouse.jobs.consumer import forget_dead_workers
from lakehouse.jobs.recovery import recover
from lakehouse.market.errors import BadInput
from lakehouse.settings import load_settings
from lakehouse.up import ServiceFailed, running_dsn, with_settings
from lakehouse.up.folder import clear_leftovers, sole_use
from lakehouse.up.service import Service
from lakehouse.up.supervisor import Supervisor, restart_delay_s
from tests.killing import Chain, SlowExchange, until
from tests.unprivileged import as_nobody
from tests.up_process import COMMAND


def refused(*arguments: str, prefix: list[str] | None = None, **environment: str) -> str:
    """Run the command, which must end with 1 and one line; return that line."""
    done = subprocess.run(
        [*(prefix or []), *COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )
    assert done.returncode == 1, done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr.strip()


# -- Bronze and its ledger --------------------------------------------------------------------------------------------


@pytest.fixture
def chain(market: SlowExchange, dsn: str, tmp_path: Path) -> Chain:
    return Chain.over(market, dsn, tmp_path)


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn) as opened:
        yield opened


def rows_of(conn: Connection[Any], query: str) -> list[tuple[Any, ...]]:
    return conn.execute(query).fetchall()


@pytest.mark.postgres
def test_what_lies_in_bronze_and_is_not_recorded_is_recorded(chain: Chain, conn: Connection[Any]) -> None:
    """A ledger without its objects gets them back with what they prove, once; a second pass finds nothing."""
    chain.fetch(chain.plan())
    described = "SELECT object_key, span, complete, rows, pages FROM lake.bronze_object ORDER BY 1"
    before = rows_of(conn, described)
    series = rows_of(conn, "SELECT from_date, till_date, state, object_key FROM lake.coverage ORDER BY 1, 2, 4")
    conn.execute("DELETE FROM lake.bronze_object")
    conn.execute("DELETE FROM lake.coverage")
    found = reconcile(conn, chain.context.store())
    assert (sorted(found.recorded), found.junk, found.lost) == ([row[0] for row in before], [], [])
    assert rows_of(conn, described) == before
    assert rows_of(conn, "SELECT from_date, till_date, state, object_key FROM lake.coverage ORDER BY 1, 2, 4") == series
    assert reconcile(conn, chain.context.store()).recorded == []


@pytest.mark.postgres
def test_junk_in_bronze_is_passed_over(chain: Chain, conn: Connection[Any]) -> None:
    """Text, a cut object, an empty one and one under another's name are told and left; the good object is recorded."""
    chain.fetch(chain.plan())
    store = chain.context.store()
    good = next(key for key in store.list("iss/") if "/1m/" in key)
    body = store.get(good)
    junk = ["iss/notes.txt", f"{good}.copy", good.replace("/1m/", "/10m/"), good.replace(".jsonl.gz", "0.jsonl.gz")]
    for key, content in zip(junk, (b"some text", body[:-50], body, b""), strict=True):
        store.put(key, content)
    conn.execute("DELETE FROM lake.bronze_object WHERE object_key = %s", (good,))
    found = reconcile(conn, store)
    assert (found.recorded, sorted(found.junk)) == ([good], sorted(junk))
    assert all(store.exists(key) for key in junk)


@pytest.mark.postgres
def test_objects_that_are_gone_are_told_and_stay_in_the_ledger(chain: Chain, conn: Connection[Any]) -> None:
    """Bronze cannot be made again: what is lost is somebody's to put back, or to forget by a rebuild."""
    chain.fetch(chain.plan())
    key = next(key for key in chain.context.store().list("iss/") if "/1m/" in key)
    (Path(chain.context.store_url) / key).unlink()
    assert reconcile(conn, chain.context.store()).lost == [key]
    assert rows_of(conn, f"SELECT count(*) FROM lake.bronze_object WHERE object_key = '{key}'") == [(1,)]  # noqa: S608


@pytest.mark.postgres
def test_a_window_whose_worker_died_after_landing_counts_as_landed(chain: Chain, conn: Connection[Any]) -> None:
    """It is not asked again; one that was read to no end stays, to be read with its message; a merge is asked for."""
    job_id = chain.plan()
    conn.execute("DELETE FROM procrastinate_jobs WHERE task_name = 'merge'")
    conn.execute("UPDATE lake.job_window SET state = 'running' WHERE timeframe = '1m'")
    first = chain.minutes(job_id)[0]
    landed = fetch_window(chain.context, first)
    assert isinstance(landed, Landed)
    recover(conn, chain.context.store())
    found = rows_of(conn, "SELECT object_key, pages FROM lake.job_window WHERE state = 'landed'")
    assert found == [(landed.object_key, landed.pages)]
    assert rows_of(conn, "SELECT count(*) > 0 FROM lake.job_window WHERE state = 'running'") == [(True,)]
    assert rows_of(conn, "SELECT status::text FROM procrastinate_jobs WHERE task_name = 'merge'") == [("todo",)]
    with connect(chain.dsn) as opened:
        assert any(row.is_final for row in coverage(opened, first.series))


@pytest.mark.postgres
def test_only_the_dead_workers_messages_are_let_go(conn: Connection[Any], dsn: str) -> None:
    """A worker of another queue keeps what it is working on."""
    for queue in ("io", "spark"):
        conn.execute(
            """
            WITH worker AS (SELECT worker_id FROM procrastinate_register_worker_v1())
            INSERT INTO procrastinate_jobs (queue_name, task_name, status, worker_id)
            SELECT %s, 'x', 'doing', worker_id FROM worker
            """,
            (queue,),
        )
    forget_dead_workers(dsn, "io")
    held = rows_of(conn, "SELECT queue_name, worker_id IS NOT NULL FROM procrastinate_jobs ORDER BY 1")
    assert held == [("io", False), ("spark", True)]


# -- the supervisor ---------------------------------------------------------------------------------------------------


def test_a_service_is_started_again_later_and_later() -> None:
    """1, 2, 4 ... 30 s after deaths in a row; five calm minutes begin anew; the fifth within 2 minutes is the last."""
    slow = [40.0 * number for number in range(8)]
    assert [restart_delay_s(slow[: count + 1]) for count in range(8)] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert restart_delay_s([0.0, 10.0, 20.0, 400.0]) == 1
    assert restart_delay_s([0.0, 10.0, 20.0, 30.0]) == 8
    assert restart_delay_s([0.0, 10.0, 20.0, 30.0, 40.0]) is None


def test_a_service_that_keeps_dying_is_given_up(tmp_path: Path) -> None:
    """
    Each death is one line with its code and last words; the fifth stops the platform with all that is to know.

    One that is spared, as the sandbox is, is tried for ever, and the platform goes on.
    """
    (tmp_path / "logs").mkdir()
    lines: list[str] = []
    spared_lines: list[str] = []
    sparing = Supervisor(tmp_path, spared_lines.append, lambda service: None)
    sparing.start(Service("spared", ["json.tool", "--nosuch"], tmp_path / "logs" / "spared.log", is_spared=True))
    sparing.watch()
    supervisor = Supervisor(tmp_path, lines.append, lambda service: None)
    supervisor.start(Service("fetcher", ["json.tool", "--nosuch"], tmp_path / "logs" / "fetcher.log"))
    supervisor.watch()
    expected = (
        r"fetcher died 5 times within 120 s, the last time with code 2: .*unrecognized arguments: --nosuch .*"
        r"the platform stops: start it again when the cause is mended, it goes on where it was"
    )
    with pytest.raises(ServiceFailed, match=expected):
        until(supervisor.check)
    supervisor.stop()
    until(lambda: len(spared_lines) == 5)
    sparing.check()
    sparing.stop()
    assert [line[-7:].strip() for line in spared_lines] == ["in 1 s", "in 2 s", "in 4 s", "in 8 s", "in 30 s"]
    assert [line[-6:] for line in lines] == ["in 1 s", "in 2 s", "in 4 s", "in 8 s"]
    assert all(re.match(r"fetcher ended with code 2: .*--nosuch \(see .*fetcher\.log\); it is", line) for line in lines)
    assert (tmp_path / "logs" / "supervisor.log").read_text().count("fetcher") >= 5


def test_a_process_that_will_not_end_ends_with_its_parent_all_the_same() -> None:
    """Deaf to SIGTERM and with a child of its own, it is gone seconds after its lifeline closed, and so is that."""
    program = """if True:
        import signal, subprocess, time
        from lakehouse.lifeline import end_with_parent
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "600"])
        end_with_parent()
        print(child.pid, flush=True)
        time.sleep(600)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.stdin.close()
    assert process.wait(120) == -signal.SIGKILL
    process.stdout.close()
    until(lambda: has_ended(child), 120)


def has_ended(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.mark.postgres
def test_a_start_waits_for_the_former_server(open_folder: Path) -> None:
    """A server that is still stopping is waited for as long as was said; one that stays is refused."""
    folder = open_folder / "former" / "postgres"
    with EmbeddedPostgres(folder, fsync=False) as former:
        runner = [sys.executable, "-m", "lakehouse.database.runner", "--data", str(folder), "--patience", "120"]
        waiting = subprocess.Popen(runner, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        time.sleep(1)
        assert waiting.poll() is None
        former.stop()
        assert waiting.stdout is not None
        assert waiting.stdout.readline().startswith(b"postgres ready")
        assert waiting.stdin is not None
        waiting.stdin.close()
        assert waiting.wait(120) == 0
        waiting.stdout.close()
    assert password_file(folder).exists()


# -- what is in the way -----------------------------------------------------------------------------------------------


def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """The line names the port and both ways out, and no database was made."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused("up", "--data", str(tmp_path / "data"), "--port", str(port))
    assert line == f"Error: port {port} is taken: choose another with --port, or stop what listens there"
    assert not (tmp_path / "data" / "postgres").exists()


def test_an_unwritable_folder_is_refused(open_folder: Path) -> None:
    """Whether it is to be made or was made by somebody else: the line names it and what the system says."""
    (open_folder / "roots").mkdir(mode=0o755)
    (open_folder / "roots" / "logs").mkdir()
    if not as_nobody():
        (open_folder / "roots").chmod(0o555)
    for data in (open_folder / "roots", open_folder / "roots" / "deeper"):
        line = refused("up", "--data", str(data), prefix=as_nobody(), HOME=str(open_folder))
        assert line == f"Error: cannot write {data}: Permission denied; choose another folder with --data"


def test_a_broken_stamp_is_told(tmp_path: Path) -> None:
    """A data folder whose stamp cannot be read is not taken for anybody's; the line says how to mend it."""
    (tmp_path / "source.json").write_text("")
    line = refused("up", "--data", str(tmp_path), "--port", "0")
    assert re.match(rf"Error: cannot read {tmp_path}/source\.json, which says .*: write .*\"exchange\".* into it", line)


def test_a_killed_platforms_run_file_does_not_count(tmp_path: Path) -> None:
    """What counts is who holds the folder's lock, not a number that may be another process's by now."""
    settings = with_settings(load_settings({}), data_dir=tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"pid": os.getpid(), "dsn": "postgresql://x", "web_url": ""}))
    with pytest.raises(BadInput, match=f"no platform runs on {tmp_path}: start it with"):
        running_dsn(settings)
    with sole_use(tmp_path):
        assert running_dsn(settings) == "postgresql://x"
        with pytest.raises(
            BadInput, match=rf"a platform runs on {tmp_path} already \(process {os.getpid()}\): use that"
        ):
            sole_use(tmp_path).__enter__()


def test_what_a_killed_platform_left_is_cleared(tmp_path: Path) -> None:
    """Half-written files of Bronze and of ours, Spark's working files and the run file; whole objects stay."""
    settings = with_settings(load_settings({}), data_dir=tmp_path)
    left = ["run.json", "source.json.tmp", "spark/blockmgr-1/00/shuffle", "bronze/iss/x/y.jsonl.gz#1"]
    whole = ["bronze/iss/x/y.jsonl.gz", "source.json"]
    for name in (*left, *whole):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    clear_leftovers(settings)
    assert [name for name in left if (tmp_path / name).exists()] == []
    assert all((tmp_path / name).exists() for name in whole)


def test_a_database_of_ones_own_that_is_away_is_told(tmp_path: Path) -> None:
    """Waited for some seconds, then one line with the server's address; nothing was started."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    address = f"postgresql://me@127.0.0.1:{port}/x"
    line = refused("up", "--data", str(tmp_path / "data"), "--port", "0", LAKEHOUSE_DATABASE_URL=address)
    expected = rf"Error: the database has not answered for \d+ s \(.*port {port} failed: Connection refused.*\): start"
    assert re.match(expected, line)


def test_a_table_whose_creation_was_cut_short_is_removed(tmp_path: Path) -> None:
    """A log without a commit is no table, though Spark thinks so; a table, one being made and foreign files stay."""
    contents = {"half": "_delta_log/.00000000000000000000.json.tmp", "foreign": "notes.txt"}
    for name, file in contents.items():
        (tmp_path / name / file).parent.mkdir(parents=True)
        (tmp_path / name / file).touch()
    (tmp_path / "empty" / "_delta_log").mkdir(parents=True)
    write_deltalake(str(tmp_path / "table"), pa.table({"x": [1]}))
    for name in ("half", "foreign", "empty", "table", "none"):
        for path in (tmp_path / name).rglob("*"):
            os.utime(path, (0, 0))
        if (tmp_path / name).exists():
            os.utime(tmp_path / name, (0, 0))
    (tmp_path / "making" / "_delta_log").mkdir(parents=True)
    for name in ("half", "foreign", "empty", "table", "none", "making"):
        clear_half_made(str(tmp_path / name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["foreign", "making", "table"]
    assert DeltaTable(str(tmp_path / "table")).version() == 0
