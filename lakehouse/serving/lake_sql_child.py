"""
The process that runs one statement for `lake_sql`: one JSON line on standard input, an answer on standard output.

The answer is a JSON line and, unless that holds an error, an Arrow stream. Only what is registered here can be read.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import resource
import sys
import warnings

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from lakehouse.lifeline import end_with_parent
from lakehouse.market.candle import GOLD, QUARANTINE, SILVER
from lakehouse.market.errors import LakehouseError
from lakehouse.market.table import Table
from lakehouse.serving.lake_sql_statement import SqlRefused, engine_message, tables_named
from lakehouse.silver.lake import table_url

MEMORY = "1GiB"
ANSWER_BYTES = 256 << 20
_ADDRESS_SPACE = 8 << 30  # Arrow's and DuckDB's allocators reserve far more than they use
_ROWS_AT_A_TIME = 2048
_TABLES = {table.name.partition(".")[2]: table for table in (*SILVER, QUARANTINE, *GOLD)}
_VERSIONS = "_versions"


class LakeEmpty(LakehouseError):
    """What a statement names has not been made yet."""


def main() -> None:
    """Run the statement that standard input holds."""
    request = json.loads(sys.stdin.buffer.readline())
    end_with_parent()
    _limit(request["timeout_s"])
    out = sys.stdout.buffer
    try:
        rows, is_truncated = answer(request["statement"], request["lake"], request["at"], request["row_limit"])
    except LakehouseError as error:
        kind = "refused" if isinstance(error, SqlRefused) else "failed"
        out.write(json.dumps({"error": str(error), "kind": kind}).encode() + b"\n")
        return
    body = io.BytesIO()
    with pa.ipc.new_stream(body, rows.schema) as stream:
        stream.write_table(rows)
    out.write(json.dumps({"is_truncated": is_truncated}).encode() + b"\n" + body.getbuffer())


def answer(text: str, lake: str, at: str | None, row_limit: int) -> tuple[pa.Table, bool]:
    """Return the rows of a statement, *row_limit* at most, and whether there were more."""
    conn = _engine()
    named = tables_named(conn, text)
    wanted = (
        _TABLES.values() if named is None else [_TABLES[name] for name in sorted(map(_base, named)) if name in _TABLES]
    )
    missing = _open_tables(conn, lake, list(dict.fromkeys(wanted)), at)
    if named is None and len(missing) == len(_TABLES):
        raise LakeEmpty(_no_data(lake, missing))
    # From here on nothing but these views can be reached, and no setting changes that
    conn.execute("SET enable_external_access = false; SET lock_configuration = true")
    try:
        return _fetch(conn.execute(text), row_limit)
    except duckdb.CatalogException as error:
        if missing and named is not None:
            raise LakeEmpty(_no_data(lake, missing)) from error
        raise SqlRefused(engine_message(error, text)) from error
    except duckdb.OutOfMemoryException as error:
        raise LakehouseError(
            f"the statement needs more than {MEMORY} of memory: narrow it with WHERE or LIMIT"
        ) from error
    except duckdb.Error as error:
        raise SqlRefused(engine_message(error, text)) from error


def _engine() -> duckdb.DuckDBPyConnection:
    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": 2,
        "memory_limit": MEMORY,
        "temp_directory": "",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "python_enable_replacements": False,
        "errors_as_json": True,
    }
    conn = duckdb.connect(":memory:", config=settings)
    conn.execute("CREATE SCHEMA silver; CREATE SCHEMA gold; SET search_path = 'silver,gold'; SET TimeZone = 'UTC'")
    return conn


def _open_tables(conn: duckdb.DuckDBPyConnection, lake: str, tables: list[Table], at: str | None) -> list[Table]:
    """Make the views of *tables*; return those that the lake does not hold."""
    if at is not None and at.isdigit() and len(tables) > 1:
        names = " and ".join(table.name for table in tables)
        raise SqlRefused(f"--at {at} is the version of one table, and the statement reads {names}: give a time instead")
    missing = []
    for table in tables:
        url = table_url(lake, table)
        if not DeltaTable.is_deltatable(url):
            missing.append(table)
            continue
        _create_views(conn, table, _at(DeltaTable(url), table, at))
    return missing


def _create_views(conn: duckdb.DuckDBPyConnection, table: Table, delta: DeltaTable) -> None:
    registered = "_" + table.name.replace(".", "_")
    conn.register(registered, delta.to_pyarrow_dataset())
    columns = ", ".join(f'"{name}"' for name in table.names)
    if "known_till" not in table.names:
        conn.execute(f"CREATE VIEW {table.name} AS SELECT {columns} FROM {registered}")  # noqa: S608 - declared names
        return
    conn.execute(f"CREATE VIEW {table.name}{_VERSIONS} AS SELECT {columns} FROM {registered}")  # noqa: S608 - the same
    current = ", ".join(f'"{name}"' for name in table.names if name != "known_till")
    conn.execute(
        f"CREATE VIEW {table.name} AS SELECT {current} FROM {registered} WHERE known_till IS NULL"  # noqa: S608 - the same
    )


def _at(delta: DeltaTable, table: Table, at: str | None) -> DeltaTable:
    if at is None:
        return delta
    version = int(at) if at.isdigit() else _version_at(delta, table, at)
    try:
        delta.load_as_version(version)
    except (DeltaError, OverflowError) as error:
        raise SqlRefused(f"{table.name} has no version {version}: its newest is {delta.version()}") from error
    return delta


def _version_at(delta: DeltaTable, table: Table, at: str) -> int:
    try:
        instant = dt.datetime.fromisoformat(at)
    except ValueError as error:
        raise SqlRefused(
            f"--at {at} is neither a version such as 12 nor a time such as 2026-03-05T18:00 (UTC)"
        ) from error
    instant = instant if instant.tzinfo else instant.replace(tzinfo=dt.UTC)
    commits = {int(commit["version"]): int(commit["timestamp"]) for commit in delta.history()}
    until_ms = instant.timestamp() * 1000
    if versions := [version for version, made_ms in commits.items() if made_ms <= until_ms]:
        return max(versions)
    first = dt.datetime.fromtimestamp(min(commits.values()) / 1000, dt.UTC)
    raise SqlRefused(f"{table.name} did not exist at {instant:%Y-%m-%d %H:%M:%S%z}: it was made at {first:%F %T%z}")


def _fetch(result: duckdb.DuckDBPyConnection, row_limit: int) -> tuple[pa.Table, bool]:
    with warnings.catch_warnings():
        # It advises sql(), whose errors say no place
        warnings.simplefilter("ignore", UserWarning)
        reader = result.to_arrow_reader(_ROWS_AT_A_TIME)
    if reader is None:
        raise RuntimeError("a query that was run has no result")
    batches, rows, size = [], 0, 0
    for batch in reader:
        batches.append(batch)
        rows += len(batch)
        size += batch.nbytes
        if size > ANSWER_BYTES:
            raise LakehouseError(f"the answer is larger than {ANSWER_BYTES >> 20} MiB: narrow it with WHERE or LIMIT")
        if rows > row_limit:
            break
    return pa.Table.from_batches(batches, reader.schema).slice(0, row_limit), rows > row_limit


def _no_data(lake: str, missing: list[Table]) -> str:
    names = ", ".join(table.name for table in missing)
    return f"there is no data in {lake} yet ({names} is not there): run lakehouse demo or lakehouse ingest"


def _base(name: str) -> str:
    return name.removesuffix(_VERSIONS)


def _limit(timeout_s: float) -> None:
    """Limit memory, CPU time and files as far as the system knows how; the parent's clock ends what is left."""
    cpu_s = int(timeout_s * 2) + 10
    limits = {
        resource.RLIMIT_AS: _ADDRESS_SPACE,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for name, most in limits.items():
        with contextlib.suppress(ValueError, OSError):  # macOS refuses RLIMIT_AS
            resource.setrlimit(name, (most, most))


if __name__ == "__main__":
    main()
