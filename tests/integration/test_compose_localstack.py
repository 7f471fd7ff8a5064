"""The profile of LocalStack: its service and the functions that another deploys there, without Docker."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from infra.aws.package import stage
from infra.installing.lambda_runtime import has_lambda_runtime
from infra.installing.localstack import how_to_install, is_installed
from lakehouse.access.roles import Role
from lakehouse.access.users import create_user
from tests.components import require
from tests.composition import composition
from tests.containers import Container, bring_up, ground

pytestmark = pytest.mark.postgres

SERVICES = ("postgres", "migrate", "simulator", "localstack", "functions")
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Iterator[Mapping[str, Container]]:
    """Return what of the profile is not in the others, and what it needs; pages and Spark are tried there."""
    if not (is_installed() and has_lambda_runtime()):
        require("LocalStack", how_to_install())
    folder = tmp_path_factory.mktemp("compose")
    services = composition(folder, "localstack")["services"]
    project = folder / "project"
    stage(archive, project)  # as the image of `functions` holds it
    with ground(folder / "ground", list(services), {"/opt/lakehouse/build/chalice": project}) as place:
        running = {name: Container(name, services[name], place) for name in SERVICES}
        try:
            bring_up(running, within_s=900)
            yield running
        finally:
            for container in running.values():
                container.kill()


def test_a_job_is_done_by_functions_alone(containers: Mapping[str, Container], tmp_path: Path) -> None:
    """What is asked of the deployed API is planned and read by functions that queues wake; no worker runs."""
    place = containers["functions"].ground
    dsn = owner(containers["migrate"])
    place.inside(lambda: make_admin(dsn))
    host = containers["functions"].said().split("//")[-1].split("/")[0]
    session = place.inside(lambda: ask(host, "/login", {"user": "boss", "password": PASSWORD}))
    request = {"instruments": ["SBER"], "timeframes": ["1d"], "from": "2026-03-02", "till": "2026-03-31"}
    queued = place.inside(lambda: ask(host, "/ingest", request, session["token"]))
    until = time.monotonic() + 900
    while not (landed := place.inside(lambda: objects(dsn))):
        assert time.monotonic() < until, [each.said() for each in containers.values()]
        time.sleep(1)
    assert queued["job_id"] == 1
    assert any("/candles/stock/shares/TQBR/SBER/1d/" in key for key in landed), landed


def test_secrets_of_the_owner_are_not_with_the_functions(containers: Mapping[str, Container]) -> None:
    """They act as the app's login; neither service has the owner's password."""
    secret = psycopg.conninfo.conninfo_to_dict(owner(containers["migrate"]))["password"]
    for name in ("localstack", "functions"):
        assert str(secret) not in json.dumps(containers[name].service)


def owner(migrate: Container) -> str:
    return str(migrate.service["environment"]["LAKEHOUSE_DATABASE_URL"]).replace("@postgres:", "@127.0.0.1:")


def make_admin(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        create_user(conn, "boss", PASSWORD, Role.ADMIN)


def objects(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as conn:
        rows = conn.execute("SELECT object_key FROM lake.bronze_object WHERE family = 'candles'")
        return [key for (key,) in rows]


def ask(host: str, path: str, document: Any, token: str = "") -> Any:
    """Return the JSON of an answer of the API, which the gateway knows by its host's name."""
    headers = {"Host": host, "Content-Type": "application/json"} | (
        {"Authorization": f"Bearer {token}"} if token else {}
    )
    connection = http.client.HTTPConnection("127.0.0.1", 4566, timeout=300)
    connection.request("POST", f"/api/v1{path}", json.dumps(document), headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    assert answer.status < 300, body
    return json.loads(body)
