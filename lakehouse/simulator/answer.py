"""ISS's blocks as JSON: compact or extended, with or without metadata (docs/iss.md sections 2 and 4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from lakehouse.simulator.query import Query


@dataclass(frozen=True)
class Column:
    """A column of a block: its name as ISS spells it, its ISS type, and the bytes of a text."""

    name: str
    type: str = "double"
    size: int = 0

    def metadata(self) -> dict[str, Any]:
        """Return what ISS says about the column."""
        sizes = {"date": 10, "time": 10, "datetime": 19}
        size = sizes.get(self.type, self.size)
        return {"type": self.type, "bytes": size, "max_size": 0} if size else {"type": self.type}


Columns = tuple[Column, ...]


def columns(text: str) -> Columns:
    """Return the columns named in *text*: ``NAME``, a double, or ``NAME:type``, or ``NAME:string:bytes``."""
    return tuple(_column(*word.split(":")) for word in text.split())


def _column(name: str, type_: str = "double", size: str = "0") -> Column:
    return Column(name, type_, int(size))


@dataclass(frozen=True)
class Block:
    """A block of an answer; *rows* is the JSON text of its rows, without the brackets around them."""

    name: str
    columns: Columns
    rows: bytes

    @classmethod
    def of(cls, name: str, columns_: Columns, rows: Iterable[Sequence[Any]]) -> Block:
        """Return a block of *rows*."""
        return cls(name, columns_, orjson.dumps(list(rows))[1:-1])

    def select(self, names: Sequence[str]) -> Block:
        """Return the block with the columns called *names* only, in that order; unknown ones are passed over."""
        place = {column.name.lower(): at for at, column in enumerate(self.columns)}
        places = [place[name.lower()] for name in names if name.lower() in place]
        rows = [[row[at] for at in places] for row in self.parsed()]
        return Block.of(self.name, tuple(self.columns[at] for at in places), rows)

    def parsed(self) -> list[list[Any]]:
        """Return the rows."""
        return list(orjson.loads(b"[" + self.rows + b"]"))

    def extended(self, has_metadata: bool) -> Any:
        """Return the block as ``iss.json=extended`` has it: a list of objects."""
        names = [column.name for column in self.columns]
        rows = [dict(zip(names, row, strict=True)) for row in self.parsed()]
        return [{column.name: column.metadata() for column in self.columns}, rows] if has_metadata else rows


def render(blocks: Iterable[Block], query: Query) -> bytes:
    """Return the answer's body."""
    shown = [_asked(block, query) for block in blocks if query.shows(block.name)]
    if query.is_extended:
        body = {block.name: block.extended(query.has_metadata) for block in shown}
        return orjson.dumps([{"charsetinfo": {"name": "utf-8"}}, body])
    parts = [b"".join((_head(block.name, block.columns, query.has_metadata), block.rows, b"]}")) for block in shown]
    return b"".join((b"{\n", b",\n".join(parts), b"}"))


def _asked(block: Block, query: Query) -> Block:
    if not query.has_data:
        block = Block(block.name, block.columns, b"")
    names = query.columns(block.name)
    return block.select(names) if names else block


@lru_cache(maxsize=256)
def _head(name: str, columns_: Columns, has_metadata: bool) -> bytes:
    metadata = {"metadata": {column.name: column.metadata() for column in columns_}} if has_metadata else {}
    text = orjson.dumps({name: {**metadata, "columns": [column.name for column in columns_], "data": []}})
    return text[1:-3]
