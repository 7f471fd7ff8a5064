"""The command line finds its commands, and brings no more than the one that was named."""

from __future__ import annotations

import subprocess
import sys

import click

from lakehouse.cli import COMMANDS, lakehouse


def test_every_command_is_where_it_is_said_to_be() -> None:
    """By the name that it is listed under, and no other name is one."""
    context = click.Context(lakehouse)
    found = {name: lakehouse.get_command(context, name) for name in lakehouse.list_commands(context)}
    assert {name: command.name if command else None for name, command in found.items()} == {n: n for n in COMMANDS}
    assert lakehouse.get_command(context, "nosuch") is None


def test_a_command_brings_only_what_it_needs() -> None:
    """What others of them need would take each start a second or two, and the supervisor memory for days."""
    program = """if True:
        import sys
        from lakehouse.cli import lakehouse
        lakehouse(["up", "--help"], standalone_mode=False)
        print(*{"botocore", "deltalake", "minio", "polars", "pyarrow", "pyspark"} & set(sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
    assert "Run the platform" in done.stdout
