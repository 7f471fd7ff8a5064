"""The bodies of control requests: read from JSON, refused with what was expected."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson

from lakehouse.market.errors import BadInput
from lakehouse.simulator.families import FAMILIES
from lakehouse.simulator.faults import KINDS, Fault
from lakehouse.simulator.weather import Weather

_COUNTS = ("times", "after", "rows", "draw", "seed", "retry_after_s")
_TEXTS = ("kind", "family", "secid", "block", "column")
_NUMBERS = ("seconds", "rate")


def json_object(text: bytes) -> Mapping[str, Any]:
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadInput(f"the body is a {type(body).__name__}: expected a JSON object")
    return body


def check_names(body: Mapping[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(body) - known):
        raise BadInput(f"unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}")


def moment(name: str, text: object) -> dt.datetime:
    wanted = "expected a Moscow time such as 2026-06-30 10:00:00"
    try:
        moment = dt.datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError as error:
        raise BadInput(f"{name} is {text!r}: {wanted}") from error
    if moment is None or moment.tzinfo is not None:
        raise BadInput(f"{name} is {text!r}: {wanted}")
    return moment


def read_faults(body: Mapping[str, Any]) -> list[Fault]:
    """Return the faults of ``{"faults": [{"kind": "reset", "times": 2}]}``."""
    check_names(body, {"faults"})
    listed = body.get("faults")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise BadInput(f'faults is {listed!r}: expected a list such as [{{"kind": "reset", "times": 2}}]')
    return [_read_fault(one) for one in listed]


def _read_fault(body: Mapping[str, Any]) -> Fault:
    check_names(body, {field.name for field in fields(Fault)})
    values = {name: _value(name, value) for name, value in body.items()}
    if "kind" not in values:
        raise BadInput(f"a fault has no kind: expected one of {', '.join(KINDS)}")
    family, secid = values.get("family"), values.get("secid")
    if family not in (None, *FAMILIES):
        raise BadInput(f"family is {family!r}: expected one of {', '.join(FAMILIES)}")
    return Fault(**{**values, "secid": secid and secid.upper()})


def read_weather(body: Mapping[str, Any]) -> Weather:
    """Return the weather of ``{"seed": 7, "rate": 0.2}``; all kinds if *kinds* is not given."""
    check_names(body, {field.name for field in fields(Weather)})
    if "rate" not in body:
        raise BadInput("the weather has no rate: expected 0 (calm) to 1 (every request suffers)")
    return Weather(**{name: _value(name, value) for name, value in body.items() if value is not None})


def given(fault: Fault) -> dict[str, Any]:
    """Return what a fault says beyond what goes without saying, as its body has it."""
    return {field.name: value for field in fields(fault) if (value := getattr(fault, field.name)) != field.default}


def _value(name: str, value: Any) -> Any:
    """Return a value of the type that *name* has; None stays None."""
    if value is None and name not in ("kind", "after", "begins", "kinds"):
        return None
    if name in _COUNTS and (type(value) is not int or (value < 0 and name != "rows")):
        raise BadInput(f"{name} is {value!r}: expected a whole number, 0 or more")
    if name in _TEXTS and not isinstance(value, str):
        raise BadInput(f"{name} is {value!r}: expected a text")
    if name in _NUMBERS and (type(value) not in (int, float) or value < 0):
        raise BadInput(f"{name} is {value!r}: expected a number, 0 or more")
    if name in ("begins", "kinds"):
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise BadInput(f"{name} is {value!r}: expected a list of texts")
        return tuple(value)
    return value
