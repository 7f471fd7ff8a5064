"""The functions without AWS answer as an API should."""

from __future__ import annotations

import io
import json
from typing import Any

from functions.app import app
from functions.host import wsgi_app


def test_an_unknown_path_is_not_found() -> None:
    """A path that no route has is 404 in the API's own words, with a token or without."""
    answered: list[Any] = []
    for header in ({}, {"HTTP_AUTHORIZATION": "Bearer x"}):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/v1/nothing", "wsgi.input": io.BytesIO(), **header}
        body = b"".join(wsgi_app(app)(environ, lambda status, headers: answered.append(status)))
        assert json.loads(body)["code"] == "not_found"
    assert answered == ["404 Not Found", "404 Not Found"]
