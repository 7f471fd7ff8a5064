"""The small tables of Gold: made equal to Delta inside the transaction that publishes the facts."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from psycopg import Connection, sql

from lakehouse.market.table import Table
from lakehouse.serving.checks import constraints_named
from lakehouse.serving.copy import copy_rows


def publish_dimension(conn: Connection[Any], table: Table, rows: pa.Table) -> int:
    """Make *table* equal *rows*, writing only what differs; return how many rows did."""
    schema, name = table.name.split(".")
    target, staged = sql.Identifier(schema, name), sql.Identifier(f"_{name}")
    conn.execute(sql.SQL("CREATE TEMP TABLE {} (LIKE {}) ON COMMIT DROP").format(staged, target))
    with constraints_named(table.name):
        copy_rows(conn, staged, table.names, [rows])
        conn.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(staged, identifiers(table.key)))
    gone = conn.execute(
        sql.SQL("DELETE FROM {} t WHERE NOT EXISTS (SELECT FROM {} s WHERE {})").format(
            target, staged, equal(table.key, "t", "s")
        )
    )
    select = sql.SQL("SELECT {} FROM {}").format(identifiers(table.names), staged)
    return gone.rowcount + conn.execute(upsert(target, table, select)).rowcount


def upsert(target: sql.Composable, table: Table, select: sql.Composable) -> sql.Composed:
    """Return an INSERT of *select* (the columns of *table*) that updates only the rows whose values differ."""
    values = tuple(name for name in table.names if name not in table.key)
    return sql.SQL(
        "INSERT INTO {target} AS t ({names}) {select} ON CONFLICT ({key}) DO UPDATE SET ({values}) = ROW({new})"
        " WHERE ({old}) IS DISTINCT FROM ({new})"
    ).format(
        target=target,
        names=identifiers(table.names),
        select=select,
        key=identifiers(table.key),
        values=identifiers(values),
        new=identifiers(values, "excluded"),
        old=identifiers(values, "t"),
    )


def identifiers(names: tuple[str, ...], alias: str | None = None) -> sql.Composed:
    """Return *names*, of *alias* if given, separated by commas."""
    return sql.SQL(", ").join(sql.Identifier(*([alias] if alias else []), name) for name in names)


def equal(names: tuple[str, ...], one: str, other: str) -> sql.Composed:
    """Return the condition that *names* are equal in two aliases."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(one, name), sql.Identifier(other, name)) for name in names
    )
