"""
``POST /v1/sql``: a statement over the lake, as JSON or CSV; ``POST /v1/sql/{id}/stop``; ``GET /v1/schema``.

The engine runs in a process of its own (serving/lake_sql/process.py) and is no part of the package for AWS.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from chalice.app import Response
from pydantic import AfterValidator, Field

from functions import context
from functions.answers import NotFound, NotHere
from functions.models import Answered, Body, Parameters
from functions.models import Text as Storable
from functions.operation import Call, Text, operation
from lakehouse.access.roles import Role, User
from lakehouse.database import counters
from lakehouse.market.errors import BadInput, LakehouseError
from lakehouse.serving.lake_sql.desk import SqlDesk, TooManyStatements
from lakehouse.serving.lake_sql.process import TIMEOUT_S, Answer, Question, SqlStopped, Statement
from lakehouse.serving.lake_sql.views import OF_ADMINS, VIEWS

MAX_ROWS = 100_000
DEFAULT_ROWS = 10_000
ANSWER_BYTES = 64 << 20
_AUDITED_CHARACTERS = 2_000
_ID_CHARACTERS = 64
_NOT_HERE = (
    "this deployment has no SQL engine: SQL over the lake is answered by the platform's own server only, at /api/v1/sql"
    " there, or by the command `lakehouse sql`"
)
_CUT = (
    f"there are more than {DEFAULT_ROWS:,} rows, and a CSV does not tell that it was cut: narrow the statement, or "
    f"send a limit of up to {MAX_ROWS:,} and read the header X-Limit-Reached"
)
_CSV = Text("text/csv; charset=utf-8")


def _checked_id(text: str) -> str:
    if not 0 < len(text) <= _ID_CHARACTERS or not text.replace("-", "").isalnum():
        raise ValueError(f"must be 1 to {_ID_CHARACTERS} letters, digits and hyphens")
    return text


def _new_id() -> str:
    return uuid.uuid4().hex


class SqlQuery(Parameters):
    format: Literal["json", "csv"] = "json"


class SqlRequest(Body):
    statement: Annotated[str, Field(examples=["SELECT secid, close FROM silver.candles LIMIT 5"])]
    at: Annotated[
        Storable | None,
        Field(
            description="A former state: a version such as 12, a time such as 2026-03-05T18:00 (UTC unless it says "
            "otherwise), or a date such as 2026-03-05, which is the end of that day in Moscow"
        ),
    ] = None
    limit: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_ROWS,
            description=f"Most rows answered. Without it JSON has {DEFAULT_ROWS:,}; CSV has all, or is refused if "
            "there are more than that",
        ),
    ] = None
    timeout: Annotated[int, Field(ge=1, le=int(TIMEOUT_S), description="Seconds")] = int(TIMEOUT_S)
    id: Annotated[
        str,
        AfterValidator(_checked_id),
        Field(description=f"To stop it by: 1 to {_ID_CHARACTERS} letters, digits and hyphens", default_factory=_new_id),
    ]


class SqlColumn(Answered):
    name: str
    type: str


class SqlAnswer(Answered):
    columns: list[SqlColumn]
    rows: list[list[Any]]
    reached: Annotated[str | None, Field(description="Which limit cut the rows off; null if none did")]
    seconds: float


class SqlStoppedShown(Answered):
    id: str
    state: Literal["stopped"]


class ColumnShown(Answered):
    name: str
    type: str
    unit: str
    meaning: str
    nullable: bool


class TableShown(Answered):
    name: str
    meaning: str
    key: list[str]
    partitioned_by: list[str]
    columns: list[ColumnShown]


class Schema(Answered):
    tables: list[TableShown]


@lru_cache(maxsize=1)
def desk() -> SqlDesk:
    """Return the desk of this process."""
    return SqlDesk()


@operation(
    Role.ANALYST,
    "run a statement",
    action="sql",
    parameters=SqlQuery,
    body=SqlRequest,
    answers={200: (SqlAnswer, _CSV)},
    refuses={
        409: "the statement was stopped",
        422: "the statement was run and gave no answer",
        429: "too many statements of the user run",
        501: "this deployment has no SQL engine",
    },
    answer_bytes=ANSWER_BYTES,
    holds_connection=False,
)
def run_statement(call: Call) -> Response:
    """Run a statement over the lake, read-only; what was asked goes on the audit record with how it ended."""
    if find_spec("duckdb") is None:
        raise NotHere(_NOT_HERE)
    asked: SqlRequest = call.body
    question = _question(asked, call.parameters.format, call.user)
    outcome = "failed"
    detail: dict[str, Any] = {"statement": asked.statement[:_AUDITED_CHARACTERS], "at": asked.at}
    try:
        found = desk().run(call.user.name, asked.id, Statement(question, _lake()))
        if found.reached and question.form == "csv" and asked.limit is None:
            raise BadInput(_CUT)
        outcome, detail = "done", {**detail, "rows": found.rows, "seconds": found.seconds}
    except LakehouseError as error:
        outcome = _OUTCOME.get(type(error), "refused" if isinstance(error, BadInput) else "failed")
        detail["message"] = str(error)[:_AUDITED_CHARACTERS]
        raise
    finally:
        with context.api_pool().connection() as conn:
            if outcome != "full":  # nothing was looked at, and asking so costs nothing: rows are kept for ever
                replace(call, connection=conn).audit(asked.id, detail, outcome)
            counters.add(conn, {("sql_statements", outcome): 1})
    return _answered(found, call.parameters.format)


@operation(
    Role.ANALYST,
    "stop a statement",
    action="sql stop",
    path={"statement_id": "What the statement was run with as `id`"},
    answers={200: SqlStoppedShown},
    refuses={404: "no such statement of the user runs"},
    holds_connection=False,
)
def stop_statement(call: Call) -> object:
    """Stop a statement of who asks."""
    name = call.path["statement_id"]
    if not desk().stop(call.user.name, name):
        raise NotFound(f"no statement of {call.user.name} with the id {name[:_ID_CHARACTERS]} runs")
    call.audit(name, {}, "done")
    return {"id": name, "state": "stopped"}


@operation(Role.VIEWER, "read what a statement may name", answers={200: Schema}, holds_connection=False)
def read_schema(call: Call) -> object:
    """Return the tables that a statement of who asks may name, their columns, types, units and meanings."""
    hidden = _hidden(call.user)
    tables = [
        {
            "name": view.name,
            "meaning": view.meaning,
            "key": [*view.table.key, *(["known_from"] if view.has_versions else [])],
            "partitioned_by": view.table.partition_by,
            "columns": [vars(column) for column in view.columns],
        }
        for view in VIEWS
        if view.table.name not in hidden
    ]
    return {"tables": tables}


_OUTCOME: dict[type[LakehouseError], str] = {TooManyStatements: "full", SqlStopped: "stopped"}


def _question(asked: SqlRequest, form: Literal["json", "csv"], user: User) -> Question:
    limit = asked.limit or DEFAULT_ROWS
    return Question(asked.statement, asked.at or None, limit, asked.timeout, form, ANSWER_BYTES, _hidden(user))


def _hidden(user: User) -> tuple[str, ...]:
    return () if user.role is Role.ADMIN else OF_ADMINS


def _lake() -> dict[str, Any]:
    chosen = context.settings()
    return {"url": chosen.lake_location, "options": chosen.s3_options}


def _answered(found: Answer, form: str) -> Response:
    headers: dict[str, str | list[str]] = {"Cache-Control": "no-store", "X-Rows": str(found.rows)}
    if found.reached:
        headers["X-Limit-Reached"] = found.reached
    if form == "csv":
        headers |= {"Content-Type": _CSV.content_type, "Content-Disposition": 'attachment; filename="sql.csv"'}
    else:
        headers["Content-Type"] = "application/json"
    return Response(found.body, headers=headers)
