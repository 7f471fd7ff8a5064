"""What a statement found, as text: JSON and CSV say the same values."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from lakehouse.serving.lake_sql.process import SqlFailed

# In the words of the dictionary; others as Arrow says
_TYPES = {
    "int64": "long",
    "int32": "int",
    "bool": "boolean",
    "date32[day]": "date",
    "timestamp[us, tz=UTC]": "timestamp",
}


def json_document(rows: pa.Table, reached: str, seconds: float) -> str:
    """Return ``{"columns": [{"name", "type"}], "rows": [[...]], "reached", "seconds"}``."""
    types = [_TYPES.get(str(type_), str(type_)) for type_ in rows.schema.types]
    columns = [{"name": name, "type": type_} for name, type_ in zip(unique(rows.column_names), types, strict=True)]
    values = [[plain(value) for value in row] for row in tuples(rows)]
    document = {"columns": columns, "rows": values, "reached": reached or None, "seconds": seconds}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def csv_text(rows: pa.Table) -> str:
    """Return CSV with a head; NULL is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(unique(rows.column_names))
    writer.writerows([plain(value) for value in row] for row in tuples(rows))
    return text.getvalue()


def tuples(rows: pa.Table) -> Sequence[tuple[Any, ...]]:
    """Return the rows as Python values; raise SqlFailed for one that Python has no word for."""
    try:
        return list(zip(*(column.to_pylist() for column in rows.columns), strict=True))
    except (ValueError, OverflowError, pa.ArrowException) as error:
        raise SqlFailed(f"the answer holds a value that cannot be shown ({error}): CAST it to VARCHAR") from error


def plain(value: Any) -> Any:
    """Return *value* as JSON has it: instants as ISO with Z; what JSON has no word for (NaN, infinity) as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    return value.isoformat() if isinstance(value, (dt.date, dt.time)) else str(value)


def unique(names: Sequence[str]) -> list[str]:
    """Return the names with a number behind those that occur before: a JSON object has each once."""
    taken: list[str] = []
    for name in names:
        free, number = name, 1
        while free in taken:
            number += 1
            free = f"{name}_{number}"
        taken.append(free)
    return taken
