"""PostgreSQL's part of a backup: its own programs, of the version that comes with the platform."""

from __future__ import annotations

import os
import re
import subprocess
from tempfile import NamedTemporaryFile
from typing import IO, Any

from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lakehouse.database.binaries import find
from lakehouse.market.errors import BadInput, LakehouseError

# What pg_dump of the platform's own version reads, and what takes its dumps
OLDEST, NEWEST = 17, 18
# Facts are in the lake; readers are served from them by a publish
_FACTS = "store.fact_candle_*"
_FOR_ROLE = re.compile(r'(?<=^ALTER DEFAULT PRIVILEGES )FOR ROLE (?:"[^"]+"|\S+) ')


class PostgresFailed(LakehouseError):
    """pg_dump or pg_restore failed."""


def server_version(conn: Connection[Any]) -> int:
    """Return the server's version, as 180006; raise BadInput for one whose data cannot be moved."""
    version = conn.info.server_version
    if not OLDEST <= version // 10_000 <= NEWEST:
        raise BadInput(
            f"the server is PostgreSQL {version // 10_000}: backups are made of and restored to versions "
            f"{OLDEST} and {NEWEST}"
        )
    return version


def dump(dsn: str, snapshot: str, file: IO[bytes]) -> None:
    """Write the database as *snapshot* sees it into *file*, without the facts of Gold (pg_dump's custom format)."""
    _run("pg_dump", ["--format=custom", f"--snapshot={snapshot}", f"--exclude-table-data={_FACTS}"], dsn, stdout=file)


def refuse_filled(conn: Connection[Any]) -> None:
    """Raise BadInput unless the database is empty."""
    row = conn.execute(
        """
        SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY 1 LIMIT 1
        """
    ).fetchone()
    if row:
        raise BadInput(
            f"the database {conn.info.dbname} holds tables already, {row[0]} for one: restore into an empty one "
            "(LAKEHOUSE_DATABASE_URL)"
        )


def fill(dsn: str, conn: Connection[Any], file: IO[bytes], roles: list[str]) -> None:
    """Fill an empty database from a dump, all or nothing; roles that it grants to are made if they are missing."""
    for role in roles:
        _ensure_member(conn, sql.Identifier(role), role)
    with NamedTemporaryFile("w", suffix=".list") as entries:
        # Rights that objects made later are given by their owner, who has another name here; those to the server's own
        # functions are its superuser's to give (migration 0022)
        listed = _run("pg_restore", ["--list"], stdin=file).splitlines(keepends=True)
        entries.writelines(line for line in listed if " DEFAULT ACL " not in line and " ACL pg_catalog " not in line)
        entries.flush()
        arguments = ["--no-owner", "--exit-on-error", "--single-transaction", f"--use-list={entries.name}"]
        _run("pg_restore", arguments, dsn, stdin=file)
    for line in _run("pg_restore", ["--schema-only", "--file=-"], stdin=file).splitlines():
        if line.startswith("ALTER DEFAULT PRIVILEGES FOR ROLE "):
            conn.execute(_FOR_ROLE.sub("", line).encode())


def _ensure_member(conn: Connection[Any], name: sql.Identifier, role: str) -> None:
    if conn.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
        conn.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(name))
    if conn.execute("SELECT pg_has_role(current_user, %s, 'MEMBER')", (role,)).fetchone() != (True,):
        conn.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(name))


def _run(
    program: str,
    arguments: list[str],
    dsn: str = "",
    *,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
) -> str:
    """
    Run a program of PostgreSQL; return what it wrote to its standard output, unless *stdout* takes that.

    The password goes through its environment, where other users cannot see it.
    """
    info = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    secret = {"PGPASSWORD": info.pop("password")} if "password" in info else {}
    if stdin is not None:
        os.lseek(stdin.fileno(), 0, os.SEEK_SET)
    done = subprocess.run(
        [str(find() / program), *([f"--dbname={make_conninfo(**info)}"] if dsn else []), *arguments],
        env={**os.environ, **secret},
        stdin=stdin or subprocess.DEVNULL,
        stdout=stdout or subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise PostgresFailed(f"{program} failed: {said[-1000:] or f'code {done.returncode}'}")
    return (done.stdout or b"").decode()
