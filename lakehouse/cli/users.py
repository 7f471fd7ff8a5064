"""``lakehouse users``: who may log in."""

from __future__ import annotations

from pathlib import Path

import click

from lakehouse.access import audit
from lakehouse.access import users as accounts
from lakehouse.access.roles import Role
from lakehouse.cli.options import connected, data_option, operator

_ROLE = click.Choice([str(role) for role in Role])


@click.group(invoke_without_command=True)
@data_option
@click.pass_context
def users(context: click.Context, data: Path | None) -> None:
    """List those who may log in; or add, change and remove them."""
    context.obj = data
    if context.invoked_subcommand is None:
        with connected(data) as conn:
            for user in accounts.list_users(conn):
                click.echo(f"{user.name}\t{user.role}")


@users.command()
@click.argument("name")
@click.option("--role", type=_ROLE, default=str(Role.VIEWER), show_default=True)
@click.password_option()
@click.pass_obj
def add(data: Path | None, name: str, role: str, password: str) -> None:
    """Add the user NAME; the password is asked for."""
    with connected(data) as conn, conn.transaction():
        user = accounts.create_user(conn, name, password, role)
        audit.record(conn, operator(), "add user", user.name, {"role": role}, "done", "")
    click.echo(f"{user.name} is {role}")


@users.command()
@click.argument("name")
@click.password_option()
@click.pass_obj
def password(data: Path | None, name: str, password: str) -> None:
    """Set the password of NAME, and end the sessions of that user."""
    with connected(data) as conn, conn.transaction():
        accounts.set_password(conn, name, password)
        audit.record(conn, operator(), "set password", name, {}, "done", "")
    click.echo(f"the password of {name} is changed")


@users.command()
@click.argument("name")
@click.argument("new_role", type=_ROLE)
@click.pass_obj
def role(data: Path | None, name: str, new_role: str) -> None:
    """Give NAME the role NEW_ROLE."""
    with connected(data) as conn, conn.transaction():
        accounts.set_role(conn, name, new_role)
        audit.record(conn, operator(), "set role", name, {"role": new_role}, "done", "")
    click.echo(f"{name} is {new_role}")


@users.command()
@click.argument("name")
@click.pass_obj
def remove(data: Path | None, name: str) -> None:
    """Remove NAME: sessions end, logging in is refused."""
    with connected(data) as conn, conn.transaction():
        accounts.remove_user(conn, name)
        audit.record(conn, operator(), "remove user", name, {}, "done", "")
    click.echo(f"{name} is removed")
