"""The lake's tables, each declared once: DDL, Arrow schemas, API models and the data dictionary derive from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Type = Literal["string", "double", "long", "int", "boolean", "timestamp", "date"]


@dataclass(frozen=True)
class Column:
    """A column: its type, its meaning, its unit, and whether it may be null."""

    name: str
    type: Type
    meaning: str
    unit: str = ""
    nullable: bool = True

    @property
    def ddl_type(self) -> str:
        """Its type in Spark's SQL."""
        return _SPARK[self.type]


@dataclass(frozen=True)
class Table:
    """
    A table: its columns in order, the key that rows are unique by, and the columns it is partitioned by.

    *values* are the columns whose change opens a new version (Silver only); a hash covers *hashed* in this order.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    values: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()
    hash_excludes: frozenset[str] = frozenset({"known_from", "known_till", "source", "end_at", "is_final", "bucket"})

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def hashed(self) -> tuple[str, ...]:
        """The names of the columns that a content hash covers, in order."""
        return tuple(name for name in self.names if name not in self.hash_excludes)

    def column(self, name: str) -> Column:
        """Return the column called *name*."""
        return next(column for column in self.columns if column.name == name)

    def ddl(self) -> str:
        """Return the columns as Spark SQL DDL: ``name TYPE [NOT NULL], ...``."""
        return ", ".join(
            f"{column.name} {column.ddl_type}{'' if column.nullable else ' NOT NULL'}" for column in self.columns
        )


_SPARK = {
    "string": "STRING",
    "double": "DOUBLE",
    "long": "BIGINT",
    "int": "INT",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
}
