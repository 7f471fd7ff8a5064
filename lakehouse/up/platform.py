"""The platform: its services in their order, and its addresses."""

from __future__ import annotations

import contextlib
import os
import secrets
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from lakehouse.access.users import ensure_admin
from lakehouse.database.connection import connect
from lakehouse.database.logins import WEB_LOGIN, set_logins
from lakehouse.database.migrate import migrate
from lakehouse.database.outage import connect_patiently
from lakehouse.database.runner import server_dsn
from lakehouse.jobs.consumer import forget_dead_workers
from lakehouse.listening import check_listening, local_trust, local_url
from lakehouse.market.errors import BadInput
from lakehouse.market.moscow import to_moscow
from lakehouse.ports import direct, free_port, is_free
from lakehouse.up import folder
from lakehouse.up.plan import Plan
from lakehouse.up.service import Service, ServiceFailed
from lakehouse.up.supervisor import Supervisor

_READY_S = 600.0
_FORMER_ENDS_S = 20.0
_DATABASE_S = 10.0


@dataclass
class Platform:
    """
    A running platform: addresses, the first admin's password if made now, and its services.

    Attributes:
        dsn: The database, as its owner.
        app_dsn: The database for the web process, which may do no more than the app's role, where that can be.
    """

    plan: Plan
    dsn: str
    app_dsn: str
    iss_url: str
    web_url: str
    password: str | None
    supervisor: Supervisor

    @property
    def api_url(self) -> str:
        """Where the functions are."""
        return f"{self.web_url}/api" if self.plan.web == "pages" else self.web_url

    def check(self) -> None:
        """Raise ServiceFailed if a service died so often that it was given up, with the last line of its log."""
        self.supervisor.check()

    def wait(self) -> None:
        """Return only when a service is given up (ServiceFailed), or a signal raises."""
        while True:
            self.check()
            time.sleep(0.5)


@contextlib.contextmanager
def running(plan: Plan) -> Iterator[Platform]:
    """
    Start the platform, yield it, and stop it however the block ends.

    Raises:
        LakehouseError: one line on what is in the way: the folder in use, of another source, unwritable; a disk that
            is full; a port taken.
    """
    check_listening(plan.settings)
    data = folder.prepared(plan)
    with folder.sole_use(data), contextlib.ExitStack() as stack:
        places = [data] if plan.settings.database_url else [data, folder.database_folder(data)]
        folder.check_space(places[:1] if _same_disk(places) else places, _say)
        folder.claim_stores(plan)
        port = _web_port(plan, data)
        folder.clear_leftovers(plan.settings)
        stack.callback(folder.clear_spark, data)
        database = _Database(plan)
        supervisor = Supervisor(data, _say, database.forget_dead)
        stack.callback(supervisor.stop)
        database.start(supervisor)
        connect_patiently(database.dsn, patience_s=_DATABASE_S).close()
        migrate(database.dsn)
        forget_dead_workers(database.dsn)
        with connect(database.dsn) as conn:
            password = ensure_admin(conn)
        iss_url = _start_exchange(plan, database.dsn, supervisor) if plan.fetches else ""
        web_url = local_url(plan.settings, port) if port else ""
        app_dsn = database.dsn if plan.settings.database_url else _app_dsn(database.dsn)
        platform = Platform(plan, database.dsn, app_dsn, iss_url, web_url, password, supervisor)
        _start_workers(platform)
        _start_sandbox(platform)
        _start_web(platform, port)
        run = {"pid": os.getpid(), "dsn": database.dsn, "web_url": web_url}
        stack.enter_context(folder.run_file(data, run))
        supervisor.watch()
        yield platform


class _Database:
    """The database of the platform: an embedded server, unless the settings name one."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        url = plan.settings.database_url
        self.dsn = url.get_secret_value() if url is not None else ""

    def start(self, supervisor: Supervisor) -> None:
        if self.dsn:
            return
        place, port = folder.database_folder(self._plan.settings.data_dir), free_port()
        arguments = ["lakehouse.database.runner", "--data", str(place), "--port", str(port)]
        # A killed supervisor's server may still be stopping
        arguments += ["--patience", "60"]
        supervisor.start(_service(self._plan, "postgres", arguments, says_ready=True))
        self.dsn = server_dsn(place, port)

    def forget_dead(self, service: Service) -> None:
        """Have the messages of a worker that died taken up at once; without a database the next worker does it."""
        if service.queue:
            with contextlib.suppress(psycopg.OperationalError):
                forget_dead_workers(self.dsn, service.queue)


def _app_dsn(dsn: str) -> str:
    """Return the address of our own server for a login that has the app's role alone, with a new password."""
    password = secrets.token_urlsafe(24)
    with connect(dsn) as conn:
        set_logins(conn, {WEB_LOGIN: password})
    return make_conninfo(dsn, user=WEB_LOGIN, password=password)


def _start_exchange(plan: Plan, dsn: str, supervisor: Supervisor) -> str:
    if plan.source == "exchange":
        return plan.settings.iss_url
    port = free_port()  # not 0: started again, it must be where it was
    arguments = ["lakehouse.simulator", "--port", str(port), "--seed", str(plan.seed)]
    arguments += ["--recorded", str(plan.recorded)] if plan.recorded else []
    arguments += ["--frozen"] if plan.frozen else _clock_of(dsn)
    return supervisor.start(_service(plan, "simulator", arguments, says_ready=True)).split()[-1]


def _clock_of(dsn: str) -> list[str]:
    """Return the arguments that keep the simulator's clock from going back behind what was fetched before."""
    with connect(dsn) as conn:
        row = conn.execute("SELECT max(fetched_at) FROM lake.bronze_object").fetchone()
    return ["--now", f"{to_moscow(row[0]):%Y-%m-%d %H:%M:%S}"] if row and row[0] else []


def _start_workers(platform: Platform) -> None:
    environment, plan = _environment(platform), platform.plan
    platform.supervisor.start(_service(plan, "spark", ["lakehouse.jobs.worker"], environment, queue="spark"))
    if plan.fetches:
        arguments = ["functions.embedded", "worker"]
        platform.supervisor.start(_service(plan, "worker", arguments, environment, queue="io"))


def _start_sandbox(platform: Platform) -> None:
    """Start what runs analysts' programs for the pages; whether it can, it finds out itself."""
    plan = platform.plan
    if plan.web != "pages" or (socket := _sandbox_socket(plan)) is None:
        return
    arguments = ["lakehouse.sandbox.runner", "--socket", str(socket), "--log-level", plan.settings.log_level]
    arguments += ["--log-format", plan.settings.log_format]
    log = folder.log_file(plan.settings, "sandbox")
    bare = {"LANG": "C.UTF-8", "PATH": os.defpath}
    platform.supervisor.start(Service("sandbox", arguments, log, bare, is_bare=True, is_spared=True))


def _sandbox_socket(plan: Plan) -> Path | None:
    return plan.settings.data_dir.absolute() / "sandbox.sock" if plan.settings.sandbox == "auto" else None


def _web_port(plan: Plan, data: Path) -> int:
    """Return the port of the web process, 0 for none; raise BadInput if somebody has it."""
    if plan.web == "none":
        return 0
    port = plan.settings.port or free_port()
    until = time.monotonic() + (_FORMER_ENDS_S if folder.was_killed(data) else 0)
    while not _can_bind(plan.settings.host, port):
        if time.monotonic() >= until:
            raise BadInput(f"port {port} is taken: choose another with --port, or stop what listens there")
        time.sleep(0.1)
    return port


def _can_bind(host: str, port: int) -> bool:
    try:
        return is_free(port, host)
    except OSError as error:
        raise BadInput(
            f"cannot listen on {host}, port {port} ({error.strerror}): choose another --host or --port"
        ) from error


def _start_web(platform: Platform, port: int) -> None:
    plan, supervisor = platform.plan, platform.supervisor
    if not port:
        return
    arguments = ["gradio_app.server"] if plan.web == "pages" else ["functions.embedded", "api"]
    environment = {
        **_environment(platform),
        "LAKEHOUSE_DATABASE_URL": platform.app_dsn,
        "LAKEHOUSE_PORT": str(port),
    }
    if (socket := _sandbox_socket(plan)) is not None:
        environment["LAKEHOUSE_SANDBOX_SOCKET"] = str(socket)
    service = _service(plan, "web", arguments, environment)
    supervisor.start(service)
    until = time.monotonic() + _READY_S
    trusted = local_trust(plan.settings)
    while not _answers(f"{platform.api_url}/v1/health", trusted):
        platform.check()
        if time.monotonic() > until:
            raise ServiceFailed(f"web did not answer within {_READY_S:.0f} s: see {service.log}")
        time.sleep(0.1)


def _environment(platform: Platform) -> dict[str, str]:
    settings = platform.plan.settings
    is_made = platform.plan.source != "exchange"
    return {
        "LAKEHOUSE_DATA_DIR": str(settings.data_dir.absolute()),
        "LAKEHOUSE_DATABASE_URL": platform.dsn,
        "LAKEHOUSE_BRONZE_URL": settings.bronze_location,
        "LAKEHOUSE_LAKE_URL": settings.lake_location,
        "LAKEHOUSE_SOURCE": platform.plan.source,
        "LAKEHOUSE_ISS_URL": platform.iss_url,
        # A simulator of one's own need not be spared.
        "LAKEHOUSE_REQUESTS_PER_S": "0" if is_made else str(settings.requests_per_s),
        "LAKEHOUSE_REQUESTS_IN_FLIGHT": str(settings.requests_in_flight),
        "LAKEHOUSE_DASK_SCHEDULER": settings.dask_scheduler,
        "LAKEHOUSE_SPARK_MASTER": settings.spark_master,
        "LAKEHOUSE_HOST": settings.host,
        "LAKEHOUSE_BEHIND_PROXY": str(settings.behind_proxy),
        "LAKEHOUSE_LOG_LEVEL": settings.log_level,
    }


def _service(
    plan: Plan,
    name: str,
    arguments: list[str],
    environment: dict[str, str] | None = None,
    *,
    queue: str = "",
    says_ready: bool = False,
) -> Service:
    log = folder.log_file(plan.settings, name)
    return Service(name, arguments, log, environment or {}, queue=queue, says_ready=says_ready)


def _same_disk(places: list[Path]) -> bool:
    existing = [next(path for path in (place, *place.parents) if path.exists()) for place in places]
    return len({path.stat().st_dev for path in existing}) == 1


def _answers(url: str, trusted: ssl.SSLContext | None) -> bool:
    try:
        with direct(trusted).open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
