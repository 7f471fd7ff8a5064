"""
The process that runs one statement on DuckDB: one JSON line on standard input, an answer on standard output.

The answer is a JSON line and, unless that holds an error, the rows in the form asked for. Only what is registered here
can be read.
"""

from __future__ import annotations

import contextlib
import resource
import sys
import warnings
from collections.abc import Container, Mapping
from importlib.abc import MetaPathFinder
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from lakehouse.market.errors import LakehouseError
from lakehouse.market.table import Table
from lakehouse.serving.lake_sql.answering import Found, serve
from lakehouse.serving.lake_sql.duckdb_statement import engine_message, tables_named
from lakehouse.serving.lake_sql.process import ANSWER_BYTES, SqlFailed, SqlRefused, too_large
from lakehouse.serving.lake_sql.tables import LakeEmpty, no_data, open_tables
from lakehouse.serving.lake_sql.views import VIEWS
from lakehouse.silver.lake import Lake

MEMORY = "1GiB"
_TOO_MUCH = f"the statement needs more than {MEMORY} of memory: narrow it with WHERE or LIMIT"
_DATA_BYTES = 2 << 30  # beside the answer: 1.6 GiB were taken, MEMORY used up; what is reserved only does not count
_THREADS = 2
_ROWS_AT_A_TIME = 2048


class _WithoutPandas(MetaPathFinder):
    """Lets nothing import pandas: Arrow would, if it is there, and that is half of a small statement's time."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is left out here", name=fullname)


def main() -> None:
    """Run the statement that standard input holds."""
    sys.meta_path.insert(0, _WithoutPandas())
    serve(_answered)


def _answered(request: Mapping[str, Any]) -> Found:
    _limit(request["timeout_s"], _DATA_BYTES + 4 * request["answer_bytes"])
    pa.set_cpu_count(_THREADS)
    lake = Lake(**request["lake"])
    return answer(
        request["statement"], lake, request["at"], request["row_limit"], request["answer_bytes"], request["hidden"]
    )


def answer(
    text: str,
    lake: Lake,
    at: str | None,
    row_limit: int,
    answer_bytes: int = ANSWER_BYTES,
    hidden: Container[str] = (),
) -> Found:
    """Return the rows of a statement, *row_limit* at most."""
    conn = _engine()
    named = tables_named(conn, text)
    opened = open_tables(lake, named, at, hidden)
    for table, delta in opened.tables:
        _create_views(conn, table, delta)
    # From here on nothing but these views can be reached, and no setting changes that
    conn.execute("SET enable_external_access = false; SET lock_configuration = true")
    try:
        return _fetch(conn.execute(text), row_limit, answer_bytes)
    except duckdb.CatalogException as error:
        if opened.missing and named is not None:
            raise LakeEmpty(no_data(lake, opened)) from error
        raise SqlRefused(engine_message(error, text)) from error
    except duckdb.OutOfMemoryException as error:
        raise LakehouseError(_TOO_MUCH) from error
    except duckdb.Error as error:
        if "the stream registered as" in str(error):
            raise LakehouseError(_unreadable(at)) from error
        raise SqlRefused(engine_message(error, text)) from error
    except OSError as error:  # as Arrow's reader hands on what DuckDB throws
        if "Out of Memory" in str(error):
            raise LakehouseError(_TOO_MUCH) from error
        raise


def _unreadable(at: str | None) -> str:
    if at is None:
        return "a file of the tables cannot be read at present: try again"
    return f"files of the tables as of {at} are gone, by a vacuum: the views ..._versions hold every version of a row"


def _engine() -> duckdb.DuckDBPyConnection:
    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": _THREADS,
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


def _create_views(conn: duckdb.DuckDBPyConnection, table: Table, delta: DeltaTable) -> None:
    registered = "_" + table.name.replace(".", "_")
    conn.register(registered, delta.to_pyarrow_dataset())
    for view in VIEWS:
        if view.table is table:
            conn.execute(f"CREATE VIEW {view.name} AS {view.select(registered)}")


def _fetch(result: duckdb.DuckDBPyConnection, row_limit: int, answer_bytes: int) -> Found:
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
        if size > answer_bytes:
            raise SqlFailed(too_large(answer_bytes))
        if rows > row_limit:
            break
    return Found(pa.Table.from_batches(batches, reader.schema).slice(0, row_limit), rows > row_limit)


def _limit(timeout_s: float, data_bytes: int) -> None:
    """Limit memory, CPU time and files as far as the system knows how; the parent's clock ends what is left."""
    cpu_s = int(timeout_s * 2) + 10
    limits = {
        resource.RLIMIT_DATA: data_bytes,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for name, most in limits.items():
        with contextlib.suppress(ValueError, OSError):  # macOS refuses some
            resource.setrlimit(name, (most, most))


if __name__ == "__main__":
    main()
