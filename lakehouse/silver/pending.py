"""What the ledger says about Bronze objects, as Silver asks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from lakehouse.bronze.ledger import LedgerObject
from lakehouse.market.table import Table
from lakehouse.silver.families import families_of, scope_of

_OBJECTS: LiteralString = """
    SELECT object_key, family, engine, market, board, secid, timeframe,
        lower(span) AS span_from, upper(span) AS span_till,
        complete, fetched_at, rank, coalesce(rows, 0) AS rows
    FROM lake.bronze_object o """

_OVERLAPPING: LiteralString = """
    WHERE family = ANY(%(families)s) AND (merged_at IS NOT NULL OR %(unmerged_too)s) AND EXISTS (
        SELECT FROM unnest(%(engine)s::text[], %(market)s::text[], %(board)s::text[], %(secid)s::text[],
            %(timeframe)s::text[], %(from_at)s::timestamptz[], %(till_at)s::timestamptz[])
            AS n(engine, market, board, secid, timeframe, from_at, till_at)
        WHERE {})"""

# More are not counted
_FEW = 1_000
_SERIES = ("engine", "market", "board", "secid", "timeframe")


def unmerged(conn: psycopg.Connection, table: Table) -> list[LedgerObject]:
    """Return the objects that *table* does not hold yet, in any order."""
    with conn.cursor(row_factory=class_row(LedgerObject)) as cursor:
        query = _OBJECTS + " WHERE family = ANY(%s) AND merged_at IS NULL"
        return cursor.execute(query, [_families(table)]).fetchall()


def everything(conn: psycopg.Connection, table: Table) -> list[LedgerObject]:
    """Return all objects whose rows *table* holds or should hold."""
    with conn.cursor(row_factory=class_row(LedgerObject)) as cursor:
        return cursor.execute(_OBJECTS + " WHERE family = ANY(%s)", [_families(table)]).fetchall()


def still_unmerged(conn: psycopg.Connection, objects: Sequence[LedgerObject]) -> list[LedgerObject]:
    """Return those of *objects* that no other worker has merged since."""
    keys = [object_.object_key for object_ in objects]
    rows = conn.execute(
        "SELECT object_key FROM lake.bronze_object WHERE object_key = ANY(%s) AND merged_at IS NULL", [keys]
    )
    left = {key for (key,) in rows}
    return [object_ for object_ in objects if object_.object_key in left]


def is_small(conn: psycopg.Connection, table: Table, rows: int) -> bool:
    """Return whether all that was ever read for *table* are at most *rows* rows; few objects are looked at."""
    query = """
        SELECT count(*) < %(most)s AND coalesce(sum(rows), 0) <= %(rows)s
        FROM (SELECT rows FROM lake.bronze_object WHERE family = ANY(%(families)s) LIMIT %(most)s) o"""
    row = conn.execute(query, {"families": _families(table), "rows": rows, "most": _FEW}).fetchone()
    return bool(row and row[0])


def is_all_merged(conn: psycopg.Connection, table: Table) -> bool:
    """Return whether *table* holds every object that has landed."""
    query = "SELECT NOT EXISTS (SELECT FROM lake.bronze_object WHERE family = ANY(%s) AND merged_at IS NULL)"
    row = conn.execute(query, [_families(table)]).fetchone()
    return bool(row and row[0])


def overlapping(
    conn: psycopg.Connection, table: Table, objects: Sequence[LedgerObject], *, unmerged_too: bool
) -> list[LedgerObject]:
    """Return the objects that may speak of a key of which *objects* speak; *objects* themselves may be among them."""
    same: list[sql.Composable] = [sql.SQL("o.{0} = n.{0}").format(sql.Identifier(name)) for name in scope_of(table)]
    if all(family.proves == "span" for family in families_of(table)):
        same.append(sql.SQL("o.span && tstzrange(n.from_at, n.till_at)"))
    query = sql.SQL(_OBJECTS) + sql.SQL(_OVERLAPPING).format(sql.SQL(" AND ").join(same))
    parameters = {
        **{name: [getattr(object_, name) for object_ in objects] for name in _SERIES},
        "from_at": [object_.span_from for object_ in objects],
        "till_at": [object_.span_till for object_ in objects],
        "families": _families(table),
        "unmerged_too": unmerged_too,
    }
    with conn.cursor(row_factory=class_row(LedgerObject)) as cursor:
        return cursor.execute(query, parameters).fetchall()


def forget(conn: psycopg.Connection, table: Table) -> None:
    """Record that *table* holds nothing: all its objects are unmerged, and no version of it is trusted."""
    with conn.transaction():
        conn.execute("DELETE FROM lake.progress WHERE table_name = %s", [table.name])
        conn.execute("UPDATE lake.bronze_object SET merged_at = NULL WHERE family = ANY(%s)", [_families(table)])


def mark_without_table(conn: psycopg.Connection, families: Sequence[str]) -> None:
    """Record objects of families that no table holds (borders) as merged: nothing is left to do with them."""
    conn.execute(
        "UPDATE lake.bronze_object SET merged_at = now() WHERE merged_at IS NULL AND NOT family = ANY(%s)",
        [list(families)],
    )


def _families(table: Table) -> list[str]:
    return [family.name for family in families_of(table)]
