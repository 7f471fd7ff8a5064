"""The functions' package as Lambda gets it: made twice the same, run alone, with its policies held to what it does."""

from __future__ import annotations

import base64
import datetime as dt
import json
import subprocess
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from chalice.cli.factory import CLIFactory
from chalice.deploy import models
from chalice.deploy.appgraph import ApplicationGraphBuilder
from chalice.deploy.packager import DependencyBuilder, LambdaDeploymentPackager
from chalice.utils import UI, OSUtils
from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo

from functions.embedded import queue_event, step_event, storage_event
from infra.aws.deployment import prepare
from infra.aws.package import (
    import_handlers,
    make_package,
    runs_here,
    stage,
    wrong_contents,
    wrong_imports,
    wrong_sizes,
)
from infra.aws.policies import API, OBJECTS
from infra.aws.third_party import install_into, python_version
from infra.installing.environment import base_python
from lakehouse.access.sessions import mint
from lakehouse.access.users import create_user
from lakehouse.database.connection import connect
from lakehouse.jobs import claiming, queue
from tests.bronze_objects import CANDLE_COLUMNS, block
from tests.bronze_objects import candle as made_candle
from tests.components import require
from tests.exchange import candle, days
from tests.s3_stand_in import StandIn, s3_stand_in
from tests.served_exchange import Document, ServedExchange, served

T = dt.datetime.fromisoformat
NOW = dt.datetime(2024, 3, 20, 12, 0, tzinfo=dt.UTC)
# What Lambda does, with nothing on the path but the package
CALL = """
import json, sys
sys.path.insert(0, sys.argv[1])
import app
print(json.dumps(getattr(app, sys.argv[2])(json.load(sys.stdin), None)))
"""
HEALTH: dict[str, Any] = {
    "requestContext": {"resourcePath": "/v1/health", "httpMethod": "GET", "identity": {"sourceIp": "192.0.2.1"}},
    "multiValueQueryStringParameters": None,
    "headers": {},
    "pathParameters": {},
    "body": None,
    "isBase64Encoded": False,
    "stageVariables": None,
}


@pytest.fixture(scope="module")
def unpacked(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that Lambda would run."""
    if not runs_here():
        require("Linux on x86_64", "the package is made for Lambda's")
    folder = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return folder


@pytest.mark.usefixtures("unpacked")
def test_the_package_is_whole_small_and_imports_alone(archive: Path) -> None:
    """Our modules are in it as they are here, it is within its limits, and the handlers need nothing else."""
    imported = import_handlers(archive)
    assert [*wrong_contents(archive), *wrong_sizes(archive), *wrong_imports(imported)] == []


def test_two_packages_are_equal_to_the_byte(archive: Path, tmp_path: Path) -> None:
    """Also when the packages of the second are installed anew."""
    anew = tmp_path / "anew"
    anew.mkdir()
    install_into(anew, python_version())
    make_package(tmp_path / "functions.zip", anew)
    assert (tmp_path / "functions.zip").read_bytes() == archive.read_bytes()


def test_chalice_uploads_the_files_of_the_package(archive: Path, tmp_path: Path) -> None:
    """What Chalice packs of the staged project is what was checked, and it asks no registry for more."""
    stage(archive, tmp_path)
    (tmp_path / "requirements.txt").touch()
    os_utils = OSUtils()
    packager = LambdaDeploymentPackager(os_utils, DependencyBuilder(os_utils), UI())
    uploaded = packager.create_deployment_package(str(tmp_path), f"python{python_version()}")
    assert contents(Path(uploaded)) == contents(archive)


def contents(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist()}


@dataclass
class Functions:
    """The functions, each call in a process of its own, as on a cold start."""

    folder: Path
    environ: Mapping[str, str]
    s3: StandIn
    conn: Connection[Any]
    used: dict[str, set[tuple[str, str]]] = field(default_factory=dict)

    def call(self, handler: str, event: Mapping[str, Any]) -> Any:
        self.s3.used.clear()
        command = [base_python(), "-I", "-S", "-c", CALL, str(self.folder), handler]
        ran = subprocess.run(
            command, input=json.dumps(event), env=self.environ, capture_output=True, text=True, timeout=300, check=False
        )
        assert ran.returncode == 0, ran.stderr
        self.used.setdefault(handler, set()).update(self.s3.used)
        return json.loads(ran.stdout.splitlines()[-1])

    def work(self, task: str, handler: str) -> int:
        """Wake *handler* for each waiting message of *task*; return how many there were."""
        messages = claiming.waiting(self.conn, [task])
        for message_id in messages:
            self.call(handler, queue_event({"message_id": message_id}))
        return len(messages)


@pytest.fixture
def exchange() -> Iterator[ServedExchange]:
    """Return an exchange that has SBER's days."""
    made = ServedExchange(NOW)
    made.fault = garbling("")
    made.candles[24] = [candle(T("2024-03-01") + dt.timedelta(day)) for day in range(20)]
    made.history = days(dt.date(2024, 3, 1), 19, ["SMAL", "TQBR"])
    with served(made):
        yield made


@pytest.fixture
def functions_dsn(dsn: str) -> Iterator[str]:
    """Return the address of the database for a user who has the rights of the role of the app (docs/aws.md)."""
    user, password = f"functions_{uuid.uuid4().hex}", uuid.uuid4().hex
    with connect(dsn) as conn:
        conn.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE lakehouse_app").format(
                sql.Identifier(user), sql.Literal(password)
            )
        )
        yield make_conninfo(dsn, user=user, password=password)
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(user)))


@pytest.fixture
def functions(unpacked: Path, dsn: str, functions_dsn: str, exchange: ServedExchange) -> Iterator[Functions]:
    """Return the functions with a database, an exchange, and a stand-in for S3."""
    with s3_stand_in() as s3, connect(dsn) as conn:
        environ = {
            "LAKEHOUSE_DATABASE_URL": functions_dsn,
            "LAKEHOUSE_REQUESTS_PER_S": "50",
            "LAKEHOUSE_BRONZE_URL": "s3://lakehouse-bronze",
            "LAKEHOUSE_ISS_URL": exchange.url,
            "LAKEHOUSE_S3_ENDPOINT": s3.url,
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "example",
            "AWS_SESSION_TOKEN": "example",
        }
        yield Functions(unpacked, environ, s3, conn)


@pytest.mark.postgres
def test_each_handler_has_its_effect_from_the_package_alone(functions: Functions) -> None:
    """A job is planned, fetched into S3 and announced, and the API answers, with nothing installed but the package."""
    request = queue.IngestRequest.parse({"instruments": ["SBER"]})
    job_id = queue.submit_ingest(functions.conn, request, "anna")
    assert functions.work("ingest", "ingest_step") == 1
    assert functions.work("fetch", "fetch") > 0
    landed = {window.state for window in queue.windows(functions.conn, job_id)}
    functions.conn.execute("DELETE FROM procrastinate_jobs")
    functions.conn.execute("DELETE FROM lake.bronze_object")
    functions.call("landed", storage_event("lakehouse-bronze", next(iter(functions.s3.objects))))
    waiting = functions.conn.execute("SELECT task_name FROM procrastinate_jobs").fetchall()
    recorded = functions.conn.execute("SELECT count(*) FROM lake.bronze_object").fetchone()
    answer = functions.call("app", HEALTH)
    assert (landed, waiting, recorded, answer["statusCode"]) == ({"landed"}, [("merge",)], (1,), 200)


@pytest.mark.postgres
def test_the_policies_allow_what_the_handlers_use_of_s3_and_nothing_else(
    functions: Functions, exchange: ServedExchange
) -> None:
    """Through calm jobs, jobs whose answers nobody understands, and a store that loses its own."""
    request = queue.IngestRequest.parse({"instruments": ["SBER"], "from": "2024-03-01", "reread": True})
    for garbled, functions.s3.is_shaky in (("candleborders", True), ("", False), ("candles", True), ("", True)):
        exchange.fault = garbling(garbled)
        functions.conn.execute("UPDATE lake.bronze_object SET merged_at = now(), published_at = now()")
        queue.submit_ingest(functions.conn, request, "anna")
        functions.work("ingest", "ingest_step")
        functions.work("fetch", "fetch")
    functions.conn.execute("DELETE FROM lake.bronze_object")
    functions.call("landed", storage_event("lakehouse-bronze", next(iter(functions.s3.objects))))
    upload_everything(functions)
    allowed = {
        {API: "app"}.get(handler, handler): {
            (action, folder) for action, folders in actions.items() for folder in folders
        }
        for handler, actions in OBJECTS.items()
    }
    assert functions.used == allowed


def upload_everything(functions: Functions) -> None:
    """Upload a page over HTTP, into S3, and there unheard of, with answers of S3 that are lost; then accept one."""
    token = mint(functions.conn, create_user(functions.conn, "root", "a long password", "admin"), dt.timedelta(hours=1))
    place = "stock/shares/TQBR/SBER/1d"
    page = json.dumps({"candles": block(CANDLE_COLUMNS, [made_candle("2012-03-01 00:00:00")])})
    key = f"uploads/candles/{place}/2.json"
    functions.s3.objects[key] = page.encode()
    functions.s3.is_shaky = True
    functions.call("uploaded", storage_event("lakehouse-bronze", key))
    unheard = {"schedule": "reconcile", "due_at": "2024-03-20T12:00:00Z"}
    functions.s3.objects[key.replace("2", "3")] = page.encode()
    functions.call("ingest_step", step_event("reconcile", unheard))
    found = functions.conn.execute("SELECT upload_key FROM lake.upload ORDER BY 1").fetchall()
    assert found == [(key,), (key.replace("2", "3"),)]
    fields = dict(zip(("board", "secid", "timeframe", "name"), ("TQBR", "SBER", "1d", "1.json"), strict=True))
    posts = {"/v1/uploads": page, "/v1/uploads/accept": json.dumps({"upload_key": key})}
    for path, body in posts.items():
        is_binary = TYPE_BY_PATH[path] == "application/octet-stream"
        answer = functions.call(
            "app",
            {
                **HEALTH,
                "requestContext": {**HEALTH["requestContext"], "resourcePath": path, "httpMethod": "POST"},
                "multiValueQueryStringParameters": {name: [value] for name, value in fields.items()}
                if fields
                else None,
                "headers": {"authorization": f"Bearer {token}", "content-type": TYPE_BY_PATH[path]},
                "body": base64.b64encode(body.encode()).decode() if is_binary else body,
                "isBase64Encoded": is_binary,
            },
        )
        assert answer["statusCode"] in (201, 202), answer
        fields = {}


TYPE_BY_PATH = {"/v1/uploads": "application/octet-stream", "/v1/uploads/accept": "application/json"}


def garbling(end: str) -> Any:
    """Return a fault that answers paths which end with *end* by another document, and knows no former codes."""

    def fault(path: str, asked: Mapping[str, str], document: Document) -> Document:
        if "changeover" in document:
            return {"changeover": {**document["changeover"], "data": []}}
        return {"garbled": {}} if end and path.removesuffix(".json").endswith(end) else document

    return fault


def test_chalice_plans_each_function_with_its_limits_and_its_role(archive: Path, tmp_path: Path) -> None:
    """The staged project is one that Chalice takes as it is: six functions, each with a policy of its own."""
    stage(archive, tmp_path)
    prepare(tmp_path, "aws", ENVIRON, tmp_path / "deployed")
    config = CLIFactory(str(tmp_path)).create_config_obj("aws")
    application = ApplicationGraphBuilder().build(config, "aws")
    planned = {resource.function_name: resource for resource in functions_of(application)}
    assert {name: (each.memory_size, each.timeout, each.reserved_concurrency) for name, each in planned.items()} == {
        "ours-aws": (512, 29, None),
        "ours-aws-ingest_step": (512, 300, None),
        "ours-aws-fetch": (1024, 600, 2),
        "ours-aws-landed": (256, 60, None),
        "ours-aws-tick": (256, 60, None),
        "ours-aws-uploaded": (512, 60, None),
    }
    policies = {policy_of(each) for each in planned.values()}
    assert (len(policies), all(file.is_file() for file in policies)) == (6, True)
    assert {tuple(each.subnet_ids) for each in planned.values()} == {("subnet-1", "subnet-2")}


ENVIRON = {
    "LAKEHOUSE_DATABASE_URL": "postgresql://lakehouse:secret@db.example/lakehouse",
    "LAKEHOUSE_BRONZE_URL": "s3://our-bronze",
    "LAKEHOUSE_QUEUE_PREFIX": "ours",
    "FUNCTIONS_SUBNETS": "subnet-1,subnet-2",
    "FUNCTIONS_SECURITY_GROUPS": "sg-1",
    "AWS_ACCOUNT_ID": "123456789012",
    "AWS_REGION": "eu-central-1",
}


def functions_of(application: models.Application) -> list[models.LambdaFunction]:
    found = []
    for resource in application.resources:
        found.append(getattr(resource, "lambda_function", resource))
    return [each for each in found if isinstance(each, models.LambdaFunction)]


def policy_of(function: models.LambdaFunction) -> Path:
    role = function.role
    assert isinstance(role, models.ManagedIAMRole)
    assert isinstance(role.policy, models.FileBasedIAMPolicy)
    return Path(role.policy.filename)
