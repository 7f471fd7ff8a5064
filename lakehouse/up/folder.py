"""The data folder: whose it is, who uses it, what a start needs of it, and what a killed platform left in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lakehouse.database.binaries import can_enter, server_user
from lakehouse.market.errors import BadInput
from lakehouse.settings import Settings
from lakehouse.storage.space import NEARLY_FULL, free_bytes, human_size
from lakehouse.storage.stamp import claim, encoded, named
from lakehouse.storage.store import open_store
from lakehouse.up.plan import Plan, read_stamp, stamp_file

# A new PostgreSQL takes 60 MB, Spark some files of its own; less than this, and a start would fail half-way.
LEAST_FREE = NEARLY_FULL
# The demo takes 400 MB, a year of minutes of one share about 30 MB in all stations together.
AMPLE_FREE = 2 << 30
_LOCK_WITHIN_S = 0.5
_STORE_WITHIN_S = 10.0


def log_file(settings: Settings, name: str) -> Path:
    """Return where a service's output goes."""
    return settings.data_dir / "logs" / f"{name}.log"


def prepared(plan: Plan) -> Path:
    """Return the plan's data folder, made if need be; raise BadInput if it is another source's or cannot be written."""
    data = plan.settings.data_dir
    try:
        (data / "logs").mkdir(parents=True, exist_ok=True)
        for folder in (data, data / "logs"):
            tempfile.TemporaryFile(dir=folder).close()
        if not stamp_file(data).exists():
            write_whole(stamp_file(data), encoded(plan.stamp).decode())
    except OSError as error:
        raise BadInput(f"cannot write {data}: {error.strerror}; choose another folder with --data") from error
    stamped = read_stamp(data)
    if stamped != plan.stamp:
        raise BadInput(
            f"{data} holds data of {named(stamped)}, and this is {named(plan.stamp)}: they must not mix; "
            "choose another folder with --data"
        )
    return data


def claim_stores(plan: Plan) -> None:
    """Stamp the stores that the settings name, as the data folder is; raise BadInput where one is another source's."""
    settings = plan.settings
    for url, setting in ((settings.bronze_url, "LAKEHOUSE_BRONZE_URL"), (settings.lake_url, "LAKEHOUSE_LAKE_URL")):
        if url is not None:
            claim(open_store(url, settings.s3_options, _STORE_WITHIN_S), plan.stamp, setting)


def check_space(folders: list[Path], say: Callable[[str], None]) -> None:
    """Raise BadInput where the disk is too full to start, and *say* where a load may fill it."""
    for folder in folders:
        free = free_bytes(folder)
        if free < LEAST_FREE:
            raise BadInput(
                f"{folder} has {human_size(free)} free, and a start needs {human_size(LEAST_FREE)}: "
                "make room there, or choose another folder with --data"
            )
        if free < AMPLE_FREE:
            say(f"{folder} has {human_size(free)} free: a large load may fill it")


@contextlib.contextmanager
def sole_use(data: Path) -> Iterator[None]:
    """Hold the folder's lock, which goes with the process; raise BadInput while another platform runs on it."""
    with (data / "lock").open("a+") as lock:
        until = time.monotonic() + _LOCK_WITHIN_S  # who only asks whether a platform runs holds it for a moment
        while not _is_locked(lock.fileno()):
            if time.monotonic() > until:
                lock.seek(0)
                holder = lock.read().strip() or "unknown"
                raise BadInput(
                    f"a platform runs on {data} already (process {holder}): use that one, stop it with "
                    f"kill {holder}, or choose another folder with --data"
                )
            time.sleep(0.05)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextlib.contextmanager
def run_file(data: Path, run: Mapping[str, Any]) -> Iterator[None]:
    """Keep run.json, which tells the other commands where the platform is, while the block runs."""
    path = data / "run.json"
    write_whole(path, json.dumps(run))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def was_killed(data: Path) -> bool:
    """Return whether the last platform on the folder ended without stopping its services; its lock must be ours."""
    return (data / "run.json").exists()


def clear_leftovers(settings: Settings) -> None:
    """Remove what a killed platform left; the folder's lock must be ours."""
    data = settings.data_dir
    if was_killed(data) and settings.bronze_url is None:
        open_store(settings.bronze_location).clear_unfinished()
    (data / "run.json").unlink(missing_ok=True)
    for path in data.glob("*.tmp"):
        path.unlink(missing_ok=True)
    clear_spark(data)


def clear_spark(data: Path) -> None:
    """Remove Spark's working files; no Spark may run on the folder."""
    shutil.rmtree(data / "spark", ignore_errors=True)


def running_dsn(settings: Settings) -> str:
    """Return the database of the platform that runs on these settings; raise BadInput when none does."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    data = settings.data_dir
    try:
        run = json.loads((data / "run.json").read_text(encoding="utf-8"))
        with (data / "lock").open("a+") as lock:
            if _is_locked(lock.fileno()):  # by us now: nobody holds it, what left the file was killed
                raise ProcessLookupError
    except (OSError, ValueError):
        raise BadInput(
            f"no platform runs on {data}: start it with `lakehouse up` or `lakehouse demo`, "
            "or name its folder by --data"
        ) from None
    return str(run["dsn"])


def database_folder(data: Path) -> Path:
    """
    Return where PostgreSQL's data lie: in the data folder, unless the server's own user cannot go there.

    Root's folders are often closed to others, and PostgreSQL refuses to run as root.
    """
    user = server_user()
    if can_enter(data.absolute(), user):
        return data.absolute() / "postgres"
    pointer = data / "postgres.location"
    if not pointer.exists():
        name = str(data.absolute()).strip("/").replace("/", "-")
        write_whole(pointer, f"/var/lib/lakehouse-postgres/{name}\n")
    return Path(pointer.read_text(encoding="utf-8").strip())


def write_whole(path: Path, text: str) -> None:
    """Write a file, readable by us alone, that is there whole or as it was before."""
    aside = path.with_name(f"{path.name}.tmp")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
