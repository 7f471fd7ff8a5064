"""Which statements DuckDB is given, and which tables they name: decided on DuckDB's own parse of the text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

from lakehouse.serving.lake_sql.process import SqlRefused

STATEMENT_CHARACTERS = 100_000
_TAKEN = "a single SELECT, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN statement is taken"

# All others are refused: some read files, some run an unchecked text, and arrow_scan calls any address it is given
TABLE_FUNCTIONS = frozenset(
    {
        "generate_series",
        "json_each",
        "json_tree",
        "pg_timezone_names",
        "range",
        "repeat",
        "repeat_row",
        "summary",
        "unnest",
    }
)
# Settings are nobody's business, and sleeping or writing to a log is no question
_FUNCTIONS_REFUSED = frozenset({"current_setting", "getvariable", "sleep_ms", "write_log"})
_TOO_DEEP = "the statement is nested too deep to be checked: write it with WITH, or flatter"
# What SHOW TABLES, SHOW ALL TABLES and SHOW TABLES FROM silver are in the parse
_LISTS = ("tables", "__show_tables_expanded", "")
_ADVICE = re.compile(r' Use "SET .*')  # which would be refused
_EXPLAIN = re.compile(r"\s*explain\b(?:\s+analyze\b)?", re.IGNORECASE)


def tables_named(conn: duckdb.DuckDBPyConnection, text: str) -> set[str] | None:
    """
    Return the names, in small letters, of the tables that a statement reads; None if it lists tables (SHOW TABLES).

    *conn* needs DuckDB's setting errors_as_json. Names of CTEs and of DuckDB's catalog are among those returned.

    Raises:
        SqlRefused: for anything but one read-only statement, and for table functions beyond TABLE_FUNCTIONS.
    """
    paths = []
    for node in _nodes(_parse(conn, text)):
        if node.get("type") == "TABLE_FUNCTION":
            _check_table_function(node["function"])
        elif str(node.get("function_name", "")).lower() in _FUNCTIONS_REFUSED:
            raise SqlRefused(f"the function {node['function_name']} is refused: it is no question to the lake")
        elif node.get("type") == "BASE_TABLE" or (node.get("type") == "SHOW_REF" and not node.get("query")):
            paths.append([part.lower().strip('"') for part in node["qualified_name"]["path"]])
    is_list = any("information_schema" in path or path[-1] in _LISTS for path in paths)
    return None if is_list else {path[-1] for path in paths}


def place(text: str, position: int) -> str:
    """Return where in *text* a byte *position* of DuckDB's is, for people: line and column count from 1."""
    before = text.encode()[:position].decode(errors="ignore")
    return f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"


def engine_message(error: duckdb.Error, text: str) -> str:
    """Return what DuckDB says is wrong with *text*, in one line that begins with the place."""
    _, _, body = str(error).partition("{")
    try:
        said = json.loads("{" + body)
    except ValueError:
        return " ".join(str(error).split())
    message = _ADVICE.sub("", " ".join(str(said["exception_message"]).split()))
    return f"{place(text, int(said['position']))}: {message}" if "position" in said else message


def _parse(conn: duckdb.DuckDBPyConnection, text: str) -> Any:
    if len(text) > STATEMENT_CHARACTERS:
        raise SqlRefused(f"the statement has {len(text):,} characters; {STATEMENT_CHARACTERS:,} are taken")
    try:
        statements = conn.extract_statements(text)
    except duckdb.Error as error:
        raise SqlRefused(engine_message(error, text)) from error
    if len(statements) != 1:
        raise SqlRefused(f"the text holds {len(statements)} statements: {_TAKEN}")
    kind = statements[0].type
    if kind not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise SqlRefused(f"{kind.name} is refused: {_TAKEN}")
    begin = _explain_end(text) if kind is duckdb.StatementType.EXPLAIN else 0
    ((parse,),) = conn.execute("SELECT json_serialize_sql(?::VARCHAR)", [text[begin:]]).fetchall()
    try:
        tree = json.loads(parse)
    except RecursionError:
        raise SqlRefused(_TOO_DEEP) from None
    if tree["error"]:
        raise SqlRefused(f"what cannot be checked is refused ({tree['error_message']}): {_TAKEN}")
    return tree


def _explain_end(text: str) -> int:
    # At the very start only: an "explain" that was cut out of a comment would leave another text than the one that runs
    explain = _EXPLAIN.match(text)
    if explain is None:
        raise SqlRefused("what comes before EXPLAIN is not checked: begin with EXPLAIN, and write comments behind it")
    return explain.end()


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _check_table_function(function: dict[str, Any]) -> None:
    name = str(function["function_name"]).lower()
    if name not in TABLE_FUNCTIONS:
        raise SqlRefused(
            f"the table function {name} is refused: the lake's tables are there by name, and of functions "
            + ", ".join(sorted(TABLE_FUNCTIONS))
        )
