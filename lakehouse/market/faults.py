"""What is wrong with a document, as Pydantic found it, in one sentence for each thing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

# Of a document with many faults the first are told: nobody reads ten thousand
_FAULTS_TOLD = 5
_QUOTED = re.compile(r"'([^']*)'")


def told(error: ValidationError, fields: Sequence[str]) -> str:
    """Return what is wrong with a document that may have *fields*: where, what, what to do."""
    faults = error.errors(include_url=False)
    said = [f"{_place(fault['loc'])}: {_sentence(fault, fields)}" for fault in faults[:_FAULTS_TOLD]]
    if len(faults) > _FAULTS_TOLD:
        counts = Counter(str(fault["loc"][0]) for fault in faults[_FAULTS_TOLD:] if fault["loc"])
        said.append("and " + ", ".join(f"{count:,} more in {short(name)}" for name, count in counts.items()))
    return "; ".join(said)


def short(value: object) -> str:
    """Return *value* as a message shows it."""
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:36]}..."


def printable(text: str) -> str:
    """Return a name that somebody else wrote as a message shows it."""
    return text[:40] if text.isprintable() else short(text)


def _place(loc: Sequence[Any]) -> str:
    return ".".join(str(part) if isinstance(part, int) else printable(str(part)) for part in loc) or "request"


def _sentence(fault: Any, fields: Sequence[str]) -> str:
    context = fault.get("ctx", {})
    told_by_type = {
        "missing": "is missing",
        "extra_forbidden": f"there is no such field; the fields are {', '.join(fields)}",
        "string_unicode": "holds a text that is not Unicode",
        "greater_than_equal": f"must be at least {_number(context.get('ge'))}, was {short(fault['input'])}",
        "less_than_equal": f"must be at most {_number(context.get('le'))}, was {short(fault['input'])}",
        "string_too_long": f"must have at most {_number(context.get('max_length'))} characters",
        "string_too_short": f"must have at least {_number(context.get('min_length'))} characters",
        "too_short": "is empty: name at least one",
    }
    if said := told_by_type.get(fault["type"]):
        return said
    if fault["type"] in ("literal_error", "enum"):
        choices = ", ".join(_QUOTED.findall(str(context["expected"])))
        return f"{short(fault['input'])} is not one of {choices}"
    if kind := _KINDS.get(fault["type"]):
        return f"must be {kind.format(fields=', '.join(fields))}, was {short(fault['input'])}"
    return str(fault["msg"]).removeprefix("Value error, ")


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


_KINDS = {
    "list_type": "a list",
    "string_type": "a text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "dict_type": "an object",
    "model_type": "an object with the fields {fields}",
    "model_attributes_type": "an object with the fields {fields}",
}
