"""``lakehouse sql``: questions to the lake."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

from lakehouse.cli.options import data_option
from lakehouse.serving.lake_sql import ROW_LIMIT, TIMEOUT_S, run_sql
from lakehouse.settings import load_settings

MAX_ROWS = 10_000_000
_UNPRINTABLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}  # a cell must not steer the terminal


@click.command()
@click.argument("statement")
@data_option
@click.option("--at", help="Version of the one table named, or a time (UTC), to read the tables as they were.")
@click.option("--json", "form", flag_value="json", help="Print a JSON array of rows.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_ROWS), default=ROW_LIMIT, show_default=True, help="Most rows printed."
)
@click.option(
    "--timeout", type=click.IntRange(1, int(TIMEOUT_S)), default=int(TIMEOUT_S), show_default=True,
    help="Seconds after which it is stopped.",
)  # fmt: skip
def sql(statement: str, data: Path | None, at: str | None, form: str | None, limit: int, timeout: int) -> None:
    """
    Run one read-only SQL STATEMENT over the lake's Delta tables.

    silver.candles holds the current candles, silver.candles_versions every version of them. SHOW TABLES lists all,
    DESCRIBE silver.candles says what is in one; docs/dictionary.md says what it means.
    """
    lake = str(data.absolute()) if data else load_settings().lake
    answer = run_sql(statement, lake, at=at, row_limit=limit, timeout_s=timeout)
    {"json": _print_json, "csv": _print_csv, None: _print_table}[form](_unique(answer.rows.column_names), answer.rows)
    if answer.is_truncated:
        click.echo(f"there are more than {limit:,} rows: only these are shown (--limit)", err=True)


def _print_json(names: list[str], rows: pa.Table) -> None:
    lines = (json.dumps(dict(zip(names, map(_plain, row), strict=True)), ensure_ascii=False) for row in _rows(rows))
    click.echo("[" + ",\n ".join(lines) + "]")


def _print_csv(names: list[str], rows: pa.Table) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_plain(value) for value in row] for row in _rows(rows))


def _print_table(names: list[str], rows: pa.Table) -> None:
    cells = [[_cell(value) for value in row] for row in _rows(rows)]
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


def _rows(rows: pa.Table) -> Sequence[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def _plain(value: Any) -> Any:
    """Return *value* as JSON has it: instants as ISO with Z; what JSON has no word for (NaN, infinity) as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    return value.isoformat() if isinstance(value, (dt.date, dt.time)) else str(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = str(value).removesuffix("+00:00") + "Z" if isinstance(value, dt.datetime) and value.tzinfo else str(value)
    return text.translate(_UNPRINTABLE)


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names with a number behind those that occur before: a JSON object has each once."""
    taken: list[str] = []
    for name in names:
        free, number = name, 1
        while free in taken:
            number += 1
            free = f"{name}_{number}"
        taken.append(free)
    return taken
