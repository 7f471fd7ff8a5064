"""How the API answers: JSON bodies, and for each kind of refusal its status."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import orjson
import psycopg
import structlog
from chalice.app import Response

from lakehouse.access.roles import NotAllowed, NotLoggedIn
from lakehouse.access.sessions import LoginFailed
from lakehouse.access.throttle import TooManyAttempts
from lakehouse.market.errors import BadInput, LakehouseError, NotNow
from lakehouse.serving.lake_sql.process import SqlFailed, SqlStopped
from lakehouse.serving.queries import DataMoved

log = structlog.get_logger()

# The first that fits counts.
STATUS = (
    (NotLoggedIn, 401, "not_logged_in"),
    (LoginFailed, 401, "login_failed"),
    (TooManyAttempts, 429, "too_many_attempts"),
    (NotAllowed, 403, "not_allowed"),
    (DataMoved, 409, "data_moved"),
    (SqlStopped, 409, "stopped"),
    (SqlFailed, 422, "sql_failed"),
    (BadInput, 400, "bad_input"),
    (NotNow, 503, "unavailable"),
)

_DIGITS = 100
_UNAVAILABLE = "the database does not answer: try again in some seconds; if it stays so, start the platform anew"


class NotFound(LakehouseError):
    """There is no such thing."""


def answer(body: object, status: int = 200, headers: Mapping[str, str | list[str]] | None = None) -> Response:
    """Return *body* as JSON; dates as ISO text, instants as ISO text in UTC."""
    text = orjson.dumps(body, option=orjson.OPT_UTC_Z).decode()
    return Response(text, status_code=status, headers={"Content-Type": "application/json", **(headers or {})})


def refusing(view: Callable[..., Response]) -> Callable[..., Response]:
    """Turn the errors that a user can act on into answers: ``{"code", "message"}`` and a status."""

    @wraps(view)
    def wrapped(*args: Any, **kwargs: Any) -> Response:
        try:
            return view(*args, **kwargs)
        except NotFound as error:
            return answer({"code": "not_found", "message": str(error)}, 404)
        except LakehouseError as error:
            for kind, status, code in STATUS:
                if isinstance(error, kind):
                    return answer({"code": code, "message": str(error)}, status)
            raise
        except psycopg.OperationalError as error:
            log.warning("functions.database_unavailable", error=str(error))
            return answer({"code": "unavailable", "message": _UNAVAILABLE}, 503, {"Retry-After": "5"})

    return wrapped


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
