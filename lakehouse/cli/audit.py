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

_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"])


@click.command()
@data_option
@click.option("--user", default="", help="Whose actions (- for nobody's: failed logins, and what was refused).")
@click.option("--action", default="", help="Which action, such as ingest.")
@click.option("--since", type=_TIME, help="From this time on (UTC).")
@click.option("--till", type=_TIME, help="Before this time (UTC).")
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
    since, till = _utc(since), _utc(till)
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


def _utc(time: dt.datetime | None) -> dt.datetime | None:
    return time.replace(tzinfo=dt.UTC) if time else None
