"""Arrow types of the tables that `lakehouse.market` declares."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from lakehouse.market.table import Column, Table, Type

# pyarrow ships no types: DataType is Any to the checker
_ARROW: dict[Type, Any] = {
    "string": pa.string(),
    "double": pa.float64(),
    "long": pa.int64(),
    "int": pa.int32(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
}


def arrow_type(type_: Type) -> pa.DataType:
    """Return the Arrow type of a column type; instants are UTC microseconds."""
    return _ARROW[type_]


def arrow_field(column: Column) -> pa.Field:
    """Return *column* as an Arrow field."""
    return pa.field(column.name, arrow_type(column.type), nullable=column.nullable)


def arrow_schema(table: Table) -> pa.Schema:
    """Return the Arrow schema of *table*, columns in declared order."""
    return pa.schema([arrow_field(column) for column in table.columns])
