"""Functions on LocalStack without Docker: what they see, how they fail, and that none is left."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.aws.third_party import python_version
from infra.installing.lambda_runtime import lambda_python
from infra.localstack.server import LocalStackServer
from tests.stores import client_of

WITHIN_S = 5  # a busy machine takes a second to answer
CODE = """
import importlib.metadata, os, sys, time

calls = 0

def handler(event, context):
    global calls
    calls += 1
    if event.get("fail"):
        raise ValueError(event["fail"])
    if event.get("exit"):
        os._exit(event["exit"])
    time.sleep(event.get("sleep", 0))
    packages = {each.name for each in importlib.metadata.distributions()}
    return {
        "calls": calls,
        "pid": os.getpid(),
        "packages": sorted(packages),
        "environ": dict(os.environ),
        "left_ms": context.get_remaining_time_in_millis(),
        "event": event,
    }
"""


@dataclass(frozen=True)
class Function:
    """A function on a server."""

    name: str
    client: Any

    def call(self, **event: object) -> tuple[str, Any]:
        """Return what failed, "" for nothing, and what it answered."""
        answer = self.client.invoke(FunctionName=self.name, Payload=json.dumps(event).encode())
        return answer.get("FunctionError", ""), json.loads(answer["Payload"].read())


def make_function(server: LocalStackServer, name: str, code: str = CODE) -> Function:
    client = client_of(server, "lambda")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("app.py", code)
    client.create_function(
        FunctionName=name,
        Runtime=f"python{python_version()}",
        Handler="app.handler",
        Role="arn:aws:iam::000000000000:role/none",
        Timeout=WITHIN_S,
        Code={"ZipFile": archive.getvalue()},
        Environment={"Variables": {"OURS": "yes"}},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    return Function(name, client)


@pytest.fixture(scope="module")
def function(localstack: LocalStackServer) -> Iterator[Function]:
    """Return a function that tells what it sees, with some seconds for each call."""
    made = make_function(localstack, "tells")
    yield made
    made.client.delete_function(FunctionName=made.name)


def test_a_function_sees_its_zip_and_what_lambda_has_and_nothing_else(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages: awslambdaric and boto3 with what they require. Environment: its own, and what Lambda says."""
    failed, seen = function.call()
    assert failed == ""
    assert seen["packages"] == [
        *("awslambdaric", "boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "simplejson", "six"),
        *("snapshot-restore-py", "urllib3"),
    ]
    assert seen["environ"]["OURS"] == "yes"
    assert not [name for name in seen["environ"] if name.lower().endswith("_proxy") or name.startswith("PYTHONPATH")]
    assert seen["environ"]["AWS_LAMBDA_FUNCTION_NAME"] == "tells"


def test_functions_and_what_wakes_them_listen_on_loopback_only(
    localstack: LocalStackServer, function: Function
) -> None:
    """Nobody else on the network can call one, or answer for it."""
    process = psutil.Process(function.call()[1]["pid"])
    server = psutil.Process(localstack.pid)
    assert process in server.children(recursive=True)
    listening = {
        connection.laddr.ip
        for each in (server, *server.children(recursive=True))
        for connection in each.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN or not connection.raddr
    }
    assert listening == {"127.0.0.1"}


def test_a_process_serves_one_call_after_the_other(function: Function) -> None:
    """What a module holds is there at the next call, and each call knows how long it may take."""
    _, first = function.call(number=1)
    _, second = function.call(number="ж")
    assert (second["pid"], second["calls"]) == (first["pid"], first["calls"] + 1)
    assert second["event"] == {"number": "ж"}
    assert 0 < second["left_ms"] <= 1000 * WITHIN_S


def test_an_error_is_told_and_the_process_goes_on(function: Function) -> None:
    """As on AWS."""
    _, before = function.call()
    failed, said = function.call(fail="no such thing")
    assert (failed, said["errorType"], said["errorMessage"]) == ("Unhandled", "ValueError", "no such thing")
    assert function.call()[1]["pid"] == before["pid"]


@pytest.mark.parametrize(
    ("event", "kind", "message"),
    [
        ({"sleep": 600}, "Sandbox.Timedout", f"Task timed out after {WITHIN_S}.00 seconds"),
        ({"exit": 3}, "Runtime.ExitError", "Runtime exited with exit code 3"),
    ],
)
def test_a_process_that_is_lost_is_replaced(function: Function, event: dict[str, int], kind: str, message: str) -> None:
    """One that takes longer than its function may, or that ends; the next call begins in a new one."""
    before = function.call()[1]["pid"]
    failed, said = function.call(**event)
    assert (failed, said["errorType"], message in said["errorMessage"]) == ("Unhandled", kind, True)
    assert not psutil.pid_exists(before)
    assert function.call()[1]["calls"] == 1


def test_a_function_that_cannot_begin_says_why(localstack: LocalStackServer) -> None:
    """At each call."""
    broken = make_function(localstack, "broken", "import nothing_such")
    for _ in range(2):
        failed, said = broken.call()
        assert (failed, said["errorType"]) == ("Unhandled", "Runtime.ImportModuleError")
        assert "nothing_such" in said["errorMessage"]
    broken.client.delete_function(FunctionName=broken.name)


def test_a_stopped_server_leaves_no_function(tmp_path: Path) -> None:
    """Though LocalStack does not end by itself once it has run one."""
    with LocalStackServer(tmp_path) as own:
        function = psutil.Process(make_function(own, "left").call()[1]["pid"])
        assert Path(function.exe()) == lambda_python().resolve()
        processes = [psutil.Process(own.pid), *psutil.Process(own.pid).children(recursive=True)]
        assert function in processes
    _, left = psutil.wait_procs(processes, timeout=60)
    assert [process for process in left if process.status() != psutil.STATUS_ZOMBIE] == []
