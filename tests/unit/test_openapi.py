"""The API's documentation is OpenAPI 3.1, and says of each operation what its route declares."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from chalice.app import Request, RouteEntry
from openapi_spec_validator import OpenAPIV31SpecValidator

from functions.app import app
from functions.openapi import openapi
from functions.operation import operation_of
from functions.requests import read_parameters
from lakehouse.market.errors import BadInput

DOCUMENT: dict[str, Any] = json.loads(json.dumps(openapi(app)))
ROUTES = [route for methods in app.routes.values() for route in methods.values()]
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def described(route: RouteEntry) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][route.uri_pattern][route.method.lower()]
    return found


def test_the_document_is_openapi_3_1() -> None:
    """By OpenAPI's own schema; every reference leads somewhere, and every schema of a model is used."""
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []
    used = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert used == set(DOCUMENT["components"]["schemas"])


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.uri_pattern}")
def test_every_operation_is_described(route: RouteEntry) -> None:
    """What it does, who may ask, all it takes, its answers and each of its refusals."""
    found, declared = described(route), operation_of(route.view_function)
    assert all(found[name] for name in ("summary", "description", "tags", "operationId"))
    assert ("401" in found["responses"]) == (declared.role is not None or 401 in declared.refuses)
    assert bool(found["security"]) == (declared.role is not None or declared.admits is not None)
    for status, answer in found["responses"].items():
        assert answer["description"]
        if int(status) >= 400 and int(status) not in declared.answers:
            assert answer["content"] == PROBLEM
    assert {int(status) for status in found["responses"]} >= {400, *declared.answers, *declared.refuses}


def test_operations_have_names_of_their_own() -> None:
    """Generators make functions of them."""
    names = [described(route)["operationId"] for route in ROUTES]
    assert len(names) == len(set(names))


def test_an_empty_place_of_the_next_page_is_refused_wherever_there_are_pages() -> None:
    """A script that lost it would get the first page again, and take it for the next."""
    paged = {}
    for declared in (operation_of(route.view_function) for route in ROUTES):
        for model in declared.answers.values():
            fields = getattr(model[0] if isinstance(model, tuple) else model, "model_fields", {})
            if "next" in fields:
                (name,) = re.findall(r", as `(\w+)`; null at the end$", fields["next"].description)
                paged[declared.summary] = name
                event = {
                    "requestContext": {"httpMethod": "GET", "resourcePath": "/"},
                    "headers": {},
                    "multiValueQueryStringParameters": {name: [""]},
                    **{"pathParameters": {}, "stageVariables": {}, "body": None},
                }
                with pytest.raises(
                    BadInput, match=f"^the parameter {name} is empty: the page that gave none was the last"
                ):
                    read_parameters(Request(event), declared.parameters)
    assert paged == {"read candles": "token", "list rows in quarantine": "token", "read the audit record": "before"}


def test_a_parameter_that_may_be_left_out_is_never_null() -> None:
    """In an address there is no null; bounds and choices are said in JSON Schema's words."""
    found = {each["name"]: each for each in DOCUMENT["paths"]["/v1/candles"]["get"]["parameters"]}
    assert found["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 10_000}
    assert found["token"]["schema"] == {"type": "string", "minLength": 1}
    assert found["adjust"]["schema"]["enum"] == ["none", "split"]
    assert (found["secid"]["required"], found["board"]["required"]) == (True, False)
    assert "null" not in json.dumps(found)
