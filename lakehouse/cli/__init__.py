"""The command ``lakehouse``."""

from __future__ import annotations

import sys

import click
import psycopg

from lakehouse.cli.audit import audit
from lakehouse.cli.backup import backup, restore_
from lakehouse.cli.demo import demo
from lakehouse.cli.doctor import doctor
from lakehouse.cli.jobs import ingest, jobs
from lakehouse.cli.platform import rebuild, simulator, up
from lakehouse.cli.prepare import buckets, migrate
from lakehouse.cli.quality import quality, quarantine
from lakehouse.cli.schedules import schedules
from lakehouse.cli.splits import splits
from lakehouse.cli.sql import sql
from lakehouse.cli.tokens import tokens
from lakehouse.cli.uploads import upload, uploads
from lakehouse.cli.users import users
from lakehouse.logs import configure_logs
from lakehouse.market.errors import LakehouseError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="moex-lakehouse")
def lakehouse() -> None:
    """History of the Moscow Exchange you can trust: every candle, revised when the exchange revises."""
    configure_logs("error")


COMMANDS = (
    demo,
    up,
    ingest,
    jobs,
    schedules,
    sql,
    upload,
    uploads,
    splits,
    quarantine,
    quality,
    users,
    tokens,
    audit,
    simulator,
    rebuild,
    migrate,
    buckets,
    backup,
    restore_,
    doctor,
)
for command in COMMANDS:
    lakehouse.add_command(command)


def main() -> None:
    """Run the command; exit 0 done, 1 failed, 2 wrong usage. LAKEHOUSE_LOG_LEVEL=debug shows where an error arose."""
    try:
        lakehouse(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except LakehouseError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except psycopg.OperationalError as error:
        said = " ".join(str(error).split())
        click.echo(f"Error: the database does not answer: {said}; does the platform run?", err=True)
        sys.exit(1)
