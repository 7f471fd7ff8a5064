"""
What an operation of the API is, declared and enforced in one place: who may ask, what it takes, what it answers.

The check that a request passes, the API's documentation and the list of who may do what are one fact: the operation
that hangs on its route (gateway.py) as ``operation``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from chalice.app import Request, Response
from psycopg import Connection
from pydantic import BaseModel

from functions import context
from functions.answers import answer, refusing
from functions.requests import address_of, read_body, read_parameters, user_with
from functions.versions import not_modified
from lakehouse.access import audit
from lakehouse.access.roles import Role, User
from lakehouse.database.connection import one_moment
from lakehouse.market.errors import BadInput

BODY_BYTES = 1 << 20
ANSWER_BYTES = 5 << 20  # Lambda hands on 6 MB


@dataclass(frozen=True)
class Text:
    """An answer that is no JSON."""

    content_type: str


@dataclass(frozen=True)
class Call:
    """
    A request whose asker, parameters and body were found to be right.

    Attributes:
        path: What stands in the path for each of its names.
        asker: Who asks; None where everybody may and nobody is asked who they are.
        parameters: An instance of the operation's model of parameters.
        body: An instance of its model of the body; bytes or a dict where it declares these.
    """

    request: Request
    operation: Operation
    path: Mapping[str, str]
    parameters: Any = None
    body: Any = None
    asker: User | None = None
    connection: Connection[Any] | None = field(default=None, repr=False)

    @property
    def user(self) -> User:
        """Who asks, with the operation's role at least."""
        if self.asker is None:
            raise RuntimeError("the operation is open to all: nobody was asked who they are")
        return self.asker

    @property
    def conn(self) -> Connection[Any]:
        """The connection that is held while the operation runs; statements commit together, or read one moment."""
        if self.connection is None:
            raise RuntimeError("the operation declares that it holds no connection")
        return self.connection

    @property
    def address(self) -> str:
        """The address the request came from."""
        return address_of(self.request)

    def audit(self, target: str, detail: Mapping[str, Any], outcome: str) -> None:
        """Put the operation's action on the audit record; of what was ``refused`` only so many an hour."""
        action, address = self.operation.action, self.address
        with nullcontext(self.connection) if self.connection else context.api_pool().connection() as conn:
            if outcome == "refused":
                audit.record_refused(conn, self.asker, action, address, target, detail)
            else:
                audit.record(conn, self.asker, action, target, detail, outcome, address)


Handler = Callable[[Call], object]


@dataclass(frozen=True)
class Operation:
    """
    What is declared of an operation.

    Attributes:
        role: The least role that may ask; None: everybody may, or whom *admits* lets.
        admits: What raises NotLoggedIn for who may not ask, where that is no matter of roles.
        summary: What it does, in a few words.
        action: What the audit record calls it; what is refused of it is put there. Empty for reading.
        parameters: Model of the query's parameters; None: it takes none.
        body: Model of the body, ``bytes`` or ``dict``; None: it takes none.
        content_type: Of the body.
        path: What each name in the path stands for.
        answers: Model of each answer by status, or several where the answer has several forms (`Text`: no JSON); what
            a handler returns that is no Response gets the first status.
        refuses: When it is refused besides for its role, parameters and body, by status.
        body_bytes: Most bytes of a body.
        answer_bytes: Most bytes of an answer.
        by_session: Whether only who is logged in may ask, and no API token: one that leaked must not make itself more.
        is_atomic: Whether what an action changes and its entry in the audit record are one transaction here; False
            where the handler sees to it itself.
        holds_connection: Whether a connection is held while it runs; to be False where something else is waited for.
        is_versioned: Whether its answer changes with the published data only: a client that has it is not sent it
            again, by the ETag that the handler gives (versions.py).
        wakes: Whether it queues what functions are to be woken for.
    """

    role: Role | None
    summary: str
    action: str = ""
    admits: Callable[[Request], None] | None = None
    parameters: type[BaseModel] | None = None
    body: type[Any] | None = None
    content_type: str = "application/json"
    path: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[int, Any] = field(default_factory=dict)
    refuses: Mapping[int, str] = field(default_factory=dict)
    body_bytes: int = BODY_BYTES
    answer_bytes: int = ANSWER_BYTES
    by_session: bool = False
    is_atomic: bool = True
    holds_connection: bool = True
    is_versioned: bool = False
    wakes: bool = False

    def respond(self, handler: Handler, request: Request, path: Mapping[str, str]) -> Response:
        """Answer a request by *handler*, or refuse it."""
        return _respond(handler, Call(request, self, path))


def operation(role: Role | None, summary: str, **declared: Any) -> Callable[[Handler], Handler]:
    """Declare what a handler is: see the attributes of `Operation`. The handler gets the call alone."""
    found = Operation(role, summary, **declared)

    def declare(handler: Handler) -> Handler:
        handler.operation = found  # type: ignore[attr-defined]
        return handler

    return declare


def operation_of(view: Any) -> Operation:
    """Return the operation that a handler, or the view of a route, is."""
    found: Operation = view.operation
    return found


@refusing
def _respond(handler: Handler, call: Call) -> Response:
    declared = call.operation
    if declared.admits:
        declared.admits(call.request)
    if declared.role is None and not declared.holds_connection:
        found = handler(_read(call))
    else:
        found = _connected(handler, call)
    if declared.wakes:
        context.wake()
    return _answered(declared, found)


def _connected(handler: Handler, call: Call) -> object:
    declared = call.operation
    if declared.role is None:
        call = _read(call)
    with context.api_pool().connection() as conn:
        if declared.role is not None:
            user = user_with(conn, call.request, declared.role, declared.action, by_session=declared.by_session)
            call = _read(replace(call, asker=user))
        if declared.is_versioned:
            unchanged = not_modified(conn, call.request)
            if unchanged is not None:
                return unchanged
        if declared.holds_connection:
            with _transaction(declared, conn):
                return handler(replace(call, connection=conn))
    return handler(call)


def _transaction(declared: Operation, conn: Connection[Any]) -> AbstractContextManager[Any]:
    if declared.action:
        return conn.transaction() if declared.is_atomic else nullcontext()
    # A versioned answer is of one version of the data by its own statement
    return nullcontext() if declared.is_versioned else one_moment(conn)


def _read(call: Call) -> Call:
    return replace(
        call,
        parameters=read_parameters(call.request, call.operation.parameters),
        body=read_body(call.request, call.operation.body) if call.request.method != "GET" else None,
    )


def _answered(declared: Operation, found: object) -> Response:
    response = found if isinstance(found, Response) else answer(found, next(iter(declared.answers), 200))
    if len(response.body) > declared.answer_bytes:
        raise BadInput(
            f"the answer has {len(response.body):,} bytes, at most {declared.answer_bytes:,} are given at once: "
            "ask for less"
        )
    return response
