"""PostgreSQL: its programs or one's own server, the schema, the roles, the queue and what is done by the clock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

from psycopg import Connection, sql

from lakehouse.database import binaries
from lakehouse.database.migrate import read_migrations
from lakehouse.doctor.finding import Finding, Site, failed, ok, skipped, warning
from lakehouse.jobs import schedules
from lakehouse.market.errors import LakehouseError
from lakehouse.operations.health import LATE, WORKER_SILENT_S, expected_queues
from lakehouse.up.folder import database_folder

_OLDEST_SERVER = 16
_ROLES = ("lakehouse_owner", "lakehouse_app", "lakehouse_read")
_SINGLE_ROWS = ("lake.breaker", "lake.request_budget", "lake.schedule_clock", "gold.publication")
_STUCK = dt.timedelta(hours=2)
_BACKED_UP = dt.timedelta(days=7)


def server(site: Site) -> Iterator[Finding]:
    """PostgreSQL answers, or could be started."""
    if site.settings.database_url is None:
        try:
            programs = binaries.find()
        except LakehouseError as error:
            yield failed("postgresql", str(error), "make setup")
            return
        yield ok("postgresql", f"its programs are in {programs}")
        yield from _version_of_data(site)
    if site.dsn is None:
        yield skipped("database", "no platform runs on the data folder: start it, and look again")
    elif site.why_no_database:
        remedy = "start your server, or mend LAKEHOUSE_DATABASE_URL" if site.settings.database_url else _LOG
        yield failed("database", f"it does not answer: {site.why_no_database}", remedy)
    else:
        yield ok("database", "it answers")


_LOG = "look at logs/postgres.log in the data folder; `lakehouse up` starts it anew"


def _version_of_data(site: Site) -> Iterator[Finding]:
    written = database_folder(site.data) / "PG_VERSION"
    try:
        found = written.read_text(encoding="ascii").strip()
    except OSError:
        return
    ours = binaries.major_version()
    if found != ours:
        yield failed(
            "postgresql",
            f"the data in {written.parent} are PostgreSQL {found}'s, and the programs are {ours}'s",
            f"restore a backup into a new folder, or run `lakehouse rebuild ledger` in one: {ours} cannot read them",
        )


def schema(site: Site, conn: Connection[Any]) -> Iterator[Finding]:
    """The server is new enough; all migrations ran, unchanged; the roles are there."""
    major = conn.info.server_version // 10_000
    if major < _OLDEST_SERVER:
        yield failed("server", f"PostgreSQL {major} is too old", f"use PostgreSQL {_OLDEST_SERVER} or later")
    else:
        yield ok("server", f"PostgreSQL {major}")
    if conn.execute("SELECT to_regclass('public.lakehouse_migration')").fetchone() == (None,):
        yield failed("schema", "there is none yet", "lakehouse migrate, or lakehouse up, which does it")
        return
    applied = dict(conn.execute("SELECT name, checksum FROM public.lakehouse_migration").fetchall())
    known = {each.name: each.checksum for each in read_migrations()}
    if missing := sorted(set(known) - set(applied)):
        yield failed("schema", f"migrations have not run: {', '.join(missing)}", "lakehouse migrate, or start it anew")
    elif unknown := sorted(set(applied) - set(known)):
        yield failed("schema", f"it is a newer version's ({', '.join(unknown)})", "use that version")
    elif edited := sorted(name for name in known if known[name] != applied[name]):
        yield failed("schema", f"migrations were edited after they ran: {', '.join(edited)}", "restore the files")
    else:
        yield ok("schema", f"{len(known)} migrations, all applied")
    yield from _roles(conn)


def _roles(conn: Connection[Any]) -> Iterator[Finding]:
    there = {row[0] for row in conn.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", (list(_ROLES),))}
    if missing := [role for role in _ROLES if role not in there]:
        yield failed("roles", f"missing: {', '.join(missing)}", "CREATE ROLE them NOLOGIN, then: lakehouse migrate")
        return
    row = conn.execute("SELECT pg_has_role('lakehouse_app', 'MEMBER')").fetchone()
    if row != (True,):
        yield failed("roles", "we may not act as lakehouse_app", "GRANT lakehouse_app TO the user of the address")
    else:
        yield ok("roles", "owner, app and read-only are there")


def rows(site: Site, conn: Connection[Any]) -> Iterator[Finding]:
    """Tables of one row have it."""
    empty = [
        name
        for name in _SINGLE_ROWS
        if conn.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(*name.split(".")))).fetchone() is None
    ]
    for name in empty:
        yield failed("state", f"{name} has no row", f"give it one in PostgreSQL: INSERT INTO {name} DEFAULT VALUES")
    if not empty:
        yield ok("state", "the tables of one row have theirs")


def queue(site: Site, conn: Connection[Any]) -> Iterator[Finding]:
    """Somebody works, nothing is stuck, and nothing was given up."""
    silent = dict(conn.execute("SELECT queue, extract(epoch FROM now() - heard_at)::float8 FROM lake.worker_heard"))
    missing = [
        name for name in expected_queues(site.settings) if silent.get(name, WORKER_SILENT_S + 1) > WORKER_SILENT_S
    ]
    if missing:
        yield failed("workers", f"none is heard of: {', '.join(missing)}", "logs/worker.log and logs/spark.log say why")
    else:
        yield ok("workers", "all are heard")
    stuck = conn.execute(
        """
        SELECT j.id, j.task_name FROM procrastinate_jobs j WHERE j.status = 'doing'
            AND (SELECT max(e.at) FROM procrastinate_events e WHERE e.job_id = j.id) < now() - %s ORDER BY j.id
        """,
        (_STUCK,),
    ).fetchall()
    for number, task in stuck:
        yield warning("queue", f"message {number} ({task}) is being done for more than 2 h", "lakehouse jobs")
    dead = conn.execute("SELECT count(*) FROM procrastinate_jobs WHERE status = 'failed'").fetchone() or (0,)
    if dead[0]:
        remedy = "lakehouse jobs says why; after mending the cause: lakehouse jobs redrive"
        yield warning("queue", f"dead letters: {dead[0]}", remedy)
    if not stuck and not dead[0]:
        yield ok("queue", "nothing is stuck, and there are no dead letters")


def clocked(site: Site, conn: Connection[Any]) -> Iterator[Finding]:
    """What is done by the clock was done, and the exchange is not paused."""
    late = schedules.late(conn, LATE, is_real_time=site.source == "exchange")
    for name, due in late:
        yield warning(
            "schedules", f"{name} was due at {due:%Y-%m-%d %H:%M} UTC", "lakehouse schedules; logs/worker.log"
        )
    if not late:
        yield ok("schedules", "what was due was run")
    row = conn.execute("SELECT since, reason FROM lake.breaker WHERE since IS NOT NULL").fetchone()
    if row:
        message = f"it does not answer since {row[0]:%Y-%m-%d %H:%M} UTC ({row[1]})"
        yield warning("exchange", message, "it is asked again by itself; at once: lakehouse jobs resume")


def backups(site: Site, conn: Connection[Any]) -> Iterator[Finding]:
    """A backup was made not long ago."""
    row = conn.execute("SELECT max(at), now() FROM lake.audit WHERE action = 'backup' AND outcome = 'done'").fetchone()
    if row is None or row[0] is None:
        yield warning("backups", "none was ever made", "lakehouse backup PLACE; users and jobs live in PostgreSQL only")
    elif row[1] - row[0] > _BACKED_UP:
        yield warning("backups", f"the last was made {(row[1] - row[0]).days} days ago", "lakehouse backup PLACE")
    else:
        yield ok("backups", f"the last was made {row[0]:%Y-%m-%d %H:%M} UTC")
