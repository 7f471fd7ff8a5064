"""
``POST /v1/sql``: a statement over the lake, as JSON or CSV; ``POST /v1/sql/{id}/stop``; ``GET /v1/schema``.

The engine runs in a process of its own (serving/lake_sql/process.py) and is no part of the package for AWS.
"""

from __future__ import annotations

import uuid
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from chalice.app import Request, Response

from functions import context
from functions.answers import NotFound, answer, document
from functions.requests import address_of, choice_of, is_text, no_others, user_with
from lakehouse.access import audit
from lakehouse.access.roles import Role
from lakehouse.database import counters
from lakehouse.market.errors import BadInput, LakehouseError
from lakehouse.serving.lake_sql.desk import SqlDesk, TooManyStatements
from lakehouse.serving.lake_sql.process import TIMEOUT_S, Answer, Question, SqlStopped, Statement
from lakehouse.serving.lake_sql.views import VIEWS

MAX_ROWS = 100_000
DEFAULT_ROWS = 10_000
ANSWER_BYTES = 64 << 20
_RETRY_AFTER_S = "5"
_AUDITED_CHARACTERS = 2_000
_ID_CHARACTERS = 64
_NOT_HERE = (
    "this deployment has no SQL engine: SQL over the lake is answered by the platform's own server only, at /api/v1/sql"
    " there, or by the command `lakehouse sql`"
)
_FIELDS = ("statement", "at", "limit", "timeout", "id")


@lru_cache(maxsize=1)
def desk() -> SqlDesk:
    """Return the desk of this process."""
    return SqlDesk()


def run_statement(request: Request) -> Response:
    """Answer a statement; what was asked goes on the audit record with how it ended."""
    no_others(request, "format")
    form = choice_of(request, "format", ("json", "csv"))
    with context.pool().connection() as conn:
        user = user_with(conn, request, Role.ANALYST, "sql")
    if find_spec("duckdb") is None:
        return answer({"code": "not_here", "message": _NOT_HERE}, 501)
    question, name = _question(document(request.raw_body), form)
    outcome = "failed"
    detail: dict[str, Any] = {"statement": question.statement[:_AUDITED_CHARACTERS], "at": question.at}
    try:
        chosen = context.settings()
        lake = {"url": chosen.lake_location, "options": chosen.s3_options}
        found = desk().run(user.name, name, Statement(question, lake))
        outcome, detail = "done", {**detail, "rows": found.rows, "seconds": found.seconds}
    except TooManyStatements as error:
        outcome = "refused"
        code, status = ("too_many_statements", 429) if error.is_own else ("full", 503)
        return answer({"code": code, "message": str(error)}, status, {"Retry-After": _RETRY_AFTER_S})
    except LakehouseError as error:
        outcome = "refused" if isinstance(error, BadInput) else "stopped" if isinstance(error, SqlStopped) else "failed"
        detail["message"] = str(error)[:_AUDITED_CHARACTERS]
        raise
    finally:
        with context.pool().connection() as conn:
            audit.record(conn, user, "sql", name, detail, outcome, address_of(request))
            counters.add(conn, {("sql_statements", outcome): 1})
    return _answered(found, form)


def stop_statement(request: Request, name: str) -> Response:
    """Stop a statement of who asks."""
    with context.pool().connection() as conn:
        user = user_with(conn, request, Role.ANALYST, "sql stop")
    if not desk().stop(user.name, name):
        raise NotFound(f"no statement of {user.name} with the id {name[:_ID_CHARACTERS]} runs")
    return answer({"id": name, "state": "stopped"})


def read_schema() -> Response:
    """Answer with the names that a statement may use: tables, their columns, types, units and meanings."""
    tables = [
        {
            "name": view.name,
            "meaning": view.meaning,
            "key": [*view.table.key, *(["known_from"] if view.has_versions else [])],
            "partitioned_by": view.table.partition_by,
            "columns": [vars(column) for column in view.columns],
        }
        for view in VIEWS
    ]
    return answer({"tables": tables})


def _question(given: dict[str, Any], form: Any) -> tuple[Question, str]:
    for field in given:
        if field not in _FIELDS:
            raise BadInput(f"there is no field {field[:40]!r}: the fields are {', '.join(_FIELDS)}")
    statement, at, name = given.get("statement"), given.get("at"), given.get("id", uuid.uuid4().hex)
    if not isinstance(statement, str):
        raise BadInput('statement is missing: the body must be {"statement": "SELECT ..."}')
    if at is not None and not (isinstance(at, str) and is_text(at)):
        raise BadInput('at must be a text: a version such as "12" or a time such as "2026-03-05T18:00" (UTC)')
    if not isinstance(name, str) or not (0 < len(name) <= _ID_CHARACTERS) or not name.replace("-", "").isalnum():
        raise BadInput(f"id must be 1 to {_ID_CHARACTERS} letters, digits and hyphens")
    limit = _whole(given, "limit", DEFAULT_ROWS, MAX_ROWS)
    timeout_s = _whole(given, "timeout", int(TIMEOUT_S), int(TIMEOUT_S))
    return Question(statement, at or None, limit, timeout_s, form, ANSWER_BYTES), name


def _whole(given: dict[str, Any], field: str, default: int, most: int) -> int:
    found = given.get(field, default)
    if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= most:
        raise BadInput(f"{field} must be a whole number from 1 to {most:,}")
    return found


def _answered(found: Answer, form: str) -> Response:
    headers: dict[str, str | list[str]] = {"Cache-Control": "no-store", "X-Rows": str(found.rows)}
    if found.reached:
        headers["X-Limit-Reached"] = found.reached
    if form == "csv":
        headers |= {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": 'attachment; filename="sql.csv"'}
    else:
        headers["Content-Type"] = "application/json"
    return Response(found.body.decode(), headers=headers)
