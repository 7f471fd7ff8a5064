"""What API Gateway refuses itself, it refuses in the form of the API."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from chalice.app import Response

from functions.gateway import Api
from infra.aws.deployment import NotDeployable
from infra.aws.refusals import REFUSALS, deployed_api

API = Api("small")


@API.route("/length", methods=["POST"])
def length() -> Response:
    request = API.current_request
    assert request is not None
    return Response(str(len(request.raw_body)))


@API.route("/broken")
def broken() -> Response:
    raise RuntimeError("a secret")


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
def test_every_refusal_has_a_code_and_a_message(kind: str) -> None:
    """Words of the gateway's own come quoted."""
    said = json.loads(REFUSALS[kind].template.replace("$context.error.messageString", '"Forbidden"'))
    assert (set(said), all(said.values())) == ({"code", "message"}, True)


def test_an_api_that_is_not_deployed_is_told(tmp_path: Path) -> None:
    """With what comes first."""
    with pytest.raises(NotDeployable, match=r"^nothing is deployed as aws: no .*/aws\.json; run chalice deploy first$"):
        deployed_api(tmp_path, "aws")


def test_a_body_of_more_than_1_mib_is_refused_whatever_the_gateway_takes() -> None:
    """As text and as base64, to the byte."""
    largest = "x" * (1 << 20)
    assert ask("POST", "/length", body=largest)[1] == 1 << 20
    assert ask("POST", "/length", body=base64.b64encode(largest.encode()).decode(), isBase64Encoded=True)[1] == 1 << 20
    too_large = {"code": "too_large", "message": "the body is larger than 1 MiB"}
    assert ask("POST", "/length", body=f"{largest}x")[:2] == (413, too_large)
    assert ask("POST", "/length", body="я" * (1 << 20))[:2] == (413, too_large)
    encoded = base64.b64encode(largest.encode() + b"x").decode()
    assert ask("POST", "/length", body=encoded, isBase64Encoded=True)[:2] == (413, too_large)


def test_what_chalice_refuses_has_a_code_and_a_message() -> None:
    """A method and a type that are not taken, and a failure of ours, which says no more than that."""
    status, said, headers = ask("PUT", "/length")
    assert (status, said["code"], headers["Allow"]) == (405, "method_not_allowed", "POST")
    status, said, _ = ask("POST", "/length", headers={"content-type": "text/xml"})
    assert (status, said["code"]) == (415, "unsupported_media_type")
    status, said, _ = ask("GET", "/broken")
    assert (status, said["code"], "secret" in said["message"]) == (500, "internal", False)
