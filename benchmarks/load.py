"""
What the API costs: a year of daily candles, logged in, beside handlers that answer a constant on the same server.

    .venv/bin/python -m benchmarks.load [--seconds 5] [--connections 8 16 32]

The web process runs as the platform starts it, with two routes more: ``bare`` answers from the event loop and shows
what client and server can do at most, ``handler`` is a handler of the functions that asks nobody anything. The client
is wrk (Debian: ``apt-get install wrk``), which costs little of the cores it shares. "web ms" and "postgres" are user
and system time of the web process and of PostgreSQL, each divided by the requests: other programs on the machine change
them least.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow as pa

from benchmarks.publish import days, write_gold
from lakehouse.access import sessions
from lakehouse.access.roles import Role
from lakehouse.access.users import create_user
from lakehouse.database.connection import connect
from lakehouse.database.migrate import migrate
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.ports import direct, free_port
from lakehouse.serving.publish import publish_gold
from lakehouse.silver.lake import Lake

INSTRUMENTS = 50
YEARS = 10
CANDLES = "/api/v1/candles?secid=S007&timeframe=1d&from=2024-01-01&till=2024-12-31&adjust=split"
PATHS = {"bare": "/api/bare", "handler": "/api/v1/constant", "candles": CANDLES}
_READY_S = 60
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Measured:
    """What wrk saw of one path, and what the server spent on it: milliseconds."""

    requests: int
    per_s: float
    p50: float
    p99: float
    refused: int
    web: float
    postgres: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement, at most 60")
    parser.add_argument("--connections", type=int, nargs="+", default=[8, 16, 32], help="kept alive, at most 256")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    if not shutil.which("wrk"):
        sys.exit("Error: wrk is missing: apt-get install wrk (Debian), brew install wrk (macOS)")
    with tempfile.TemporaryDirectory(prefix="lakehouse-load-") as folder:
        root = Path(folder)
        root.chmod(0o755)  # PostgreSQL runs as another user when this one is root
        with EmbeddedPostgres(root / "postgres") as postgres:
            token = prepare(postgres.dsn, root)
            database = psutil.Process(int((root / "postgres" / "postmaster.pid").read_text().split()[0]))
            with served(postgres.dsn, root) as (web, address):
                client = Client(address, token, web, database)
                client.ask(CANDLES, 8, 2)
                print(_HEAD)
                for count in options.connections:
                    show(client, min(count, 256), min(options.seconds, 60))


def serve() -> None:
    """Serve what the platform's web process serves, and the constants beside it."""
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    from functions.app import app as functions_app
    from functions.operation import Call, operation
    from gradio_app.server import create_app, run
    from lakehouse.listening import server_options
    from lakehouse.logs import configure_logs_of
    from lakehouse.settings import load_settings

    @functions_app.route("/v1/constant")
    @operation(None, "answer a constant", holds_connection=False)
    def constant(_: Call) -> object:
        return {"status": "ok"}

    async def bare(_: Request) -> PlainTextResponse:
        return PlainTextResponse('{"status":"ok"}')

    settings = load_settings()
    configure_logs_of(settings)
    application = create_app(settings)
    application.router.routes.insert(0, Route("/api/bare", bare))
    run(application, server_options(settings), settings.log_level)


def prepare(dsn: str, root: Path) -> str:
    """Publish ten years of days; return the token of a viewer."""
    migrate(dsn)
    lake = Lake(str(root / "lake"))
    write_gold(lake, pa.concat_tables([days(number, YEARS) for number in range(INSTRUMENTS)]))
    print(f"published {publish_gold(dsn, lake).rows:,} daily candles of {INSTRUMENTS} instruments")
    with connect(dsn, "lakehouse_app") as conn:
        create_user(conn, "load", "a password of the benchmark", Role.VIEWER)
        return sessions.login(conn, "load", "a password of the benchmark", "127.0.0.1").token


@contextmanager
def served(dsn: str, root: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Run the web process while the block runs; yield it and its address."""
    port = free_port()
    environment = {
        **os.environ,
        "LAKEHOUSE_DATABASE_URL": dsn,
        "LAKEHOUSE_DATA_DIR": str(root),
        "LAKEHOUSE_PORT": str(port),
        "LAKEHOUSE_SANDBOX": "off",
    }
    with (root / "web.log").open("wb") as log:
        web = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load", "--serve"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
        try:
            until = time.monotonic() + _READY_S
            while not _answers(f"http://127.0.0.1:{port}/api/bare"):
                if web.poll() is not None or time.monotonic() > until:
                    sys.exit(f"Error: the web process did not start: {(root / 'web.log').read_text()[-2000:]}")
                time.sleep(0.2)
            yield psutil.Process(web.pid), f"http://127.0.0.1:{port}"
        finally:
            web.terminate()
            web.wait(10)


@dataclass(frozen=True)
class Client:
    """Asks the web process at *address* with wrk, and sees what it and the database spend."""

    address: str
    token: str
    web: psutil.Process
    database: psutil.Process

    def ask(self, path: str, connections: int, seconds: int) -> Measured:
        """Keep *connections* busy for some seconds."""
        before = _cpu_s(self.web), _cpu_s(self.database)
        said = subprocess.run(
            [
                *("wrk", "--threads=1", f"--connections={connections}", f"--duration={seconds}s", "--latency"),
                *("--header", f"Authorization: Bearer {self.token}", self.address + path),
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=seconds + 60,
        ).stdout
        requests = int(_found(r"(\d+) requests in", said))
        web, database = _cpu_s(self.web) - before[0], _cpu_s(self.database) - before[1]
        refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
        return Measured(
            requests,
            float(_found(r"Requests/sec:\s+([\d.]+)", said)),
            _milliseconds(_found(r"\n +50%\s+(\S+)", said)),
            _milliseconds(_found(r"\n +99%\s+(\S+)", said)),
            int(refused[1]) if refused else 0,
            web / requests * 1e3,
            database / requests * 1e3,
        )


def show(client: Client, connections: int, seconds: int) -> None:
    """Print a line of each path, and what share of the constant's pace the candles have."""
    pace = {}
    for name, path in PATHS.items():
        found = client.ask(path, connections, seconds)
        pace[name] = found.per_s
        ratio = f"{pace['bare'] / found.per_s:5.1f}x"
        print(
            f"{connections:>11} {name:8} {found.per_s:9,.0f} {found.p50:8.1f} {found.p99:8.1f} {found.web:8.2f} "
            f"{found.postgres:9.2f} {ratio:>6} {found.refused:>8} {os.getloadavg()[0]:6.1f}"
        )


_HEAD = (
    f"{'connections':>11} {'path':8} {'requests/s':>9} {'p50 ms':>7} {'p99 ms':>8} {'web ms':>8} {'postgres':>9} "
    f"{'cost':>6} {'refused':>8} {'load':>6}"
)


def _cpu_s(process: psutil.Process) -> float:
    """Return the seconds that a process and those it started have computed, ended ones too."""
    own = process.cpu_times()
    total: float = own.user + own.system + own.children_user + own.children_system
    for child in process.children():
        times = child.cpu_times()
        total += times.user + times.system
    return total


def _found(pattern: str, said: str) -> str:
    found = re.search(pattern, said)
    if found is None:
        sys.exit(f"Error: wrk said something else than its figures:\n{said}")
    return found[1]


def _milliseconds(text: str) -> float:
    unit = text.lstrip("0123456789.")
    return float(text.removesuffix(unit)) * _UNITS[unit]


def _answers(url: str) -> bool:
    try:
        with direct().open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    main()
