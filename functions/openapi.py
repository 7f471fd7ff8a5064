"""
``GET /v1/openapi.json``: the API as OpenAPI 3.1 says it, made of what the operations declare and of their models.

Made when somebody asks for it first: no function that starts pays for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from chalice.app import Chalice, RouteEntry
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from functions import problems
from functions.operation import Call, Operation, Text, operation, operation_of
from functions.requests import SESSION

_JSON = "application/json"
_READING = ("GET", "HEAD")
_REFUSED = {
    400: "What was asked cannot be: the detail says what is wrong, where, and what to do",
    401: "Nobody is logged in, or the session is over",
    403: "The role does not allow it, the token may only read, or the page that asks is another site's",
    413: "The body is too large",
    415: "The body has a type that is not taken",
    503: "Something behind the platform is away",
    504: "It took too long: ask for less",
}
_BYTES = {"type": "string", "format": "binary"}
_TEXT = {"type": "string"}
_ETAG = {"ETag": {"description": "The version of the data", "schema": {"type": "string"}}}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The ETag of what the client kept of this address",
    "schema": {"type": "string"},
}
_RETRY = {
    "Retry-After": {"description": "Seconds after which to try again", "schema": {"type": "integer", "minimum": 1}}
}
_DESCRIPTION = """\
History of the Moscow Exchange that can be trusted. Log in, or make a token, and send it as `Authorization: Bearer`.

Refusals are problem details (RFC 9457): `detail` says what was wrong, where, and what to do; `code` is for programs.
Instants are UTC, dates are Moscow's and inclusive. Roles: viewer < analyst < admin; each operation names the least.
"""


@operation(None, "read this document", answers={200: dict[str, Any]}, holds_connection=False)
def read_openapi(call: Call) -> object:
    """Return the API's documentation as OpenAPI 3.1 has it; the page `/api/docs` shows it."""
    from functions.app import app  # the routes, which name this handler

    return openapi(app)


@lru_cache(maxsize=1)
def openapi(app: Chalice) -> Mapping[str, Any]:
    """Return the documentation of the operations of *app*."""
    routes = [entry for methods in app.routes.values() for entry in methods.values()]
    schemas = _Schemas([operation_of(route.view_function) for route in routes])
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.uri_pattern, {})[route.method.lower()] = _described(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MOEX Lakehouse",
            "version": version("moex-lakehouse"),
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/api"}],
        "tags": [{"name": name} for name in dict.fromkeys(map(_tag, paths))],
        "paths": paths,
        "components": {
            "schemas": {**schemas.definitions, "Problem": _PROBLEM},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A session's token, or an API token"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": SESSION, "description": "A browser's session"},
                "store": {"type": "http", "scheme": "bearer", "description": "LAKEHOUSE_STORAGE_TOKEN"},
            },
        },
    }


_PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "Why a request is refused (RFC 9457)",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was wrong, where, and what to do"},
        "code": {"type": "string", "enum": list(problems.KIND_BY_CODE)},
    },
}


class _Schemas:
    """The schemas of all models, each defined once: parameters and bodies as they are read, answers as written."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        found: dict[tuple[Any, JsonSchemaMode], TypeAdapter[Any]] = {}
        for declared in operations:
            read = [each for each in (declared.parameters, declared.body) if each not in (None, bytes)]
            answered = [each for models in declared.answers.values() for each in _forms(models)]
            found |= {(each, "validation"): TypeAdapter(each) for each in read}
            found |= {(each, "serialization"): TypeAdapter(each) for each in answered if not isinstance(each, Text)}
        inputs = [(model, mode, adapter) for (model, mode), adapter in found.items()]
        self._by_model, more = TypeAdapter.json_schemas(inputs, ref_template="#/components/schemas/{model}")
        self.definitions: dict[str, Any] = dict(more.get("$defs", {}))
        self._parameters = {
            model: self.definitions.pop(self._name(model))
            for model in dict.fromkeys(declared.parameters for declared in operations)
            if model
        }

    def read(self, model: Any) -> dict[str, Any]:
        """Return the schema of a body."""
        schema: dict[str, Any] = self._by_model[model, "validation"] if model is not bytes else _BYTES
        return schema

    def answered(self, model: Any) -> dict[str, Any]:
        """Return the schema of an answer."""
        schema: dict[str, Any] = self._by_model[model, "serialization"] if not isinstance(model, Text) else _TEXT
        return schema

    def parameters(self, model: Any) -> dict[str, Any]:
        """Return the schema of all parameters together."""
        found: dict[str, Any] = self._parameters.get(model, {"properties": {}})
        return found

    def _name(self, model: Any) -> str:
        return str(self._by_model[model, "validation"]["$ref"]).rpartition("/")[2]


def _described(route: RouteEntry, schemas: _Schemas) -> dict[str, Any]:
    declared = operation_of(route.view_function)
    described: dict[str, Any] = {
        "operationId": route.view_name,
        "summary": declared.summary.capitalize(),
        "description": _description(route.view_function, declared),
        "tags": [_tag(route.uri_pattern)],
        "security": _security(declared),
        "parameters": [
            *(_in_path(name, meaning) for name, meaning in declared.path.items()),
            *_in_query(schemas.parameters(declared.parameters)),
            *([_IF_NONE_MATCH] if declared.is_versioned else []),
        ],
        "responses": {str(status): each for status, each in sorted(_responses(route, schemas).items())},
    }
    if declared.body:
        content = {declared.content_type: {"schema": schemas.read(declared.body)}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _description(view: Any, declared: Operation) -> str:
    said = (inspect.getdoc(view) or "").partition("\n\nRaises:")[0].replace("``", "`")
    who = "Open to all." if declared.role is None else f"Needs the role {declared.role}."
    return f"{said}\n\n{'' if declared.admits else who}".strip()


def _security(declared: Operation) -> list[dict[str, list[str]]]:
    if declared.admits:
        return [{"store": []}]
    return [] if declared.role is None else [{"token": []}, {"cookie": []}]


def _in_path(name: str, meaning: str) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "description": meaning, "schema": schema}


def _in_query(model: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, schema in model["properties"].items():
        kept = {key: value for key, value in schema.items() if key not in ("anyOf", "description", "default", "title")}
        for choice in schema.get("anyOf", ()):  # left out is not written as null
            kept |= {} if choice.get("type") == "null" else choice
        if schema.get("default") is not None:
            kept["default"] = schema["default"]
        said = {"description": schema["description"]} if "description" in schema else {}
        yield {"name": name, "in": "query", "required": name in model.get("required", ()), **said, "schema": kept}


def _responses(route: RouteEntry, schemas: _Schemas) -> dict[int, dict[str, Any]]:
    declared = operation_of(route.view_function)
    refused = {status: _refused(status, meaning) for status, meaning in _refusals(declared, route.method).items()}
    answered = {status: _answered(status, models, schemas) for status, models in declared.answers.items()}
    if declared.is_versioned:
        answered = {status: {**each, "headers": _ETAG} for status, each in answered.items()}
        answered[304] = {"description": "What the client has is of the present data", "headers": _ETAG}
    return refused | answered


def _refusals(declared: Operation, method: str) -> dict[int, str]:
    """Return when an operation is refused, by status."""
    statuses = [400, 503, 504]
    if declared.role is not None:
        statuses += [401, 403]
    if method not in _READING:
        statuses += [403, 413, 415]
    return {status: _REFUSED[status] for status in statuses} | dict(declared.refuses)


def _refused(status: int, meaning: str) -> dict[str, Any]:
    content = {problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    retry = {"headers": _RETRY} if status in (429, 503, 504) else {}
    return {"description": meaning[0].upper() + meaning[1:], **retry, "content": content}


def _answered(status: int, models: Any, schemas: _Schemas) -> dict[str, Any]:
    schemas_by_type: dict[str, list[dict[str, Any]]] = {}
    for each in _forms(models):
        schemas_by_type.setdefault(each.content_type if isinstance(each, Text) else _JSON, []).append(
            schemas.answered(each)
        )
    content = {
        type_: {"schema": found[0] if len(found) == 1 else {"anyOf": found}} for type_, found in schemas_by_type.items()
    }
    return {"description": HTTPStatus(status).phrase, "content": content}


def _forms(models: Any) -> tuple[Any, ...]:
    if models is None:
        return ()
    return models if isinstance(models, tuple) else (models,)


def _tag(path: str) -> str:
    return path.split("/")[2].partition(".")[0]
