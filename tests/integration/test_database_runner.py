"""The embedded server: how it starts, refuses to, and ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lakehouse.database.connection import connect
from lakehouse.database.runner import EmbeddedPostgres, password_file, server_dsn
from lakehouse.market.errors import LakehouseError
from lakehouse.ports import free_port

pytestmark = pytest.mark.postgres


@pytest.fixture
def folder(open_folder: Path) -> Iterator[Path]:
    """A data folder for a server of the test's own."""
    made = Path(tempfile.mkdtemp(dir=open_folder))
    made.chmod(0o755)
    yield made / "postgres"
    shutil.rmtree(made)


def start_runner(folder: Path, port: int = 0) -> subprocess.Popen[str]:
    """Start the runner as the supervisor does, and return it when it is ready."""
    command = [sys.executable, "-m", "lakehouse.database.runner", "--data", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("postgres ready 127.0.0.1:")
    return process


def server_pid(folder: Path) -> int:
    """Return the process of the server on *folder*."""
    return int((folder / "postmaster.pid").read_text().splitlines()[0])


def wait_for_end(pid: int, within_s: float = 120) -> None:
    """Return when the process is gone; fail when it is not in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if re.search(r"^State:\s+Z", Path(f"/proc/{pid}/status").read_text(), re.M):
            return  # dead, and its parent has not heard of it yet
        time.sleep(0.05)
    pytest.fail(f"process {pid} still runs after {within_s} s")


def test_what_was_written_is_there_at_the_next_start(folder: Path) -> None:
    """The data, the password and nothing of the former process outlive the server."""
    for _ in range(2):
        with EmbeddedPostgres(folder, fsync=False) as server, connect(server.dsn) as conn:
            conn.execute("CREATE TABLE IF NOT EXISTS started (at timestamptz DEFAULT now())")
            conn.execute("INSERT INTO started DEFAULT VALUES")
            rows = conn.execute("SELECT count(*) FROM started").fetchone()
    assert rows == (2,)
    assert not (folder / "postmaster.pid").exists()


def test_only_who_reads_the_password_gets_in(postgres: EmbeddedPostgres) -> None:
    """The server asks for a password also on loopback, and the file that holds it is ours alone."""
    assert password_file(postgres.data_dir).stat().st_mode & 0o777 == 0o600
    for password in ("", "postgres"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host="127.0.0.1", port=postgres.port, user="postgres", password=password, dbname="postgres")


def test_a_second_start_on_the_same_data_is_refused(postgres: EmbeddedPostgres) -> None:
    """Two servers never share a data folder."""
    pid = server_pid(postgres.data_dir)
    with pytest.raises(LakehouseError, match=rf"is in use by a running PostgreSQL \(process {pid}\): stop that first"):
        EmbeddedPostgres(postgres.data_dir).start()
    assert postgres.poll() is None


def test_a_taken_port_is_told(folder: Path) -> None:
    """A port that something listens on is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LakehouseError, match=f"port {port} is taken: choose another, or stop what listens there"):
            EmbeddedPostgres(folder, port, fsync=False).start()


def test_the_runner_tells_in_one_line_why_it_does_not_start(postgres: EmbeddedPostgres) -> None:
    """As a process of its own it prints the error and ends with 1."""
    command = [sys.executable, "-m", "lakehouse.database.runner", "--data", str(postgres.data_dir)]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1
    assert re.fullmatch(r"Error: .* is in use by a running PostgreSQL .*\n", ended.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_runner_though_a_client_stays(folder: Path, number: signal.Signals) -> None:
    """A client in the middle of something is not waited for; the shutdown is clean."""
    port = free_port()
    process = start_runner(folder, port)
    with connect(server_dsn(folder, port)):
        process.send_signal(number)
        assert process.wait(120) == 0
    assert not (folder / "postmaster.pid").exists()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="/proc tells a dead process from a living one")
def test_the_server_ends_with_a_killed_runner(folder: Path) -> None:
    """Kill -9 of the runner leaves no server behind, and the next start works."""
    process = start_runner(folder)
    pid = server_pid(folder)
    process.kill()
    process.wait(120)
    wait_for_end(pid)
    with EmbeddedPostgres(folder, fsync=False) as server, connect(server.dsn) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="/proc tells a dead process from a living one")
def test_the_runner_ends_when_its_parent_is_gone(folder: Path) -> None:
    """The pipe that the supervisor holds closes with it, and that stops runner and server."""
    process = start_runner(folder)
    pid = server_pid(folder)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(120) == 0
    wait_for_end(pid)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="/proc tells a dead process from a living one")
def test_a_server_started_by_a_thread_outlives_it_and_ends_with_the_process(folder: Path) -> None:
    """The kernel's signal goes by the thread; the watchdog, which serves all systems, by the process."""
    program = """if True:
        import sys, threading, time, pathlib
        from lakehouse.database.runner import EmbeddedPostgres
        server = EmbeddedPostgres(pathlib.Path(sys.argv[1]), fsync=False)
        thread = threading.Thread(target=server.start)
        thread.start()
        thread.join()
        time.sleep(0.5)
        print(server.poll(), flush=True)
        time.sleep(600)
    """
    process = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "None\n"
    pid = server_pid(folder)
    process.kill()
    process.wait(120)
    wait_for_end(pid)
    assert not (folder / "postmaster.pid").exists()
    process.stdout.close()


def test_a_dead_servers_pid_file_is_no_obstacle(folder: Path) -> None:
    """A number in the file that went to another program since, or to none, does not stop a start."""
    with EmbeddedPostgres(folder, fsync=False):
        written = (folder / "postmaster.pid").read_text()
    for stale in (os.getpid(), 2**22 - 1):
        lines = written.splitlines()
        lines[0] = str(stale)
        (folder / "postmaster.pid").write_text("\n".join(lines) + "\n")
        with EmbeddedPostgres(folder, fsync=False) as server, connect(server.dsn) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="/proc tells which data a server works on")
def test_the_number_of_a_dead_server_may_be_another_servers(folder: Path, postgres: EmbeddedPostgres) -> None:
    """What counts is on which folder the process of that number works."""
    with EmbeddedPostgres(folder, fsync=False):
        pass
    (folder / "postmaster.pid").write_text(f"{server_pid(postgres.data_dir)}\n{folder}\n")
    with EmbeddedPostgres(folder, fsync=False) as server, connect(server.dsn) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_first_start_that_was_interrupted_is_begun_again(folder: Path) -> None:
    """What initdb left half-made lies aside and is made anew."""
    aside = folder.with_name(f"{folder.name}.new")
    aside.mkdir()
    (aside / "PG_VERSION").write_text("18\n")
    password_file(folder).write_text("of the interrupted start\n")
    with EmbeddedPostgres(folder, fsync=False) as server, connect(server.dsn) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    assert not aside.exists()


def test_a_folder_of_other_files_is_left_alone(folder: Path) -> None:
    """Nothing is put between files that are somebody's."""
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(LakehouseError, match=r"holds files that are not PostgreSQL's: choose another data folder"):
        EmbeddedPostgres(folder, fsync=False).start()
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_made_is_told(folder: Path) -> None:
    """The error names the folder and what the system says."""
    folder.write_text("a file, not a folder")
    with pytest.raises(LakehouseError, match=r"cannot write .*postgres.*: File exists; choose another data folder"):
        EmbeddedPostgres(folder, fsync=False).start()


def test_a_lost_password_is_told(folder: Path) -> None:
    """Data whose password is gone are of no use to a start: it says which file is missing."""
    with EmbeddedPostgres(folder, fsync=False):
        pass
    password_file(folder).unlink()
    with pytest.raises(LakehouseError, match=r"cannot read .*postgres\.password \(No such file .*\), .*: put it back"):
        EmbeddedPostgres(folder, fsync=False).start()


def test_a_server_that_does_not_start_says_why(folder: Path) -> None:
    """The error is the server's own line of this start."""
    with EmbeddedPostgres(folder, fsync=False):
        pass
    (folder / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(LakehouseError, match=r"PostgreSQL did not start: .*FATAL: .*incompatible.*; all of it is in"):
        EmbeddedPostgres(folder, fsync=False).start()


def test_a_private_umask_does_not_lock_the_server_out(folder: Path) -> None:
    """Folders made on the way to the data can be passed by the server's own user."""
    before = os.umask(0o077)
    try:
        with EmbeddedPostgres(folder / "deeper" / "postgres", fsync=False) as server:
            assert server.poll() is None
    finally:
        os.umask(before)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root starts it as another user")
def test_a_folder_that_the_servers_user_cannot_enter_is_told(folder: Path) -> None:
    """As root, the data may not lie behind a closed folder: the error says how to open it."""
    folder.parent.chmod(0o700)
    with pytest.raises(LakehouseError, match=r"who cannot enter .*: choose a data folder elsewhere, or chmod a\+x"):
        EmbeddedPostgres(folder, fsync=False).start()
