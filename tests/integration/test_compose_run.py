"""The services of docker-compose.yml run as a container engine would, and the platform that they are, end to end."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from infra.env import SECRETS, read
from infra.installing.caddy import find_caddy, how_to_install
from infra.installing.go_program import how_to_install as how_to_install_minio
from lakehouse.sandbox.host import Sandbox
from lakehouse.storage.minio import minio_program
from tests.components import require
from tests.composition import composition
from tests.containers import Container, Ground, bring_up, ground

pytestmark = [pytest.mark.postgres, pytest.mark.spark]

PYTHON = "/opt/lakehouse/.venv/bin/python"
SITE = "https://localhost:8443"
PASSWORD = "correct horse battery staple"
# The programs that stand for images lie there
_NAMES = ("spark-driver",)


@dataclass
class Running:
    """
    A composition that runs.

    Attributes:
        secrets: What its .env says.
        authority: Of the proxy's certificate.
    """

    ground: Ground
    containers: Mapping[str, Container]
    secrets: Mapping[str, str]
    authority: Path

    def ask(self, path: str, document: Any = None, token: str = "", site: str = SITE) -> tuple[int, Any]:
        """Return status and JSON of an answer of the platform, through the proxy."""
        request = urllib.request.Request(f"{site}{path}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if document is not None:
            request.data = json.dumps(document).encode()
            request.add_header("Content-Type", "application/json")
        return self.ground.inside(lambda: self._answer(request))

    def _answer(self, request: urllib.request.Request) -> tuple[int, Any]:
        trusting = ssl.create_default_context(cafile=self.authority)
        no_proxy = urllib.request.ProxyHandler({})
        opener = urllib.request.build_opener(no_proxy, urllib.request.HTTPSHandler(context=trusting), _Stay())
        try:
            with opener.open(request, timeout=300) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("Location") or error.read().decode()


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return the platform on both clusters, against the simulator: every service but LocalStack's."""
    if find_caddy() is None:
        require("Caddy", how_to_install())
    if not minio_program().is_file():
        require("MinIO", how_to_install_minio())
    folder = tmp_path_factory.mktemp("compose")
    services = composition(folder, "cluster,demo")["services"]
    with ground(folder / "ground", [*services, *_NAMES]) as place:
        containers = {name: Container(name, service, place) for name, service in services.items()}
        try:
            bring_up(containers, within_s=900)
            authority = place.volumes["certificates"] / "caddy" / "pki" / "authorities" / "local" / "root.crt"
            yield Running(place, containers, read(folder / "cluster,demo.env"), authority)
        finally:
            for container in containers.values():
                container.kill()


@pytest.fixture(scope="module")
def token(running: Running) -> str:
    """Return the session of an admin, made as docs/compose.md says."""
    command = "/opt/lakehouse/.venv/bin/lakehouse", "users", "add", "boss", "--role", "admin"
    added = running.containers["spark"].run(*command, given=f"{PASSWORD}\n{PASSWORD}\n")
    assert added.returncode == 0, added.stderr
    assert "boss is admin" in added.stdout
    status, session = running.ask("/api/v1/login", {"user": "boss", "password": PASSWORD})
    assert status == 200, session
    return str(session["token"])


def test_every_service_is_well(running: Running) -> None:
    """By its own health check, each time it is asked."""
    for name, container in running.containers.items():
        if "healthcheck" in container.service:
            assert container.why_unhealthy() is None, name
        else:
            assert container.has_ended, name


def test_http_leads_to_https(running: Running) -> None:
    """A link or a habit without TLS gets nothing but the way to it."""
    status, location = running.ask("/api/v1/health?x=1", site="http://localhost:8080")
    assert (status, location) == (308, "https://localhost/api/v1/health?x=1")


def test_candles_come_through_all_of_it(running: Running, token: str) -> None:
    """An admin asks for a ticker's days through the proxy, both clusters work, and the API shows the candles."""
    request = {"instruments": ["SBER"], "timeframes": ["1d"], "from": "2026-03-02", "till": "2026-03-31"}
    status, queued = running.ask("/api/v1/ingest", request, token)
    assert status == 202, queued
    job = _until(lambda: _over(running, queued["job_id"], token), within_s=900)
    assert job["state"] == "done", job
    asked = "/api/v1/candles?secid=SBER&timeframe=1d&from=2026-03-02&till=2026-03-31"
    found = _until(lambda: running.ask(asked, token=token)[1]["rows"], within_s=900)
    assert 15 <= len(found) <= 31
    assert {row[1][:7] for row in found} == {"2026-03"}
    master = running.ground.inside(lambda: _page("http://127.0.0.1:18080/json/"))
    assert [app["name"] for app in master["activeapps"]] == ["lakehouse"]
    assert master["aliveworkers"] == 1
    assert running.ground.inside(lambda: _page("http://127.0.0.1:8787/json/counts.json"))["workers"] == 1


def test_strangers_get_nothing(running: Running) -> None:
    """Without a session the proxy leads to the same refusals as ever."""
    status, _ = running.ask("/api/v1/candles?secid=SBER&timeframe=1d")
    assert status == 401


def test_the_web_process_has_programs_run_in_the_sandbox(running: Running) -> None:
    """Over the one folder that both share, by the one user that both are."""
    ask = (
        "from pathlib import Path; from lakehouse.sandbox.host import Sandbox\n"
        "said = Sandbox(Path('/run/lakehouse/sandbox.sock')).run('print(6 * 7)', b'', user='anna')\n"
        "print(said.status, said.items)"
    )
    ran = running.containers["web"].run(PYTHON, "-c", ask)
    assert ran.stdout == "done (Text(text='42\\n', stream='out'),)\n", ran


def test_the_sandbox_is_on_without_rights(running: Running) -> None:
    """With all capabilities dropped, no new privileges and a read-only root its own test of itself holds."""
    socket = running.ground.volumes["sandbox-socket"] / "sandbox.sock"
    assert Sandbox(socket).why_off() is None


def test_the_sandbox_has_no_network(running: Running) -> None:
    """A loopback that is down is all that is there; the database's port answers others."""
    look = "import socket\nprint(socket.if_nameindex())\nsocket.create_connection(('127.0.0.1', 5432), 2)"
    looked = running.containers["sandbox"].run(PYTHON, "-c", look)
    assert looked.stdout == "[(1, 'lo')]\n"
    assert "Network is unreachable" in looked.stderr
    others = running.containers["web"].run(PYTHON, "-c", look)
    assert others.returncode == 0, others.stderr


@pytest.mark.parametrize("name", ["web", "worker", "spark", "sandbox", "postgres", "minio", "proxy", "dask-worker"])
def test_a_service_writes_only_where_it_may(running: Running, name: str) -> None:
    """Its root is read-only, and it has no right to change that."""
    tried = running.containers[name].run("sh", "-c", "touch /opt/here || touch /usr/here || mount -o remount,rw /")
    assert tried.returncode != 0
    assert "Read-only file system" in tried.stderr
    seen = running.containers[name].run("grep", "-E", "^(Cap(Eff|Prm|Bnd|Amb)|NoNewPrivs)", "/proc/1/status").stdout
    assert {line.split(":")[0]: int(line.split()[1], 16) for line in seen.splitlines()} == {
        "CapPrm": 0,
        "CapEff": 0,
        "CapBnd": 0,
        "CapAmb": 0,
        "NoNewPrivs": 1,
    }


def test_the_app_and_the_reader_may_no_more_than_their_roles(running: Running) -> None:
    """The app's login makes no tables and alters no audit row; the reader's only reads what is served."""
    app, reader = ("lakehouse_web", "LAKEHOUSE_APP_PASSWORD"), ("lakehouse_reader", "LAKEHOUSE_READ_PASSWORD")
    for who, statement, is_refused in (
        (app, "SELECT count(*) FROM lake.job", False),
        (app, "CREATE TABLE lake.mine (a int)", True),
        (app, "DELETE FROM lake.audit", True),
        (reader, "SELECT count(*) FROM gold.fact_candle", False),
        (reader, "SELECT count(*) FROM lake.app_user", True),
        (reader, "DELETE FROM gold.fact_candle", True),
    ):
        dsn = f"postgresql://{who[0]}:{running.secrets[who[1]]}@127.0.0.1:5432/lakehouse"
        assert running.ground.inside(partial(_is_refused, dsn, statement)) == is_refused, (who, statement)


def test_no_log_shows_a_secret(running: Running) -> None:
    """What containers say is kept by the engine, and read by many."""
    shown = [
        (container.name, name)
        for container in running.containers.values()
        for name in SECRETS
        if running.secrets[name] in container.log.read_text(errors="replace")
    ]
    assert shown == []


def test_a_second_start_changes_nothing(running: Running) -> None:
    """The services that run once say that all is there; the data are as they were."""
    for name in ("migrate", "buckets"):
        again = Container(name, running.containers[name].service, running.ground, suffix="-again")
        again.start()
        assert again.process is not None
        assert again.process.wait(900) == 0, again.said()
        assert "now: none" in again.said()


def _is_refused(dsn: str, statement: str) -> bool:
    with psycopg.connect(dsn) as conn:
        try:
            conn.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege:
            return True
    return False


def _over(running: Running, job_id: int, token: str) -> Any:
    status, job = running.ask(f"/api/v1/jobs/{job_id}", token=token)
    return job if status == 200 and job["state"] in ("done", "failed", "cancelled") else None


def _until(look: Callable[[], Any], within_s: float) -> Any:
    until = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < until
        time.sleep(0.5)
    return found


def _page(url: str) -> Any:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=120) as answer:
        return json.loads(answer.read())
