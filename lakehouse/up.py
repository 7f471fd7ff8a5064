"""
Starting and stopping the platform on one machine: each service a process of its own, started by ``python -m``.

The supervisor gives every child a pipe as standard input (lifeline.py), so none outlives it, and a session of its own,
so Ctrl-C in the terminal reaches the supervisor alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lakehouse.access.users import ensure_admin
from lakehouse.database.binaries import can_enter, server_user
from lakehouse.database.connection import connect
from lakehouse.database.migrate import migrate
from lakehouse.database.runner import free_port, server_dsn
from lakehouse.jobs.consumer import forget_dead_workers
from lakehouse.market.errors import BadInput, LakehouseError
from lakehouse.market.moscow import to_moscow
from lakehouse.settings import Settings

_STOP_S = 4.0
_READY_S = 120.0

Web = Literal["pages", "api", "none"]


class ServiceFailed(LakehouseError):
    """A service of the platform did not start, or ended by itself."""


@dataclass(frozen=True)
class Plan:
    """
    What to run.

    Attributes:
        source: The exchange, or a simulator that is started: made data of *seed*, or recorded data in *recorded*.
        frozen: Whether the simulator's clock stands still.
        web: The pages with the API under ``/api``, the API alone, or nothing.
        fetches: Whether a worker asks the exchange.
    """

    settings: Settings
    source: Literal["exchange", "simulator", "recorded"] = "exchange"
    seed: int = 1
    recorded: Path | None = None
    frozen: bool = False
    web: Web = "pages"
    fetches: bool = True

    @property
    def stamp(self) -> dict[str, Any]:
        """What a data folder is stamped with: data of different sources never mix."""
        if self.source == "simulator":
            return {"source": "simulator", "seed": self.seed}
        return {"source": self.source}


@dataclass
class Platform:
    """A running platform: addresses, the first admin's password if made now, and its processes."""

    plan: Plan
    dsn: str
    iss_url: str
    web_url: str
    password: str | None
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def api_url(self) -> str:
        """Where the functions are."""
        return f"{self.web_url}/api" if self.plan.web == "pages" else self.web_url

    def check(self) -> None:
        """Raise ServiceFailed if a service ended by itself, with the last line of its log."""
        for name, process in self.processes.items():
            if (code := process.poll()) is not None:
                raise ServiceFailed(f"{name} ended with code {code}: {_last_line(log_file(self.plan.settings, name))}")

    def wait(self) -> None:
        """Return only when a service ends (ServiceFailed), or a signal raises."""
        while True:
            self.check()
            time.sleep(0.5)


@contextlib.contextmanager
def running(plan: Plan) -> Iterator[Platform]:
    """
    Start the platform, yield it, and stop it however the block ends.

    Raises:
        LakehouseError: one line on what is in the way: the folder in use, of another source, unwritable; a port taken.
    """
    data = _prepared_folder(plan)
    with _sole_use(data), contextlib.ExitStack() as stack:
        processes: dict[str, subprocess.Popen[bytes]] = {}
        stack.callback(_stop, processes)
        dsn = _start_database(plan, processes)
        migrate(dsn)
        forget_dead_workers(dsn)
        with connect(dsn) as conn:
            password = ensure_admin(conn)
        iss_url = _start_exchange(plan, dsn, processes) if plan.fetches else ""
        platform = Platform(plan, dsn, iss_url, "", password, processes)
        _start_workers(platform)
        _start_web(platform)
        _write_run_file(data, platform)
        stack.callback((data / "run.json").unlink, missing_ok=True)
        yield platform


def running_dsn(settings: Settings) -> str:
    """Return the database of the platform that runs on these settings; raise BadInput when none does."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    try:
        run = json.loads((settings.data_dir / "run.json").read_text(encoding="utf-8"))
        os.kill(run["pid"], 0)
    except (OSError, ValueError, KeyError):
        raise BadInput(
            f"no platform runs on {settings.data_dir}: start it with `lakehouse up` or `lakehouse demo`, "
            "or name its folder by --data"
        ) from None
    return str(run["dsn"])


def log_file(settings: Settings, name: str) -> Path:
    """Return where a service's output goes."""
    return settings.data_dir / "logs" / f"{name}.log"


def _prepared_folder(plan: Plan) -> Path:
    data = plan.settings.data_dir
    stamp_file = data / "source.json"
    try:
        (data / "logs").mkdir(parents=True, exist_ok=True)
        if not stamp_file.exists():
            stamp_file.write_text(json.dumps(plan.stamp) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot write {data}: {error.strerror}; choose another folder with --data") from error
    stamped = json.loads(stamp_file.read_text(encoding="utf-8"))
    if stamped != plan.stamp:
        raise BadInput(
            f"{data} holds data of {_named(stamped)}, and this is {_named(plan.stamp)}: they must not mix; "
            "choose another folder with --data"
        )
    return data


def _named(stamp: Mapping[str, Any]) -> str:
    if stamp.get("source") == "simulator":
        return f"the simulator with seed {stamp.get('seed')}"
    return "the exchange" if stamp.get("source") == "exchange" else "recorded files"


@contextlib.contextmanager
def _sole_use(data: Path) -> Iterator[None]:
    with (data / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise BadInput(f"a platform runs on {data} already (process {lock.read().strip() or 'unknown'})") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _start_database(plan: Plan, processes: dict[str, subprocess.Popen[bytes]]) -> str:
    if plan.settings.database_url is not None:
        return plan.settings.database_url.get_secret_value()
    folder = database_folder(plan.settings.data_dir)
    port = free_port()
    arguments = ["lakehouse.database.runner", "--data", str(folder), "--port", str(port)]
    _ready_line(plan, processes, "postgres", arguments, {})
    return server_dsn(folder, port)


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
        pointer.write_text(f"/var/lib/lakehouse-postgres/{name}\n", encoding="utf-8")
    return Path(pointer.read_text(encoding="utf-8").strip())


def _start_exchange(plan: Plan, dsn: str, processes: dict[str, subprocess.Popen[bytes]]) -> str:
    if plan.source == "exchange":
        return plan.settings.iss_url
    arguments = ["lakehouse.simulator", "--port", "0", "--seed", str(plan.seed)]
    arguments += ["--recorded", str(plan.recorded)] if plan.recorded else []
    arguments += ["--frozen"] if plan.frozen else _clock_of(dsn)
    return _ready_line(plan, processes, "simulator", arguments, {}).split()[-1]


def _clock_of(dsn: str) -> list[str]:
    """Return the arguments that keep the simulator's clock from going back behind what was fetched before."""
    with connect(dsn) as conn:
        row = conn.execute("SELECT max(fetched_at) FROM lake.bronze_object").fetchone()
    return ["--now", f"{to_moscow(row[0]):%Y-%m-%d %H:%M:%S}"] if row and row[0] else []


def _start_workers(platform: Platform) -> None:
    environment = _environment(platform)
    plan, processes = platform.plan, platform.processes
    _spawn(plan, processes, "spark", ["lakehouse.jobs.worker"], environment)
    if plan.fetches:
        _spawn(plan, processes, "worker", ["functions.embedded", "worker"], environment)


def _start_web(platform: Platform) -> None:
    plan = platform.plan
    if plan.web == "none":
        return
    port = plan.settings.port or free_port()
    platform.web_url = f"http://{plan.settings.host}:{port}"
    arguments = ["gradio_app.server"] if plan.web == "pages" else ["functions.embedded", "api"]
    environment = {**_environment(platform), "LAKEHOUSE_PORT": str(port)}
    _refuse_taken(port, plan.settings.host)
    _spawn(plan, platform.processes, "web", arguments, environment)
    until = time.monotonic() + _READY_S
    while not _answers(f"{platform.api_url}/v1/health"):
        platform.check()
        if time.monotonic() > until:
            raise ServiceFailed(f"web did not answer within {_READY_S:.0f} s: see {log_file(plan.settings, 'web')}")
        time.sleep(0.1)


def _refuse_taken(port: int, host: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise BadInput(f"port {port} is taken: choose another with --port, or stop what listens there") from None


def _environment(platform: Platform) -> dict[str, str]:
    settings = platform.plan.settings
    is_made = platform.plan.source != "exchange"
    return {
        "LAKEHOUSE_DATA_DIR": str(settings.data_dir.absolute()),
        "LAKEHOUSE_DATABASE_URL": platform.dsn,
        "LAKEHOUSE_BRONZE_URL": settings.bronze_location,
        "LAKEHOUSE_SOURCE": platform.plan.source,
        "LAKEHOUSE_ISS_URL": platform.iss_url,
        # A simulator of one's own need not be spared.
        "LAKEHOUSE_REQUESTS_PER_S": "0" if is_made else str(settings.requests_per_s),
        "LAKEHOUSE_REQUESTS_IN_FLIGHT": str(settings.requests_in_flight),
        "LAKEHOUSE_DASK_SCHEDULER": settings.dask_scheduler,
        "LAKEHOUSE_SPARK_MASTER": settings.spark_master,
        "LAKEHOUSE_HOST": settings.host,
        "LAKEHOUSE_LOG_LEVEL": settings.log_level,
    }


def _spawn(
    plan: Plan,
    processes: dict[str, subprocess.Popen[bytes]],
    name: str,
    arguments: list[str],
    environment: Mapping[str, str],
    stdout: int | None = None,
) -> subprocess.Popen[bytes]:
    with log_file(plan.settings, name).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=stdout if stdout is not None else log,
            stderr=log,
            start_new_session=True,
        )
    processes[name] = process
    return process


def _ready_line(
    plan: Plan,
    processes: dict[str, subprocess.Popen[bytes]],
    name: str,
    arguments: list[str],
    environment: Mapping[str, str],
) -> str:
    """Start a service that prints one line when it is ready; return that line."""
    process = _spawn(plan, processes, name, arguments, environment, stdout=subprocess.PIPE)
    if process.stdout is None:
        raise ServiceFailed(f"{name} has no output")
    line = process.stdout.readline().decode().strip()
    if not line:
        process.wait()
        raise ServiceFailed(f"{name} did not start: {_last_line(log_file(plan.settings, name))}")
    return line


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    said = lines[-1].removeprefix("Error: ") if lines else "it said nothing"
    return f"{said} (see {path})"


def _write_run_file(data: Path, platform: Platform) -> None:
    run = {"pid": os.getpid(), "dsn": platform.dsn, "web_url": platform.web_url}
    descriptor = os.open(data / "run.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(run, file)


def _stop(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """Stop the services, the database last, and whatever they started; no one waits longer than a few seconds."""
    others = [process for name, process in processes.items() if name != "postgres"]
    database = [process for name, process in processes.items() if name == "postgres"]
    for group in (others, database):
        for process in group:
            _signal(process, signal.SIGTERM)
        until = time.monotonic() + _STOP_S
        for process in group:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
            _signal(process, signal.SIGKILL)  # the group: a worker's JVM and Python workers too
            process.wait()
    processes.clear()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if number == signal.SIGKILL:
            os.killpg(process.pid, number)
        elif process.poll() is None:
            process.send_signal(number)


def with_settings(settings: Settings, **changes: Any) -> Settings:
    """Return *settings* with what the command line says; what it leaves out (None) stays."""
    return settings.model_copy(update={name: value for name, value in changes.items() if value is not None})


def stamped_plan(settings: Settings, web: Web, fetches: bool) -> Plan:
    """Return the plan that goes on with a data folder as it is stamped; raise BadInput when there is none."""
    stamp_file = settings.data_dir / "source.json"
    if not stamp_file.exists():
        raise BadInput(
            f"there is no data in {settings.data_dir}: run `lakehouse demo` or `lakehouse up` first, or say --data"
        )
    stamp = json.loads(stamp_file.read_text(encoding="utf-8"))
    return Plan(settings, source=stamp["source"], seed=stamp.get("seed", 1), web=web, fetches=fetches)
