"""What API Gateway refuses itself, it refuses in the form of the API."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from chalice.app import Response

from functions.gateway import Api
from functions.operation import Call, operation
from functions.problems import KIND_BY_CODE
from infra.aws.deployment import NotDeployable
from infra.aws.refusals import REFUSALS, deployed_api

API = Api("small")


@API.route("/length", methods=["POST"])
@operation(None, "measure", body=bytes, holds_connection=False)
def length(call: Call) -> Response:
    return Response(str(len(call.body)))


@API.route("/broken")
@operation(None, "fail", holds_connection=False)
def broken(call: Call) -> Response:
    raise RuntimeError("a secret")


@API.route("/large")
@operation(None, "answer much", holds_connection=False, answer_bytes=10)
def large(call: Call) -> object:
    return {"text": "x" * 10}


@API.route("/small", methods=["POST"])
@operation(None, "take little", body=dict, holds_connection=False, body_bytes=1024)
def small(call: Call) -> object:
    return call.body


def ask(method: str, path: str, **more: Any) -> tuple[int, Any, dict[str, str]]:
    """Ask as API Gateway does."""
    event = {
        "requestContext": {"resourcePath": path, "httpMethod": method, "identity": {"sourceIp": "192.0.2.7"}},
        "headers": {"content-type": "application/json"},
        "multiValueQueryStringParameters": None,
        "pathParameters": {},
        "stageVariables": {},
        "body": None,
        **more,
    }
    answer = API(event, None)
    return answer["statusCode"], json.loads(answer["body"]), answer["headers"]


@pytest.mark.parametrize("kind", REFUSALS)
def test_every_refusal_is_a_problem(kind: str) -> None:
    """Words of the gateway's own come quoted; where it keeps its own status the problem names none."""
    said = json.loads(REFUSALS[kind].template.replace("$context.error.messageString", '"Forbidden"'))
    assert ({*said, "status"}, all(said.values())) == ({"type", "title", "status", "detail", "code"}, True)
    assert said.get("status") == REFUSALS[kind].status


def test_an_api_that_is_not_deployed_is_told(tmp_path: Path) -> None:
    """With what comes first."""
    with pytest.raises(NotDeployable, match=r"^nothing is deployed as aws: no .*/aws\.json; run chalice deploy first$"):
        deployed_api(tmp_path, "aws")


def test_a_body_of_more_than_1_mib_is_refused_whatever_the_gateway_takes() -> None:
    """As text and as base64, to the byte."""
    largest = "x" * (1 << 20)
    assert ask("POST", "/length", body=largest)[1] == 1 << 20
    assert ask("POST", "/length", body=base64.b64encode(largest.encode()).decode(), isBase64Encoded=True)[1] == 1 << 20
    too_large = KIND_BY_CODE["too_large"].document("the body is larger than 1 MiB")
    assert ask("POST", "/length", body=f"{largest}x")[:2] == (413, too_large)
    assert ask("POST", "/length", body="я" * (1 << 20))[:2] == (413, too_large)
    encoded = base64.b64encode(largest.encode() + b"x").decode()
    assert ask("POST", "/length", body=encoded, isBase64Encoded=True)[:2] == (413, too_large)


def test_what_chalice_refuses_is_a_problem() -> None:
    """A method and a type that are not taken, and a failure of ours, which says no more than that."""
    status, said, headers = ask("PUT", "/length")
    assert (status, said["code"], headers["Allow"]) == (405, "method_not_allowed", "POST")
    status, said, _ = ask("POST", "/length", headers={"content-type": "text/xml"})
    assert (status, said["code"]) == (415, "unsupported_media_type")
    status, said, _ = ask("GET", "/broken")
    assert (status, said["code"], "secret" in said["detail"]) == (500, "internal", False)


def test_an_operation_may_take_and_answer_less() -> None:
    """The limits that it declares are told in its refusals."""
    status, said, _ = ask("POST", "/small", body='{"a": "' + "x" * 1024 + '"}')
    assert (status, said["detail"]) == (413, "the body is larger than 1 KiB")
    assert ask("POST", "/small", body='{"a": 1}')[:2] == (200, {"a": 1})
    status, said, _ = ask("GET", "/large")
    assert (status, said["code"]) == (400, "bad_input")
    assert said["detail"] == "the answer has 21 bytes, at most 10 are given at once: ask for less"
