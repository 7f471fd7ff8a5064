"""The functions deployed on LocalStack as they are on AWS: a stack of stores, the package, and `chalice deploy`."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from infra.aws import localstack_deploy
from infra.aws.package import stage
from infra.localstack.server import LocalStackServer
from lakehouse.database.connection import connect
from lakehouse.settings import Names
from lakehouse.storage.store import Store, open_store
from tests.killing import until
from tests.stores import client_of, options

NAMES = Names("ours-bronze", "ours")
# What a schedule sends to its function
SCHEDULED = {
    "version": "0",
    "account": "000000000000",
    "region": "us-east-1",
    "detail": {},
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "time": "2024-03-20T12:00:00Z",
    "id": "00000000-0000-0000-0000-000000000000",
    "resources": [],
}


@dataclass(frozen=True)
class Deployed:
    """
    The functions on a LocalStack.

    Attributes:
        api_id: What API Gateway calls the API.
        dsn: The database of the functions, for its owner.
        template: The name of one with all migrations.
        strange_logs: What functions wrote that were on the server before.
    """

    server: LocalStackServer
    api_id: str
    dsn: str
    template: str
    strange_logs: frozenset[Path]

    @property
    def host(self) -> str:
        """The name under which the gateway knows the API; its paths begin with /api."""
        return f"{self.api_id}.execute-api.localhost.localstack.cloud:{self.server.port}"

    def empty(self) -> None:
        """Make database and Bronze anew: what was open breaks, as when a server is restarted."""
        new_database(self.dsn, self.template)
        # An object is never written again: no news would come of one that another test has put there
        self.store.delete([key for folder in ("iss/", "uploads/", "rejected/") for key in self.store.list(folder)])

    def set_awake(self, awake: bool) -> None:
        """Let queues and schedules wake their functions, or not; return when it is so, and none of them runs."""
        functions = self.client("lambda")
        mappings = [each["UUID"] for each in functions.list_event_source_mappings()["EventSourceMappings"]]
        for mapping in mappings:
            functions.update_event_source_mapping(UUID=mapping, Enabled=awake)
        # LocalStack sends what its schedules send for ever, their rules disabled or not
        names = [each["FunctionName"] for each in functions.list_functions()["Functions"]]
        (tick,) = [name for name in names if name.endswith("-tick")]
        if awake:
            functions.delete_function_concurrency(FunctionName=tick)
        else:
            until(lambda: _has_run_alone(functions, tick))
            functions.put_function_concurrency(FunctionName=tick, ReservedConcurrentExecutions=0)
        wanted = "Enabled" if awake else "Disabled"
        until(lambda: all(functions.get_event_source_mapping(UUID=each)["State"] == wanted for each in mappings))

    @property
    def store(self) -> Store:
        """Bronze, for its owner."""
        return open_store(f"s3://{NAMES.bucket}", options(self.server))

    def client(self, service: str) -> Any:
        return client_of(self.server, service)

    def logged(self) -> bytes:
        """Return what the functions wrote into their logs."""
        return b"".join(file.read_bytes() for file in logs(self.server) - self.strange_logs)


def _has_run_alone(functions: Any, name: str) -> bool:
    """Run a function of a schedule unless it runs; return whether that was so."""
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    try:
        functions.invoke(FunctionName=name, Payload=json.dumps(SCHEDULED))
    except functions.exceptions.TooManyRequestsException:
        return False
    return True


def logs(server: LocalStackServer) -> frozenset[Path]:
    """Return the logs of all functions of a server."""
    return frozenset((server.folder / "tmp").glob("lambda-*.log"))


def deploy(server: LocalStackServer, dsn: str, template: str, iss_url: str, archive: Path, folder: Path) -> Deployed:
    """Deploy the package *archive*, over an empty database, in the steps of docs/aws.md."""
    strange_logs = logs(server)
    new_database(dsn, template)
    localstack_deploy.make_stack(client_of(server, "cloudformation"), NAMES)
    stage(archive, folder / "project")
    environ = {
        "PATH": os.environ["PATH"],
        "LAKEHOUSE_DATABASE_URL": user_dsn(dsn),
        "LAKEHOUSE_BRONZE_URL": f"s3://{NAMES.bucket}",
        "LAKEHOUSE_QUEUE_PREFIX": NAMES.queue_prefix,
        "LAKEHOUSE_ISS_URL": iss_url,
        "LAKEHOUSE_S3_ENDPOINT": server.endpoint,
        "LAKEHOUSE_S3_ACCESS_KEY_ID": server.access_key_id,
        "LAKEHOUSE_S3_SECRET_ACCESS_KEY": server.secret_access_key,
        "LAKEHOUSE_SQS_ENDPOINT": server.endpoint,
    }
    api_id = localstack_deploy.deploy(
        folder / "project", localstack_deploy.aws_environment(environ), folder / "deployed"
    )
    return Deployed(server, api_id, dsn, template, strange_logs)


def new_database(dsn: str, template: str) -> None:
    """Make the database at *dsn* a copy of *template*, whatever it was."""
    name = sql.Identifier(str(conninfo_to_dict(dsn)["dbname"]))
    with connect(make_conninfo(dsn, dbname="postgres")) as conn:
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, sql.Identifier(template)))


def user_dsn(dsn: str) -> str:
    """Return the address of a database for a new user who has the rights of the role of the app, and no more."""
    user, password = f"functions_{uuid.uuid4().hex}", uuid.uuid4().hex
    make = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE lakehouse_app")
    with connect(dsn) as conn:
        conn.execute(make.format(sql.Identifier(user), sql.Literal(password)))
    return make_conninfo(dsn, user=user, password=password)
