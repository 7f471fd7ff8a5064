"""Blocks of an answer, read by name: the exchange adds columns and moves them (docs/iss.md section 4)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lakehouse.iss.answer import Answer
from lakehouse.iss.errors import IssContractError

KNOWN_TYPES = frozenset({"int32", "int64", "double", "number", "string", "date", "datetime", "time"})
NUMBER_OR_NULL: frozenset[type] = frozenset({int, float, type(None)})


@dataclass(frozen=True)
class Block:
    """A table of an answer; *columns* in lower case (the exchange writes ``name`` here and ``NAME`` there)."""

    name: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]

    def column(self, name: str) -> list[Any]:
        """Return the values of column *name*, in the order of the rows."""
        at = self.columns.index(name)
        return [row[at] for row in self.rows]

    def records(self) -> list[dict[str, Any]]:
        """Return every row as a mapping from column to value."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def read_block(answer: Answer, name: str, required: Collection[str]) -> Block:
    """
    Return block *name* of an answer; columns beyond *required* are tolerated.

    Raises:
        IssContractError: if the block or a required column is missing, a required column has an unknown type, or a row
            has not as many values as there are columns.
    """
    found = answer.document.get(name) if isinstance(answer.document, dict) else None
    if not (isinstance(found, dict) and isinstance(found.get("columns"), list) and isinstance(found.get("data"), list)):
        raise IssContractError(f"{answer.url}: the answer has no block {name!r} of columns and data", answer)
    columns = tuple(str(column).lower() for column in found["columns"])
    if missing := sorted(set(required).difference(columns)):
        lacks = f"block {name!r} lacks {', '.join(missing)}; it has {', '.join(columns)}"
        raise IssContractError(f"{answer.url}: {lacks}", answer)
    _check_metadata(answer, name, found.get("metadata"), required)
    rows: list[list[Any]] = found["data"]
    if not all(isinstance(row, list) for row in rows):
        raise IssContractError(f"{answer.url}: a row of block {name!r} is no list", answer)
    if odd := set(map(len, rows)) - {len(columns)}:
        row = f"a row of block {name!r} has {odd.pop()} values for {len(columns)} columns"
        raise IssContractError(f"{answer.url}: {row}", answer)
    return Block(name, columns, rows)


def check_types(answer: Answer, block: Block, columns: Collection[str], types: frozenset[type]) -> None:
    """
    Raise IssContractError if no value of one of *columns* has one of *types*: without metadata, values are what tells.

    A single odd value is the row's defect, not the answer's: Silver's rules see to it.
    """
    for name in columns:
        at = block.columns.index(name)
        if block.rows and all(type(row[at]) not in types for row in block.rows):
            expected = " or ".join(sorted(type_.__name__ for type_ in types))
            holds = f"holds {type(block.rows[0][at]).__name__}, expected {expected}"
            raise IssContractError(f"{answer.url}: column {name} of block {block.name!r} {holds}", answer)


def _check_metadata(answer: Answer, name: str, metadata: Any, required: Collection[str]) -> None:
    if not isinstance(metadata, Mapping):
        return
    types = {
        str(column).lower(): str(described.get("type") if isinstance(described, Mapping) else described)
        for column, described in metadata.items()
    }
    for column in required:
        if types.get(column) not in KNOWN_TYPES:
            raise IssContractError(
                f"{answer.url}: column {column} of block {name!r} has the unknown type {types.get(column)!r}", answer
            )
