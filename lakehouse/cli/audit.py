"""``lakehouse audit``: who changed what, from where, and what came of it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lakehouse.access.audit import MAX_ENTRIES, read
from lakehouse.cli.options import connected, data_option, plain
from lakehouse.market.moscow import parse_instant


def _instant(ctx: click.Context, param: click.Parameter, text: str | None) -> dt.datetime | None:
    try:
        return None if text is None else parse_instant(text, is_end=param.name == "till")
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is neither a date such as 2026-03-05 nor a time such as 2026-03-05T18:00"
        ) from None


@click.command()
@data_option
@click.option("--user", default="", help="Whose actions (- for nobody's: failed logins, and what was refused).")
@click.option("--action", default="", help="Which action, such as ingest.")
@click.option("--since", callback=_instant, help="From this time (UTC) or this Moscow date on.")
@click.option("--till", callback=_instant, help="Up to this time (UTC), or to the end of this Moscow date.")
@click.option("--limit", type=click.IntRange(1, MAX_ENTRIES), default=50, show_default=True, help="Most entries shown.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
def audit(
    data: Path | None,
    user: str,
    action: str,
    since: dt.datetime | None,
    till: dt.datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show what was done, by whom, from where and with what result, the newest first."""
    with connected(data) as conn:
        found = read(conn, user=user, action=action, since=since, till=till, limit=limit)
    if as_json:
        click.echo(json.dumps([vars(entry) for entry in found], default=plain, ensure_ascii=False))
        return
    table = Table(box=None)
    for name in ("time (UTC)", "user", "action", "target", "outcome", "from"):
        table.add_column(name, no_wrap=name != "target")
    for each in found:
        who = f"{each.user} ({each.via})" if each.via else each.user
        table.add_row(f"{each.at:%Y-%m-%d %H:%M:%S}", who, each.action, each.target, each.outcome, each.address)
    Console(markup=False).print(table)
