"""``lakehouse splits``: what "adjusted for splits" counts, and what the exchange does not list."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lakehouse.access import audit
from lakehouse.bronze.added_splits import MAX_SECURITIES, KnownSplit, add_split, known_splits, remove_split
from lakehouse.cli.options import connected, data_option, opened_store, operator, plain, present
from lakehouse.jobs.events import object_landed
from lakehouse.market.instrument import parse_secid

_DATE = click.DateTime(["%Y-%m-%d"])
_SECURITIES = click.IntRange(1, MAX_SECURITIES)
_engine = click.option("--engine", default="stock", show_default=True)


@click.group(invoke_without_command=True)
@data_option
@click.option("--secid", help="Of one security.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
@click.pass_context
def splits(context: click.Context, data: Path | None, secid: str | None, as_json: bool) -> None:
    """List the splits that prices are adjusted for, and where each is from; or add one that the exchange lacks."""
    context.obj = data
    if context.invoked_subcommand is None:
        with connected(data) as conn:
            found = known_splits(conn, opened_store(data), parse_secid(secid) if secid else None)
        if as_json:
            click.echo(json.dumps([vars(each) for each in found], default=plain, ensure_ascii=False))
        else:
            _print(found)


@splits.command()
@click.argument("secid")
@click.argument("trade_date", metavar="DATE", type=_DATE)
@click.argument("before", type=_SECURITIES)
@click.argument("after", type=_SECURITIES)
@click.option("--reason", required=True, help="Where it is said, such as the issuer's notice.")
@_engine
@click.pass_obj
def add(
    data: Path | None, secid: str, trade_date: dt.datetime, before: int, after: int, reason: str, engine: str
) -> None:
    """
    Add a split that the exchange does not list: BEFORE securities became AFTER.

    DATE is the first trading date after it: BELU 2024-08-20 1 8 says that each share became eight.
    """
    user = operator()
    split = KnownSplit(engine, secid, trade_date.date(), before, after, reason.strip(), user.name)
    with connected(data) as conn:
        store = opened_store(data)
        with conn.transaction():
            key = add_split(conn, store, split, present(data))
            detail = {"before": before, "after": after, "reason": split.reason, "object_key": key}
            audit.record(conn, user, "add split", f"{secid} {split.trade_date}", detail, "added", "")
        object_landed(conn, store, key)
    click.echo(f"{split} is added: prices before are multiplied by {before}/{after} when the merge is done")


@splits.command()
@click.argument("secid")
@click.argument("trade_date", metavar="DATE", type=_DATE)
@_engine
@click.pass_obj
def remove(data: Path | None, secid: str, trade_date: dt.datetime, engine: str) -> None:
    """Take back the split that was added of SECID on DATE."""
    user = operator()
    with connected(data) as conn:
        store = opened_store(data)
        with conn.transaction():
            split, key = remove_split(
                conn, store, secid, trade_date.date(), engine=engine, by=user.name, now=present(data)
            )
            detail = {"before": int(split.before), "after": int(split.after), "reason": split.reason, "object_key": key}
            audit.record(conn, user, "remove split", f"{secid} {split.trade_date}", detail, "removed", "")
        object_landed(conn, store, key)
    click.echo(f"{split} is taken back: prices are as the exchange's list has them when the merge is done")


def _print(found: Sequence[KnownSplit]) -> None:
    table = Table("date", "security", "before", "after", "from", "reason", box=None)
    for each in found:
        source = f"added by {each.added_by}, {each.added_at[:10]}" if each.added_by else "the exchange"
        if each.overruled_by:
            source += f"; does not count: the exchange lists {each.overruled_by}"
        table.add_row(f"{each.trade_date}", each.secid, f"{each.before:g}", f"{each.after:g}", source, each.reason)
    Console(markup=False).print(table)
