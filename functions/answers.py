"""How the API answers: documents as JSON, and for each kind of error that a user can act on its problem."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import orjson
import psycopg
import structlog
from chalice.app import Response

from functions.problems import problem
from lakehouse.access.roles import NoSuch, NotAllowed, NotLoggedIn
from lakehouse.access.sessions import LoginFailed
from lakehouse.access.throttle import TooManyAttempts
from lakehouse.market.errors import BadInput, LakehouseError, NotNow
from lakehouse.serving.lake_sql.desk import TooManyStatements
from lakehouse.serving.lake_sql.process import SqlFailed, SqlStopped
from lakehouse.serving.queries import DataMoved

log = structlog.get_logger()


class NotFound(LakehouseError):
    """There is no such thing."""


class NotHere(LakehouseError):
    """This deployment has no such part."""


# The first that fits counts.
CODES: Sequence[tuple[type[LakehouseError], str]] = (
    (NotLoggedIn, "not_logged_in"),
    (LoginFailed, "login_failed"),
    (TooManyAttempts, "too_many_attempts"),
    (NotAllowed, "not_allowed"),
    (NotFound, "not_found"),
    (NoSuch, "not_found"),
    (DataMoved, "data_moved"),
    (SqlStopped, "stopped"),
    (SqlFailed, "sql_failed"),
    (BadInput, "bad_input"),
    (NotHere, "not_here"),
    (NotNow, "unavailable"),
)

_DIGITS = 100
_RETRY_AFTER_S = 5
_UNAVAILABLE = "the database does not answer: try again in some seconds; if it stays so, start the platform anew"
_TOO_SLOW = "the database took longer than is waited for: ask for less, or try again in some seconds"


def answer(body: object, status: int = 200, headers: Mapping[str, str | list[str]] | None = None) -> Response:
    """Return *body* as JSON; dates as ISO text, instants as ISO text in UTC."""
    text = orjson.dumps(body, option=orjson.OPT_UTC_Z).decode()
    return Response(text, status_code=status, headers={"Content-Type": "application/json", **(headers or {})})


def refusing(view: Callable[..., Response]) -> Callable[..., Response]:
    """Turn the errors that a user can act on into problems."""

    @wraps(view)
    def wrapped(*args: Any, **kwargs: Any) -> Response:
        try:
            return view(*args, **kwargs)
        except LakehouseError as error:
            refused = _refused(error)
            if refused is None:
                raise
            return refused
        except psycopg.errors.QueryCanceled:
            return problem("too_slow", _TOO_SLOW, {"Retry-After": str(_RETRY_AFTER_S)})
        except psycopg.OperationalError as error:
            log.warning("functions.database_unavailable", error=str(error))
            return problem("unavailable", _UNAVAILABLE, {"Retry-After": str(_RETRY_AFTER_S)})

    return wrapped


def _refused(error: LakehouseError) -> Response | None:
    if isinstance(error, TooManyStatements):
        code = "too_many_statements" if error.is_own else "full"
        return problem(code, str(error), {"Retry-After": str(_RETRY_AFTER_S)})
    for kind, code in CODES:
        if isinstance(error, kind):
            return problem(code, str(error), _headers(error))
    return None


def _headers(error: LakehouseError) -> dict[str, str]:
    if isinstance(error, NotLoggedIn):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, TooManyAttempts):
        return {"Retry-After": str(error.retry_after_s)}
    return {"Retry-After": str(_RETRY_AFTER_S)} if isinstance(error, NotNow) else {}


def document(body: bytes | str) -> dict[str, Any]:
    """Return the JSON object of a request's *body*; raise BadInput when it is none."""
    try:
        text = body.decode() if isinstance(body, bytes) else body
        parsed = json.loads(text or "{}", object_pairs_hook=_each_once, parse_int=_integer, parse_constant=_no_number)
    except UnicodeDecodeError:
        raise BadInput("the body is not UTF-8") from None
    except RecursionError:
        raise BadInput("the body is nested too deep") from None
    except ValueError as error:
        raise BadInput(f"the body is not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise BadInput("the body must be a JSON object")
    return parsed


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadInput(f"the body names {twice[:40]!r} twice")
    return found


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise BadInput(f"a number in the body has {len(text):,} digits")
    return int(text)


def _no_number(text: str) -> None:
    raise BadInput(f"the body is not JSON: {text} is no number there")
