"""
Write docs/access.md, who may do what, from the code: ``python -m infra.access``.

With ``--check``, a part of ``make check``: fail if the file is not what would be written.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import gradio as gr
from chalice.app import Chalice
from psycopg_pool import ConnectionPool

from functions.app import app
from functions.operation import Operation
from gradio_app.sandbox_runs import Runs
from gradio_app.server import ROLE_BY_PAGE, pages
from gradio_app.session import Pool
from infra.generated import write_or_check
from lakehouse.access.roles import Role
from lakehouse.cli import lakehouse
from lakehouse.sandbox.host import Sandbox

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "access.md"

_HEAD = """\
# Who may do what

Made from the code by `python -m infra.access`; `make check` fails when the two differ. What the server must answer to
each role is written by hand in `tests/access_matrix.txt`, and a test asks it all.

- Roles: *viewer* < *analyst* < *admin*; each may do all that those before it may, and the tables name the least one.
  *everybody* needs no login.
- The server checks each request in the role of that moment: a role that was taken away, a session or a token that was
  revoked count at once.
- What is refused has changed nothing. Where an operation names an action, it is on the audit record when it was done,
  and when it was refused (of each action 30 times an hour of a user); a page's callback when it was refused.
- Rows in quarantine are admins': `GET /v1/quarantine`, and `silver.quarantine` in SQL, which is not there for others.
- API tokens (`Authorization: Bearer lh_...`) have a role of their own, at most their owner's. One that may only read is
  refused where the method is not `GET`. Tokens open no pages, and do nothing where *no token* stands: they neither make
  nor end tokens and sessions, set no password and change no user. One that leaked must not make itself more.
"""

_COMMANDS = """\
## Commands

Commands talk to the platform's database with the password that lies in the data folder (mode 600): who may read that
folder is an admin. On the audit record they are `cli:NAME`.
"""


@dataclass(frozen=True)
class Callback:
    """What a page calls in Gradio's queue: its class and method, and what it checks first."""

    name: str
    role: Role
    action: str


def operations(api: Chalice) -> Iterator[tuple[str, str, Operation]]:
    """Yield method, path and declaration of each operation of the functions."""
    for path, entry_by_method in api.routes.items():
        for method, entry in entry_by_method.items():
            yield method, path, entry.view_function.operation  # type: ignore[attr-defined]


def callbacks(blocks: gr.Blocks) -> Iterator[tuple[int, Callable[..., Any]]]:
    """Yield the number and the method of each callback that runs on the server."""
    for number, listener in blocks.fns.items():
        if listener.fn is not None and not listener.js:
            yield number, listener.fn


def unconnected_pages() -> gr.Blocks:
    """Return all pages, without a database behind them."""
    pool: Pool = ConnectionPool("", open=False)
    return pages(pool, Runs(pool, Sandbox(None)))


def check_of(callback: Callable[..., Any]) -> Callback:
    """
    Return what a callback checks: its call of `require` (gradio_app/callbacks.py), read from its source.

    Raises ValueError for one that does not check exactly once.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(callback)))
    checks = [call for call in ast.walk(tree) if isinstance(call, ast.Call) and _is_check(call)]
    if len(checks) != 1:
        raise ValueError(
            f"{callback.__qualname__} calls require {len(checks)} times: each callback does so once, first"
        )
    role, action = checks[0].args[-2:]
    known = getattr(callback, "__globals__", None) or callback.__func__.__globals__  # type: ignore[attr-defined]
    name = action.value if isinstance(action, ast.Constant) else known[ast.unparse(action)]
    return Callback(callback.__qualname__, Role[ast.unparse(role).removeprefix("Role.")], str(name))


def document(api: Chalice, role_by_page: dict[str, Role], blocks: gr.Blocks, commands: click.Group) -> str:
    """Return the text of the document."""
    parts = [_HEAD, *_operations(api), *_pages(role_by_page), *_callbacks(blocks), _COMMANDS, *_commands(commands)]
    return "\n".join(parts) + "\n"


def _is_check(call: ast.Call) -> bool:
    return any(isinstance(name, ast.Name) and name.id == "require" for name in (call.func, *call.args))


def _operations(api: Chalice) -> Iterator[str]:
    yield "## API\n\nUnder `/api`.\n"
    yield "| operation | what it does | least role | action on the audit record |\n| --- | --- | --- | --- |"
    for method, path, declared in sorted(operations(api), key=lambda each: (each[1], each[0])):
        action = f"`{declared.action}`" if declared.action else ""
        yield f"| `{method} {path}` | {declared.summary} | {_least(declared)} | {action} |"
    yield ""


def _least(declared: Operation) -> str:
    if declared.role is not None:
        return f"{declared.role}{', no token' if declared.by_session else ''}"
    return "who has the operation's own token" if declared.admits else "everybody"


def _pages(role_by_page: dict[str, Role]) -> Iterator[str]:
    yield "## Pages\n\n| page | least role |\n| --- | --- |\n| `/login` | everybody |"
    yield from (f"| `{path}` | {role} |" for path, role in role_by_page.items())
    yield "\nFiles under `/static` and `/assets` say nothing about anyone, and are everybody's.\n"


def _callbacks(blocks: gr.Blocks) -> Iterator[str]:
    yield "## Callbacks of pages\n"
    yield "| callback | least role | action on the audit record, if refused |\n| --- | --- | --- |"
    checks = {each.name: each for each in (check_of(callback) for _, callback in callbacks(blocks))}
    yield from (f"| `{each.name}` | {each.role} | `{each.action}` |" for _, each in sorted(checks.items()))
    yield ""


def _commands(group: click.Group, before: str = "lakehouse") -> Iterator[str]:
    if before == "lakehouse":
        yield "| command | what it does |\n| --- | --- |"
    context = click.Context(group)
    for name in group.list_commands(context):
        if (command := group.get_command(context, name)) is not None:
            yield f"| `{before} {name}` | {command.get_short_help_str(200)} |"
        if isinstance(command, click.Group):
            yield from _commands(command, f"{before} {name}")


def main(arguments: list[str], path: Path = DOCUMENT) -> int:
    """Write the document, or compare it; return the exit code."""
    difference = "docs/access.md is not what the code says: run `python -m infra.access`"
    return write_or_check(arguments, path, document(app, ROLE_BY_PAGE, unconnected_pages(), lakehouse), difference)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
