"""
Problem details (RFC 9457): the form of every refusal, whoever refuses.

A problem is of a kind, which its code names; the detail says what was wrong here, where, and what to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalice.app import Response

CONTENT_TYPE = "application/problem+json"
_TYPE = "urn:problem-type:lakehouse:"


@dataclass(frozen=True)
class Kind:
    """
    A kind of problem.

    Attributes:
        status: None where a gateway keeps its own.
        title: The same for all problems of the kind.
    """

    code: str
    status: int | None
    title: str

    def document(self, detail: str) -> dict[str, Any]:
        """Return the problem as its body says it."""
        status = {} if self.status is None else {"status": self.status}
        return {"type": _TYPE + self.code, "title": self.title, **status, "detail": detail, "code": self.code}


KIND_BY_CODE: Mapping[str, Kind] = {
    kind.code: kind
    for kind in (
        Kind("bad_input", 400, "What was asked cannot be"),
        Kind("not_logged_in", 401, "Nobody is logged in"),
        Kind("login_failed", 401, "The login failed"),
        Kind("not_allowed", 403, "The role does not allow it"),
        Kind("not_found", 404, "There is no such thing"),
        Kind("method_not_allowed", 405, "The path does not take the method"),
        Kind("data_moved", 409, "The data moved between two pages"),
        Kind("stopped", 409, "The statement was stopped"),
        Kind("too_large", 413, "The body is too large"),
        Kind("unsupported_media_type", 415, "The body has a type that is not taken"),
        Kind("sql_failed", 422, "The statement gave no answer"),
        Kind("too_many_attempts", 429, "Too many failed logins"),
        Kind("too_many_statements", 429, "Too many statements of one user"),
        Kind("too_many_requests", 429, "Too many requests"),
        Kind("internal", 500, "The platform failed"),
        Kind("not_here", 501, "This deployment has no such part"),
        Kind("unavailable", 503, "Something behind the platform is away"),
        Kind("full", 503, "Too many statements of all users"),
        Kind("too_slow", 504, "It took too long"),
        Kind("refused", None, "The gateway refused"),
    )
}


def problem(code: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer to a request that is refused."""
    kind = KIND_BY_CODE[code]
    told: dict[str, str | list[str]] = {"Content-Type": CONTENT_TYPE, **(headers or {})}
    return Response(text(code, detail), status_code=kind.status or 400, headers=told)


def text(code: str, detail: str) -> str:
    """Return the body of a refusal."""
    return json.dumps(KIND_BY_CODE[code].document(detail))
