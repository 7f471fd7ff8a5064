"""``lakehouse tokens``: API tokens, for programs."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lakehouse.access import audit
from lakehouse.access import tokens as kept
from lakehouse.access.roles import Role
from lakehouse.access.users import user_named
from lakehouse.cli.options import connected, data_option, operator


@click.group(invoke_without_command=True)
@data_option
@click.pass_context
def tokens(context: click.Context, data: Path | None) -> None:
    """List the API tokens of all users; or make and revoke them."""
    context.obj = data
    if context.invoked_subcommand is not None:
        return
    table = Table("token", "user", "name", "may", "expires (UTC)", "last used (UTC)", box=None)
    with connected(data) as conn:
        for each in kept.list_tokens(conn):
            may = f"{each.role}, only reads" if each.is_read_only else str(each.role)
            used = f"{each.used_at:%Y-%m-%d %H:%M}" if each.used_at else "never"
            table.add_row(str(each.token_id), each.user, each.name, may, f"{each.expires_at:%Y-%m-%d}", used)
    Console(markup=False).print(table)


@tokens.command()
@click.argument("user")
@click.argument("name")
@click.option("--role", type=click.Choice([str(role) for role in Role]), help="At most (default: the user's).")
@click.option("--days", type=click.IntRange(1, kept.MAX_DAYS), default=kept.DAYS, show_default=True)
@click.option("--read-only", is_flag=True, help="It may change nothing.")
@click.pass_obj
def make(data: Path | None, user: str, name: str, role: str | None, days: int, read_only: bool) -> None:
    """Make a token called NAME for USER and print it: it is shown this once."""
    chosen = Role(role) if role else None
    with connected(data) as conn, conn.transaction():
        owner = user_named(conn, user)
        made = kept.make_token(conn, owner, name, role=chosen, days=days, read_only=read_only)
        audit.record(conn, operator(), "make token", made.info.target, made.info.detail, "done", "")
    click.echo(f"for {made.info.user} until {made.info.expires_at:%Y-%m-%d}, as {made.info.role}:", err=True)
    click.echo(made.text)


@tokens.command()
@click.argument("token_id", type=click.IntRange(min=1))
@click.pass_obj
def revoke(data: Path | None, token_id: int) -> None:
    """End the token with the number TOKEN_ID."""
    with connected(data) as conn, conn.transaction():
        ended = kept.revoke_token(conn, token_id)
        audit.record(conn, operator(), "revoke token", ended.target, ended.detail, "done", "")
    click.echo(f"the token {ended.name} of {ended.user} is revoked")
