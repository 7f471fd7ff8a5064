"""``lakehouse ingest`` and ``lakehouse jobs``."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from psycopg import Connection
from rich.console import Console
from rich.table import Table

from lakehouse.access import audit
from lakehouse.cli.options import connected, data_option, operator, plain
from lakehouse.database import breaker
from lakehouse.database.connection import one_moment
from lakehouse.jobs import pausing, queue, redriving, retrying
from lakehouse.jobs.conservation import account
from lakehouse.jobs.waking import Wakes
from lakehouse.market.errors import LakehouseError
from lakehouse.market.timeframe import Timeframe
from lakehouse.settings import load_settings

_DATE = click.DateTime(["%Y-%m-%d"])
JOB_ID = click.IntRange(1, 2**63 - 1)


@click.command()
@click.argument("secids", nargs=-1, metavar="SECID...")
@click.option("--held", is_flag=True, help="Bring all that is held up to date, and nothing else (no SECID).")
@click.option(
    "--timeframe",
    "timeframes",
    multiple=True,
    default=["1d"],
    type=click.Choice([each.value for each in Timeframe]),
    help="May be repeated.",
)
@click.option("--from", "from_", type=_DATE, help="First Moscow date (default: the start of the series).")
@click.option("--till", type=_DATE, help="Last Moscow date (default: today at the exchange).")
@click.option("--reread", is_flag=True, help="Read again what is final, too: finds old revisions. Needs --from.")
@click.option("--wait/--no-wait", default=True, help="Wait until the job is over.")
@data_option
def ingest(
    secids: Sequence[str],
    held: bool,
    timeframes: Sequence[str],
    from_: dt.datetime | None,
    till: dt.datetime | None,
    reread: bool,
    wait: bool,
    data: Path | None,
) -> None:
    """
    Read candles of SECID... from the exchange, all the way to PostgreSQL.

    SECID stands for its primary board. SECID@BOARD reads another one: its candles are in silver.candles (lakehouse
    sql), while charts and the API show the primary board.
    """
    if not secids and not held:
        raise click.UsageError("say which SECID, or --held for all that is held")
    document: dict[str, Any] = {
        "instruments": list(secids),
        "timeframes": list(timeframes),
        "from": from_.date() if from_ else None,
        "till": till.date() if till else None,
        "reread": reread,
    }
    if held:
        is_given = click.get_current_context().get_parameter_source("timeframes") != ParameterSource.DEFAULT
        document |= {"held": True, "timeframes": list(timeframes) if is_given else []}
    request = queue.IngestRequest.parse(document)
    with connected(data) as conn:
        user = operator()
        with conn.transaction():
            job_id = queue.submit_ingest(conn, request, user.name)
            audit.record(conn, user, "ingest", " ".join(secids)[:200] or "all held", {"job_id": job_id}, "queued", "")
        _wake(conn)
        click.echo(f"job {job_id} is queued", err=True)
        if wait:
            found = _until_over(conn, job_id)
            _report(found, account(queue.steps_of(conn, found))["verdict"])


@click.group(invoke_without_command=True)
@data_option
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
@click.pass_context
def jobs(context: click.Context, data: Path | None, as_json: bool) -> None:
    """Show the newest jobs, and what they wait for; or one of them, cancel, retry or resume them."""
    context.obj = data
    if context.invoked_subcommand is None:
        with connected(data) as conn, one_moment(conn):
            if (exchange := breaker.state(conn)).is_open:
                click.echo(exchange, err=as_json)
            if dead := redriving.count_dead(conn):
                click.echo(f"dead letters: {dead}; see and put them back: lakehouse jobs redrive", err=as_json)
            _print_jobs(queue.jobs(conn), as_json)


@jobs.command()
@click.argument("job_id", type=JOB_ID)
@click.pass_obj
def show(data: Path | None, job_id: int) -> None:
    """Show a job with its windows, what each station did, and whether its rows add up, as JSON."""
    with connected(data) as conn, one_moment(conn):
        found = _job(conn, job_id)
        windows, steps = queue.windows(conn, job_id), queue.steps_of(conn, found)
        paused = breaker.state(conn).paused
    said = {"why_failed": found.why_failed, **account(steps)}
    document = {**vars(found), "paused": paused, **said, "windows": windows, "steps": steps}
    click.echo(json.dumps(document, default=plain, indent=2, ensure_ascii=False))


@jobs.command()
@click.argument("job_id", type=JOB_ID)
@click.pass_obj
def cancel(data: Path | None, job_id: int) -> None:
    """Stop a job at the next page of what it reads."""
    with connected(data) as conn:
        with conn.transaction():
            state = queue.cancel(conn, job_id)
            audit.record(conn, operator(), "cancel", f"job {job_id}", {}, state, "")
        _wake(conn)
    click.echo(f"job {job_id} is {state}")


@jobs.command()
@click.argument("job_id", type=JOB_ID, required=False)
@click.option("--failed", is_flag=True, help="Of all jobs (without JOB_ID).")
@click.pass_obj
def retry(data: Path | None, job_id: int | None, failed: bool) -> None:
    """Queue again exactly what failed of a job: windows, and tickers that could not be planned."""
    if job_id is None and not failed:
        raise click.UsageError("say which job, or --failed for all")
    with connected(data) as conn:
        with conn.transaction():
            retried = retrying.retry_failed(conn, job_id)
            audit.record(conn, operator(), "retry", f"jobs {retried}", {}, "queued", "")
        _wake(conn)
    click.echo(f"queued again: {', '.join(map(str, retried)) or 'nothing, as nothing had failed'}")


@jobs.command()
@click.option("--dry-run", is_flag=True, help="Only show what was given up.")
@click.pass_obj
def redrive(data: Path | None, dry_run: bool) -> None:
    """Put back what was given up in the queue (dead letters), in PostgreSQL and, where functions run, in SQS."""
    with connected(data) as conn:
        for letter in redriving.dead_letters(conn):
            click.echo(letter)
        if dry_run:
            return

        def note(done: redriving.Redriven) -> None:
            audit.record(conn, operator(), "redrive", str(done)[:200], {"jobs": done.jobs}, "queued", "")

        done = redriving.redrive(conn, Wakes.of(load_settings()), note)
    click.echo(done)


@jobs.command()
@click.pass_obj
def resume(data: Path | None) -> None:
    """Ask an exchange again at once that did not answer, instead of when its pause is over."""
    with connected(data) as conn:
        with conn.transaction():
            was_paused = pausing.resume(conn)
            audit.record(conn, operator(), "resume", "exchange", {}, "resumed" if was_paused else "nothing paused", "")
        _wake(conn)
    click.echo("the exchange is asked again" if was_paused else "nothing was paused: the exchange answers")


def _wake(conn: Connection[Any]) -> None:
    """Wake functions, where there are any, for what was queued, after its commit."""
    if (wakes := Wakes.of(load_settings())) is not None:
        wakes.send(conn)


def _job(conn: Connection[Any], job_id: int) -> queue.Job:
    found = queue.job(conn, job_id)
    if found is None:
        raise LakehouseError(f"there is no job {job_id}: `lakehouse jobs` lists them")
    return found


def _until_over(conn: Connection[Any], job_id: int) -> queue.Job:
    said = ""
    while not (found := _job(conn, job_id)).is_over:
        exchange = breaker.state(conn)
        if exchange.is_open and str(exchange) != said:
            said = str(exchange)
            click.echo(said, err=True)
        time.sleep(0.3)
    return found


def _report(found: queue.Job, rows: str) -> None:
    click.echo(
        f"job {found.job_id} {found.state}: {found.windows_done} windows, {found.pages} pages, {found.rows} rows"
    )
    if found.state == "done" and not found.windows_total:
        click.echo("nothing was due: what was asked is held already (--reread asks again what is final)")
    for secid, note in found.report.get("notes", {}).items():
        click.echo(f"{secid}: {note}")
    if rows:
        click.echo(rows)
    if found.state == "failed":
        raise LakehouseError(found.why_failed or f"job {found.job_id} failed")


def _print_jobs(found: Sequence[queue.Job], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([vars(job) for job in found], default=plain, ensure_ascii=False))
        return
    table = Table(box=None)
    for name in ("job", "state", "what", "by", "windows", "failed", "pages", "rows", "created", "error"):
        table.add_column(name)
    for job in found:
        done = f"{job.windows_done}/{job.windows_total}"
        cells = (job.job_id, job.state, job.asked, job.requested_by, done, job.windows_failed, job.pages, job.rows)
        table.add_row(*map(str, cells), f"{job.created_at:%Y-%m-%d %H:%M:%S}", (job.why_failed or "")[:80])
    Console().print(table)
