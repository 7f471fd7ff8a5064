"""The command ``lakehouse``."""

from __future__ import annotations

import sys
from importlib import import_module

import click
import psycopg

from lakehouse.logs import configure_logs
from lakehouse.market.errors import LakehouseError

# Where each command is, as module.function
COMMANDS = {
    "audit": "audit.audit",
    "backup": "backup.backup",
    "buckets": "prepare.buckets",
    "demo": "demo.demo",
    "doctor": "doctor.doctor",
    "ingest": "jobs.ingest",
    "jobs": "jobs.jobs",
    "migrate": "prepare.migrate",
    "quality": "quality.quality",
    "quarantine": "quality.quarantine",
    "rebuild": "platform.rebuild",
    "restore": "backup.restore_",
    "schedules": "schedules.schedules",
    "simulator": "platform.simulator",
    "splits": "splits.splits",
    "sql": "sql.sql",
    "tokens": "tokens.tokens",
    "up": "platform.up",
    "upload": "uploads.upload",
    "uploads": "uploads.uploads",
    "users": "users.users",
}


class Commands(click.Group):
    """Imports a command when it is named: all of them bring Polars, botocore and MinIO's client, seconds of work."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, function = COMMANDS[cmd_name].split(".")
        command: click.Command = getattr(import_module(f"lakehouse.cli.{module}"), function)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="moex-lakehouse")
def lakehouse() -> None:
    """History of the Moscow Exchange you can trust: every candle, revised when the exchange revises."""
    configure_logs("error")


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
