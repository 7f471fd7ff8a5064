"""The functions without AWS answer as an API should."""

from __future__ import annotations

import io
import json
from typing import Any

from chalice.app import Chalice

from functions.app import app
from functions.host import wsgi_app
from functions.requests import address_of


def test_an_unknown_path_is_not_found() -> None:
    """A path that no route has is 404 in the API's own words, with a token or without."""
    answered: list[Any] = []
    for header in ({}, {"HTTP_AUTHORIZATION": "Bearer x"}):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/v1/nothing", "wsgi.input": io.BytesIO(), **header}
        body = b"".join(wsgi_app(app)(environ, lambda status, headers: answered.append(status)))
        assert json.loads(body)["code"] == "not_found"
    assert answered == ["404 Not Found", "404 Not Found"]


def test_a_client_cannot_name_its_own_address() -> None:
    """The address that logins are throttled by is the connection's, whatever the client's headers say."""
    small = Chalice("small")

    @small.route("/where")
    def where() -> dict[str, str]:
        assert small.current_request is not None
        return {"address": address_of(small.current_request)}

    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/where",
        "REMOTE_ADDR": "192.0.2.7",
        "HTTP_X_LAKEHOUSE_ADDRESS": "10.0.0.1",
        "HTTP_X_FORWARDED_FOR": "10.0.0.1",
        "wsgi.input": io.BytesIO(),
    }
    body = b"".join(wsgi_app(small)(environ, lambda status, headers: None))
    assert json.loads(body) == {"address": "192.0.2.7"}


def test_behind_api_gateway_the_address_is_the_gateways() -> None:
    """On AWS no header of ours is believed: a client could send it."""
    small = Chalice("small")

    @small.route("/where")
    def where() -> dict[str, str]:
        assert small.current_request is not None
        return {"address": address_of(small.current_request)}

    event = {
        "requestContext": {"resourcePath": "/where", "httpMethod": "GET", "identity": {"sourceIp": "192.0.2.7"}},
        "headers": {"x-lakehouse-address": "10.0.0.1"},
        "multiValueQueryStringParameters": None,
        "pathParameters": {},
        "stageVariables": {},
        "body": None,
    }
    assert json.loads(small(event, None)["body"]) == {"address": "192.0.2.7"}
