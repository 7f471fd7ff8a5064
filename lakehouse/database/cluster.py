"""The embedded server's data folder: made whole or not at all, and one server's at a time."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from lakehouse.database.binaries import can_enter
from lakehouse.market.errors import LakehouseError


class InUse(LakehouseError):
    """The data, or the port, are another server's now; that may pass."""


def claim(data_dir: Path, user: pwd.struct_passwd | None) -> None:
    """Make the folder if need be, for the server's *user* alone; raise LakehouseError if that cannot be."""
    try:
        if user:
            _make_enterable(data_dir.parent)
        data_dir.mkdir(parents=True, exist_ok=True)
        if user:
            os.chown(data_dir, user.pw_uid, user.pw_gid)
        data_dir.chmod(0o700)
        log_file(data_dir).touch()
    except OSError as error:
        raise LakehouseError(
            f"cannot write {error.filename or data_dir}: {error.strerror}; choose another data folder"
        ) from error
    if user and not can_enter(data_dir.parent, user):
        raise LakehouseError(
            f"PostgreSQL runs as user {user.pw_name}, who cannot enter {data_dir.parent}: "
            "choose a data folder elsewhere, or chmod a+x the folders above it"
        )


def initialise(data_dir: Path, programs: Path, identity: dict[str, Any], is_durable: bool) -> None:
    """
    Make the data in an empty folder, and the password beside it.

    It is made aside and renamed, so that a start that was interrupted leaves nothing half-made.
    """
    if any(data_dir.iterdir()):
        raise LakehouseError(f"{data_dir} holds files that are not PostgreSQL's: choose another data folder")
    aside = data_dir.with_name(f"{data_dir.name}.new")
    if aside.exists():
        shutil.rmtree(aside)
    aside.mkdir(mode=0o700)
    password = secrets.token_urlsafe(24)
    with tempfile.NamedTemporaryFile("w", dir=data_dir.parent) as given:
        given.write(password)
        given.flush()
        if identity:
            os.chown(aside, identity["user"], identity["group"])
            os.chown(given.name, identity["user"], -1)
        command: list[str | Path] = [programs / "initdb", "-D", aside, "-U", "postgres", "--no-instructions"]
        command += ["-E", "UTF8", "--locale=C.UTF-8"]
        command += ["--auth=scram-sha-256", f"--pwfile={given.name}"]
        command += [] if is_durable else ["--no-sync"]
        done = subprocess.run(command, env=environment(data_dir), cwd="/", capture_output=True, text=True, **identity)
    if done.returncode:
        free_mb = shutil.disk_usage(data_dir).free >> 20
        raise LakehouseError(
            f"PostgreSQL could not make its data in {data_dir} ({free_mb} MB free there): {reason(done.stderr)}"
        )
    _write_secret(password_file(data_dir), password)
    aside.rename(data_dir)


def refuse_second_server(data_dir: Path) -> None:
    """Raise LakehouseError if a server runs on the folder; remove the pid file of one that is dead."""
    pid_file = data_dir / "postmaster.pid"
    try:
        pid = int(pid_file.read_text(encoding="ascii").splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return
    if not _is_running(pid):
        return  # PostgreSQL sees to it
    if _may_serve(pid, data_dir):
        raise InUse(f"{data_dir} is in use by a running PostgreSQL (process {pid}): stop that first")
    pid_file.unlink()  # the number went to another program since the server died


def password_file(data_dir: Path) -> Path:
    """Return where the superuser's password is kept: beside the data, mode 0600."""
    return data_dir.with_name(f"{data_dir.name}.password")


def read_password(data_dir: Path) -> str:
    """Return the superuser's password; raise LakehouseError when its file is gone."""
    try:
        return password_file(data_dir).read_text(encoding="ascii").strip()
    except OSError as error:
        raise LakehouseError(
            f"cannot read {password_file(data_dir)} ({error.strerror}), the password of the data in {data_dir}: "
            "put it back, or remove both and rebuild from Bronze"
        ) from error


def log_file(data_dir: Path) -> Path:
    """Return the server's own log: beside the data."""
    return data_dir.with_name(f"{data_dir.name}.log")


def environment(data_dir: Path) -> dict[str, str]:
    """Return the environment of PostgreSQL's programs: nothing of ours."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(data_dir)}


def reason(text: str) -> str:
    """Return the line of a PostgreSQL program's output that says why it failed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    severe = (line for line in lines if "PANIC:" in line or "FATAL:" in line or "error:" in line)
    return next(severe, lines[-1] if lines else "no message")


def _make_enterable(folder: Path) -> None:
    # Under a umask of 077 the server's user could not pass through what we make.
    if not folder.exists():
        _make_enterable(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(folder.stat().st_mode | 0o111)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True


def _may_serve(pid: int, data_dir: Path) -> bool:
    """Return whether a running process is, or for all we can see might be, the server of the folder."""
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", data_dir)  # where a server works
    except OSError:  # another user's, or no Linux
        pass
    try:
        shown = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True)
    except FileNotFoundError:
        return True
    return "postgres" in shown.stdout


def _write_secret(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text + "\n")
