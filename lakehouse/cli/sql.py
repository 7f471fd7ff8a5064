"""``lakehouse sql``: questions to the lake."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

from lakehouse.cli.options import data_option
from lakehouse.serving.lake_sql.forms import csv_text, plain, tuples, unique
from lakehouse.serving.lake_sql.process import ROW_LIMIT, TIMEOUT_S, SqlFailed
from lakehouse.serving.lake_sql.run import run_sql
from lakehouse.settings import load_settings
from lakehouse.silver.lake import Lake
from lakehouse.up.plan import with_settings

MAX_ROWS = 10_000_000
SPARK_TIMEOUT_S = 600.0
_UNPRINTABLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}  # a cell must not steer the terminal


@click.command()
@click.argument("statement")
@data_option
@click.option(
    "--at",
    help="Read the tables as they were: at a version of the one table named, at a time such as 2026-03-05T18:00 (UTC "
    "unless it says otherwise), or at the end of a Moscow date such as 2026-03-05.",
)
@click.option("--json", "form", flag_value="json", help="Print a JSON array of rows.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_ROWS),
    help=f"Most rows printed (default: {ROW_LIMIT:,}; with more, CSV and JSON are refused without a limit).",
)
@click.option("--timeout", type=click.IntRange(1, 3600), help="Seconds after which it is stopped: 60, on Spark 600.")
@click.option("--spark", is_flag=True, help="Run it on Spark (LAKEHOUSE_SPARK_MASTER), in Spark's SQL: for the big.")
def sql(
    statement: str,
    data: Path | None,
    at: str | None,
    form: str | None,
    limit: int | None,
    timeout: int | None,
    spark: bool,
) -> None:
    """
    Run one read-only SQL STATEMENT over the lake's Delta tables.

    silver.candles holds the current candles, silver.candles_versions every version of them. SHOW TABLES lists all,
    DESCRIBE silver.candles says what is in one; docs/dictionary.md says what it means.
    """
    settings = with_settings(load_settings(), data_dir=data)
    lake = Lake(settings.lake_location, settings.s3_options)
    timeout_s = timeout or (SPARK_TIMEOUT_S if spark else TIMEOUT_S)
    master = settings.spark_master if spark else None
    answer = run_sql(statement, lake, at=at, row_limit=limit or ROW_LIMIT, timeout_s=timeout_s, spark_master=master)
    if answer.reached and form and limit is None:
        raise SqlFailed(
            f"there are more than {ROW_LIMIT:,} rows, and what a program reads does not tell that it was cut: narrow "
            f"the statement, or give --limit (at most {MAX_ROWS:,})"
        )
    {"json": _print_json, "csv": _print_csv, None: _print_table}[form](unique(answer.rows.column_names), answer.rows)
    if answer.reached:
        click.echo(f"{answer.reached} (--limit)", err=True)


def _print_json(names: list[str], rows: pa.Table) -> None:
    lines = (json.dumps(dict(zip(names, map(plain, row), strict=True)), ensure_ascii=False) for row in tuples(rows))
    click.echo("[" + ",\n ".join(lines) + "]")


def _print_csv(names: list[str], rows: pa.Table) -> None:
    click.echo("".join(csv_text(rows)), nl=False)


def _print_table(names: list[str], rows: pa.Table) -> None:
    cells = [[_cell(value) for value in row] for row in tuples(rows)]
    lines = [[name.translate(_UNPRINTABLE) for name in names], *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(names))]
    right = [pa.types.is_integer(type_) or pa.types.is_floating(type_) for type_ in rows.schema.types]
    lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        padded = (
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(line, widths, right, strict=True)
        )
        click.echo("  ".join(padded).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = str(value).removesuffix("+00:00") + "Z" if isinstance(value, dt.datetime) and value.tzinfo else str(value)
    return text.translate(_UNPRINTABLE)
