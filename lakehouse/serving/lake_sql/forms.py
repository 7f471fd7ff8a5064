"""What a statement found, as text: JSON and CSV say the same values."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
from collections.abc import Iterator, Sequence
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
_ROWS_AT_A_TIME = 1000  # as Python values they take many times the memory
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def json_document(rows: pa.Table, reached: str, seconds: float) -> Iterator[str]:
    """Yield ``{"columns": [{"name", "type"}], "rows": [[...]], "reached", "seconds"}`` row by row."""
    types = [_TYPES.get(str(type_), str(type_)) for type_ in rows.schema.types]
    columns = [{"name": name, "type": type_} for name, type_ in zip(unique(rows.column_names), types, strict=True)]
    yield f'{{"columns":{_json(columns)},"rows":['
    for number, row in enumerate(tuples(rows)):
        yield ("," if number else "") + _json([plain(value) for value in row])
    yield f'],"reached":{_json(reached or None)},"seconds":{_json(seconds)}}}'


def csv_text(rows: pa.Table) -> Iterator[str]:
    """Yield CSV with a head, line by line; NULL is empty."""
    writer = csv.writer(_Line(), lineterminator="\n")
    yield writer.writerow(unique(rows.column_names))
    for row in tuples(rows):
        yield writer.writerow([plain(value) for value in row])


class _Line:
    """A file to csv.writer, whose writerow returns what `write` returns."""

    def write(self, line: str) -> str:
        return line


def tuples(rows: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Yield the rows as Python values; raise SqlFailed for one that Python has no word for."""
    for batch in rows.to_batches(_ROWS_AT_A_TIME):
        try:
            columns = [column.to_pylist() for column in batch.columns]
        except (ValueError, OverflowError, pa.ArrowException) as error:
            raise SqlFailed(f"the answer holds a value that cannot be shown ({error}): CAST it to VARCHAR") from error
        yield from zip(*columns, strict=True)


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
