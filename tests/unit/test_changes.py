"""What of the API changes something, and how it gets onto the audit record."""

from __future__ import annotations

from functions.app import app
from functions.operation import Operation

# They do not run in one transaction with their entry, but see to it that both are there or neither
OWN_TRANSACTIONS = {
    ("POST", "/v1/login"),
    ("POST", "/v1/password"),
    ("POST", "/v1/uploads"),
    ("POST", "/v1/uploads/accept"),
    ("POST", "/v1/jobs/redrive"),
}
# A store tells of its objects, many a second; what comes of them are jobs' reports
UNRECORDED = {("POST", "/v1/events/storage")}
BY_SESSION = {
    ("POST", "/v1/logout"),
    ("POST", "/v1/password"),
    ("DELETE", "/v1/sessions/{session_id}"),
    ("POST", "/v1/tokens"),
    ("DELETE", "/v1/tokens/{token_id}"),
    ("POST", "/v1/users"),
    ("PUT", "/v1/users/{name}"),
    ("DELETE", "/v1/users/{name}"),
    ("PUT", "/v1/users/{name}/password"),
}


def changing() -> dict[tuple[str, str], Operation]:
    """Return the operations of methods that change something."""
    return {
        (method, path): vars(entry.view_function)["operation"]
        for path, entries in app.routes.items()
        for method, entry in entries.items()
        if method not in ("GET", "HEAD", "OPTIONS")
    }


def test_every_change_is_on_the_record() -> None:
    """Whatever is added: an operation that changes something names its action."""
    assert {route for route, declared in changing().items() if not declared.action} == UNRECORDED


def test_a_change_and_its_entry_are_one_transaction() -> None:
    """Unless the operation is one of these, which are tried one by one; a statement of SQL changes nothing."""
    apart = {
        route
        for route, declared in changing().items()
        if declared.action and not (declared.is_atomic and declared.holds_connection)
    }
    assert {route for route in apart if not route[1].startswith("/v1/sql")} == OWN_TRANSACTIONS


def test_what_keeps_an_intruder_in_needs_a_login() -> None:
    """An API token that leaked can be revoked, and then its finder is out."""
    assert {route for route, declared in changing().items() if declared.by_session} == BY_SESSION
