"""``lakehouse up``, ``simulator`` and ``rebuild``."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
from psycopg import Connection

from lakehouse.access import audit
from lakehouse.bronze.ledger import Junk
from lakehouse.bronze.ledger import rebuild as rebuild_ledger
from lakehouse.cli.options import data_option, ending_on_sigterm, listening_options, operator
from lakehouse.database.connection import connect
from lakehouse.database.outage import shared
from lakehouse.jobs.queue import enqueue
from lakehouse.market.errors import BadInput, LakehouseError
from lakehouse.settings import Settings, load_settings
from lakehouse.storage.store import open_store
from lakehouse.up import Plan, Platform, running, running_dsn, stamped_plan, with_settings

_POLL_S = 0.3


@click.command()
@data_option
@listening_options
@click.option("--spark", "spark_master", help="Spark master, such as spark://host:7077 (default local[*]).")
def up(data: Path | None, spark_master: str | None, **listening: Any) -> None:
    """Run the platform against the exchange until Ctrl-C."""
    settings = with_settings(load_settings(), data_dir=data, spark_master=spark_master, **listening)
    with ending_on_sigterm(), running(Plan(settings)) as platform:
        greet(platform)
        click.echo("Next:     lakehouse ingest SBER --timeframe 1d\nStop:     Ctrl-C")
        wait(platform)


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def simulator(arguments: tuple[str, ...]) -> None:
    """Run an exchange that speaks ISS, with made data; see `lakehouse simulator --help`."""
    sys.exit(subprocess.call([sys.executable, "-m", "lakehouse.simulator", *arguments]))


@click.command()
@click.argument("station", type=click.Choice(["ledger", "silver", "gold", "serving"]))
@click.option(
    "--accept-shrinkage", is_flag=True, help="Of serving: show Gold also if it lost rows that were not closed."
)
@data_option
def rebuild(station: str, accept_shrinkage: bool, data: Path | None) -> None:
    """
    Build STATION anew from the one before it, where it lies: readers go on reading.

    ledger comes from Bronze, silver from Bronze, gold from silver, serving (PostgreSQL) from gold. Starts what it
    needs if no platform runs.
    """
    if accept_shrinkage and station != "serving":
        raise click.UsageError("--accept-shrinkage is for serving: the others are made of all that there is")
    arguments = {"station": station, **({"accept_shrinkage": True} if accept_shrinkage else {})}
    settings = with_settings(load_settings(), data_dir=data)
    try:
        dsn = running_dsn(settings)
    except BadInput:
        with ending_on_sigterm(), running(stamped_plan(settings, web="none", fetches=False)) as platform:
            _rebuild(platform.dsn, arguments, settings, platform)
    else:
        _rebuild(dsn, arguments, settings, None)


def greet(platform: Platform) -> None:
    """Say where the pages are and, at the first start, who may enter."""
    click.echo(f"Pages:    {platform.web_url}\nAPI:      {platform.api_url}/v1")
    greet_user(platform)


def greet_user(platform: Platform, err: bool = False) -> None:
    """Say who may enter; the password is known at the first start only."""
    change = f"lakehouse users --data {platform.plan.settings.data_dir} password admin"
    if platform.password:
        click.echo(f"User:     admin\nPassword: {platform.password}   (shown once; to change it: {change})", err=err)
    else:
        click.echo(f"User:     admin   (password as shown at the first start; lost: {change})", err=err)


def wait(platform: Platform) -> None:
    """Keep the platform running until Ctrl-C."""
    try:
        platform.wait()
    except KeyboardInterrupt:
        click.echo("Stopping", err=True)


def _rebuild(dsn: str, arguments: dict[str, Any], settings: Settings, platform: Platform | None) -> None:
    station, began = arguments["station"], time.monotonic()
    with connect(dsn) as conn:
        if station == "ledger":
            junk: list[Junk] = []
            store = open_store(settings.bronze_location, settings.s3_options)
            audit.record(conn, operator(), "rebuild", station, {}, "begun", "")
            objects = rebuild_ledger(conn, store, junk.append)
            for each in junk:
                click.echo(f"not an object: {each}", err=True)
            click.echo(f"ledger: {objects} objects read in {time.monotonic() - began:.1f} s, {len(junk)} files refused")
            return
        row = conn.execute("SELECT now()").fetchone()
        since = row[0] if row else None
        with conn.transaction():
            enqueue(conn, "rebuild", arguments)
            audit.record(conn, operator(), "rebuild", station, arguments, "queued", "")
    while not (done := shared(dsn).run(lambda conn: _finished(conn, station, since))):
        shared(dsn).run(lambda conn: _raise_if_failed(conn, station, since))
        if platform:
            platform.check()
        time.sleep(_POLL_S)
    wait_until_idle(dsn, platform)
    click.echo(f"{station}: rebuilt in {done[0]:.1f} s")


def _finished(conn: Connection[Any], station: str, since: Any) -> tuple[float] | None:
    return conn.execute(
        "SELECT seconds FROM lake.step_run WHERE step = %s AND started_at >= %s AND finished_at IS NOT NULL",
        (f"rebuild {station}", since),
    ).fetchone()


def _raise_if_failed(conn: Connection[Any], station: str, since: Any) -> None:
    row = conn.execute(
        """
        SELECT coalesce(d.reason, 'it failed')
        FROM procrastinate_jobs j LEFT JOIN lake.dead_letter d ON d.message_id = j.id
        WHERE task_name = 'rebuild' AND status = 'failed'
            AND id > (SELECT coalesce(max(job_id), 0) FROM procrastinate_events WHERE at < %s)
        """,
        (since,),
    ).fetchone()
    if row:
        raise LakehouseError(f"{station}: {row[0]} (logs/spark.log in the data folder has all of it)")


def wait_until_idle(dsn: str, platform: Platform | None) -> None:
    """Return when no message waits or is being worked on."""
    busy = "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))"
    while shared(dsn).run(lambda conn: conn.execute(busy).fetchone()) == (True,):
        if platform:
            platform.check()
        time.sleep(_POLL_S)
