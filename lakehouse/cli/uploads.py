"""``lakehouse upload`` and ``lakehouse uploads``: pages of the exchange that somebody saved."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lakehouse.access import audit
from lakehouse.bronze import uploads as uploaded
from lakehouse.bronze.upload_file import upload_key
from lakehouse.bronze.window import Series
from lakehouse.cli.options import connected, data_option, opened_store, operator, plain, present
from lakehouse.jobs.events import file_uploaded, object_landed
from lakehouse.market.errors import LakehouseError
from lakehouse.market.timeframe import Timeframe


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--history", is_flag=True, help="End-of-day rows, which say themselves what they are of.")
@click.option("--engine", default="stock", show_default=True)
@click.option("--market", default="shares", show_default=True)
@click.option("--board", default="TQBR", show_default=True, help="Board of the candles.")
@click.option("--secid", help="Security of the candles.")
@click.option("--timeframe", type=click.Choice([each.value for each in Timeframe]), help="Timeframe of the candles.")
@data_option
def upload(
    files: Sequence[Path],
    history: bool,
    engine: str,
    market: str,
    board: str,
    secid: str | None,
    timeframe: str | None,
    data: Path | None,
) -> None:
    """
    Import saved pages of the exchange, JSON or CSV: they fill gaps, and revise nothing unless they are accepted.

    All FILES are of one series of candles, or with --history of one market.
    """
    if not history and not (secid and timeframe):
        raise click.UsageError("say --secid and --timeframe of the candles, or --history")
    series = Series("candles", engine, market, board, secid or "", timeframe or "")
    series = Series("history", engine, market) if history else series
    refused = []
    with connected(data) as conn:
        store, user = opened_store(data), operator()
        for path in files:
            try:
                with conn.transaction():
                    key = upload_key(series, path.name)
                    found = uploaded.submit(conn, store, key, path.read_bytes(), user.name)
                    audit.record(conn, user, "upload", key, {"rows": found.rows}, found.state, "")
            except LakehouseError as error:
                refused.append(f"{path}: {error}")
                continue
            file_uploaded(conn, store, key)
            click.echo(f"{path}: {found.rows:,} rows imported as {key}")
    if refused:
        raise LakehouseError(f"{len(refused)} of {len(files)} files refused: {'; '.join(refused)}")


@click.group(invoke_without_command=True)
@data_option
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Most files shown.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
@click.pass_context
def uploads(context: click.Context, data: Path | None, limit: int, as_json: bool) -> None:
    """Show the uploaded files, newest first, and what became of each; or accept one of them."""
    context.obj = data
    if context.invoked_subcommand is None:
        with connected(data) as conn:
            found = uploaded.uploads(conn, limit)
        if as_json:
            click.echo(json.dumps([vars(each) for each in found], default=plain, ensure_ascii=False))
        else:
            _print(found)


@uploads.command()
@click.argument("upload_key")
@click.pass_obj
def accept(data: Path | None, upload_key: str) -> None:
    """Let the rows of the file UPLOAD_KEY revise candles, as if the exchange had given them last."""
    with connected(data) as conn:
        store, user = opened_store(data), operator()
        with conn.transaction():
            object_key = uploaded.accept(conn, store, upload_key, user.name, present(data))
            audit.record(conn, user, "accept upload", upload_key, {"object_key": object_key}, "accepted", "")
        object_landed(conn, store, object_key)
    click.echo(f"{upload_key} is accepted: its rows are the newest now")


def _print(found: Sequence[uploaded.Upload]) -> None:
    table = Table("file", "state", "rows", "by", "seen (UTC)", "what became of it", box=None)
    for each in found:
        seen = f"{each.seen_at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}"
        table.add_row(each.upload_key, each.state, f"{each.rows:,}", each.uploaded_by, seen, each.fate)
    Console(markup=False).print(table)
