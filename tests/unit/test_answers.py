"""What a request is answered when something fails behind it."""

from __future__ import annotations

import json

import psycopg
import pytest
from chalice.app import Response
from psycopg_pool import PoolTimeout

from functions.answers import document, refusing
from lakehouse.market.errors import BadInput


@pytest.mark.parametrize("error", [psycopg.OperationalError("the connection is closed"), PoolTimeout("no connection")])
def test_a_database_that_is_away_is_no_fault_of_the_request(error: Exception) -> None:
    """The answer is 503, says to try again and when, and tells nothing of the database."""

    @refusing
    def view() -> Response:
        raise error

    answered = view()
    assert (answered.status_code, answered.headers["Retry-After"]) == (503, "5")
    assert answered.headers["Content-Type"] == "application/problem+json"
    assert json.loads(answered.body) == {
        "type": "urn:problem-type:lakehouse:unavailable",
        "title": "Something behind the platform is away",
        "status": 503,
        "detail": "the database does not answer: try again in some seconds; if it stays so, start the platform anew",
        "code": "unavailable",
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", r"^the body is not JSON: "),
        (b"\xff", r"^the body is not UTF-8$"),
        (b"7", r"^the body must be a JSON object$"),
        (b"[" * 100_000, r"^the body is nested too deep$"),
        (b'{"a": 1, "a": 1}', r"^the body names 'a' twice$"),
        (b'{"a": Infinity}', r"^the body is not JSON: Infinity is no number there$"),
        (b'{"a": ' + b"1" * 101 + b"}", r"^a number in the body has 101 digits$"),
    ],
)
def test_a_body_that_is_no_document_is_refused(body: bytes, message: str) -> None:
    """It is said in one sentence why."""
    with pytest.raises(BadInput, match=message):
        document(body)


def test_a_document_is_taken_with_and_without_text() -> None:
    """No body at all is an empty document."""
    assert document(b"") == {}
    assert document('{"a": [1, 2.5]}') == {"a": [1, 2.5]}
