"""``lakehouse doctor``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from lakehouse.cli.options import data_option
from lakehouse.doctor.finding import Finding, Site, failed
from lakehouse.doctor.looking import look
from lakehouse.market.errors import BadInput
from lakehouse.settings import load_settings
from lakehouse.up import with_settings


@click.command()
@data_option
@click.option(
    "--exchange", "asks_exchange", is_flag=True, help="Also ask the exchange one question, within the budget."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of check, level, message and remedy.")
def doctor(data: Path | None, asks_exchange: bool, as_json: bool) -> None:
    """
    Look whether all that the platform needs is well, and say what to do where it is not.

    The platform may run or not. Exit code 1 if something failed; a warning is none.
    """
    found = []
    for finding in _findings(data, asks_exchange):
        found.append(finding)
        if not as_json:
            _print(finding)
    levels = [finding.level for finding in found]
    if as_json:
        click.echo(json.dumps([vars(finding) for finding in found], ensure_ascii=False, indent=1))
    else:
        click.echo(f"{levels.count('failed')} failed, {levels.count('warning')} warnings, {levels.count('ok')} ok")
    sys.exit(1 if "failed" in levels else 0)


def _findings(data: Path | None, asks_exchange: bool) -> Iterator[Finding]:
    try:
        settings = with_settings(load_settings(), data_dir=data)
    except BadInput as error:
        yield failed("settings", str(error), "mend the environment; docs/settings.md has all settings")
        return
    yield Finding("settings", "ok", "all are known, and can be used")
    yield from look(Site(settings, asks_exchange))


def _print(finding: Finding) -> None:
    click.echo(f"{finding.level:8} {finding.check:12} {finding.message}")
    if finding.remedy:
        click.echo(f"{'':21} -> {finding.remedy}")
