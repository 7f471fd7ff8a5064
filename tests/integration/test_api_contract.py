"""
The web process answers as its documentation says, to whoever asks: schemathesis makes the requests of it.

Made requests are the same in every run. What the documentation allows and what it does not is asked by nobody, a
viewer, an analyst and an admin; each operation also grants a request, so that its answers are seen too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from functions.app import app
from functions.openapi import openapi
from lakehouse.database.runner import EmbeddedPostgres
from tests.api_world import World, api_world

pytestmark = pytest.mark.postgres
Operation = APIOperation[Any, Any, Any, Any]
ROLES = ("", "viewer", "analyst", "admin")
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
# A statement that is run has a process of its own, and a password takes long to check
EXAMPLES = {"run_statement": 4, "login": 4, "change_password": 4}
SCHEMA = schemathesis.openapi.from_dict(dict(openapi(app)))
OPERATIONS: list[Operation] = [found.ok() for found in SCHEMA.get_all_operations()]  # type: ignore[union-attr]
asked: Counter[str] = Counter()


def name_of(operation: Operation) -> str:
    return str(operation.definition.raw["operationId"])


@pytest.fixture(scope="module")
def world(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The web process over a little of everything."""
    with api_world(postgres, tmp_path_factory.mktemp("contract")) as found:
        yield found


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """Connections that are kept."""
    with requests.Session() as found:
        yield found


def ask(world: World, session: requests.Session, case: Case[Any], token: str) -> Any:
    """Ask, and hold the answer to the documentation; nothing fails."""
    session.cookies.clear()
    headers = {"Authorization": f"Bearer {token}"} if token else {"Authorization": ""}
    answer = case.call(base_url=f"{world.web.url}/api", session=session, headers=headers, timeout=300)
    asked[name_of(case.operation)] += 1
    assert answer.status_code < 500, (case.as_curl_command(), answer.text)
    case.validate_response(answer, checks=CHECKS, headers=headers)
    return answer


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_every_operation_grants_a_request_as_documented(
    world: World, session: requests.Session, operation: Operation
) -> None:
    """The answer is a success, of a status, type, schema and headers that the documentation names."""
    found = world.granted(name_of(operation))
    body = {} if found.body is None else {"body": found.body}
    case = operation.Case(path_parameters=found.path, query=found.query, **body)
    token = world.web.tokens["admin"] if found.token is None else found.token
    answer = ask(world, session, case, token)
    assert answer.status_code // 100 == 2, answer.text


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_no_request_is_answered_otherwise_than_documented(
    world: World, session: requests.Session, operation: Operation
) -> None:
    """Whoever asks, and whatever: no failure, no status, type or schema that the documentation does not name."""
    modes = [GenerationMode.POSITIVE]
    if operation.query.items or operation.path_parameters.items or operation.body.items:
        modes.append(GenerationMode.NEGATIVE)

    @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes)))
    @settings(
        max_examples=EXAMPLES.get(name_of(operation), 10),
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def each(case: Case[Any]) -> None:
        for role in ROLES:
            token = world.token(role) if role and name_of(operation) == "logout" else world.web.tokens.get(role, "")
            ask(world, session, case, token)

    each()


@pytest.mark.parametrize("spoilt", [{"schema": {"type": "array"}}, None])
def test_an_answer_that_is_not_documented_is_found(world: World, session: requests.Session, spoilt: Any) -> None:
    """The checks see a status and a schema that the documentation does not name."""
    document = json.loads(json.dumps(openapi(app)))
    responses = document["paths"]["/v1/users"]["get"]["responses"]
    responses["200"]["content"]["application/json"] = spoilt
    if spoilt is None:
        del responses["200"]
    case = schemathesis.openapi.from_dict(document)["/v1/users"]["GET"].Case()
    with pytest.raises(FailureGroup):
        ask(world, session, case, world.web.tokens["admin"])


def test_there_were_a_thousand_of_them() -> None:
    """Every operation was asked, in all a thousand times."""
    if len(asked) < len(OPERATIONS):
        pytest.skip("not all of this file was run")
    assert asked.total() >= 1_000, asked
