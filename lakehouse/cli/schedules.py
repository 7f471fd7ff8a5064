"""``lakehouse schedules``: what is done by the clock, and when."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from lakehouse.access import audit
from lakehouse.cli.options import connected, data_option, operator, plain
from lakehouse.jobs import schedules as timetable
from lakehouse.market.moscow import to_moscow


@click.group(invoke_without_command=True)
@data_option
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
@click.pass_context
def schedules(context: click.Context, data: Path | None, as_json: bool) -> None:
    """Show what is done by the clock, when it was last and will be next (Moscow time); or change it."""
    context.obj = data
    if context.invoked_subcommand is None:
        with connected(data) as conn:
            found = timetable.overview(conn)
        click.echo(json.dumps(found, default=plain, ensure_ascii=False)) if as_json else _print(found)


@schedules.command("set")
@click.argument("name")
@click.option("--at", help="Moscow time, HH:MM; of an hourly schedule :MM.")
@click.option("--weekday", help="Of a weekly schedule, such as Sunday.")
@click.option("--on/--off", "is_on", default=None, help="Whether it is done at all.")
@click.pass_obj
def set_(data: Path | None, name: str, at: str | None, weekday: str | None, is_on: bool | None) -> None:
    """Change when NAME is done, or whether. What was due before is not caught up."""
    if at is None and weekday is None and is_on is None:
        raise click.UsageError("say what to change: --at, --weekday, --on or --off")
    with connected(data) as conn, conn.transaction():
        user = operator()
        changed = timetable.change(conn, name, by=user.name, at=at, weekday=weekday, is_on=is_on)
        detail = {"at": at, "weekday": weekday, "is_on": is_on}
        audit.record(conn, user, "schedule", name, detail, "done", "")
    click.echo(f"{name}: {changed.when}{'' if changed.is_on else ', off'}")


def _print(found: Any) -> None:
    table = Table("schedule", "when (Moscow)", "next", "last", "outcome", "does", box=None)
    for each in found:
        due = _shown(each["next_due_at"]) if each["is_on"] else "off"
        table.add_row(
            each["name"], each["when"], due, _shown(each["last_due_at"]), each["last_outcome"] or "", each["does"]
        )
    Console(markup=False).print(table)


def _shown(instant: dt.datetime | None) -> str:
    return f"{to_moscow(instant):%Y-%m-%d %H:%M}" if instant else "not yet"
