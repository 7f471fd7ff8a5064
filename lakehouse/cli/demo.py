"""``lakehouse demo``: the whole platform on an exchange of our own."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lakehouse.cli.once import summary
from lakehouse.cli.options import data_option, ending_on_sigterm, listening_options
from lakehouse.cli.platform import greet, greet_user, wait, wait_until_idle
from lakehouse.cli.progress import watch
from lakehouse.cli.remote import Api, demo_ingests, minted_token
from lakehouse.database.connection import connect
from lakehouse.jobs.job import Job
from lakehouse.listening import local_trust
from lakehouse.market.errors import LakehouseError
from lakehouse.ports import LOOPBACK
from lakehouse.settings import Settings, load_settings
from lakehouse.up import Plan, Platform, running, with_settings

_NEXT = """
Try next, in another terminal:
  lakehouse sql{data} "SELECT secid, count(*) FROM silver.candles GROUP BY secid"
  lakehouse ingest{data} LKOH --timeframe 10m --from 2026-06-01
  lakehouse jobs{data}
Stop: Ctrl-C (what was loaded stays in {folder})"""


@click.command()
@click.option(
    "--once", is_flag=True, help="Run the main job without the pages, the clock fixed after the close, and exit."
)
@click.option("--json", "as_json", is_flag=True, help="With --once: print one JSON object (docs/dictionary.md).")
@data_option
@click.option("--spark", "spark_master", help="Spark master, such as spark://host:7077 (default local[*]).")
@click.option(
    "--recorded",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Serve candles and history recorded in this folder instead of made data.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the made market.")
@listening_options
def demo(
    once: bool,
    as_json: bool,
    data: Path | None,
    spark_master: str | None,
    recorded: Path | None,
    seed: int,
    **listening: Any,
) -> None:
    """Load a small market from the exchange simulator, then serve charts and API until Ctrl-C. Needs no network."""
    began = time.monotonic()
    settings = load_settings()
    chosen = data or settings.data_dir / ("recorded" if recorded else "demo")
    if once:
        listening = {"host": LOOPBACK, "port": 0}
    settings = with_settings(settings, data_dir=chosen, spark_master=spark_master, **listening)
    plan = Plan(
        settings,
        source="recorded" if recorded else "simulator",
        seed=seed,
        recorded=recorded.absolute() if recorded else None,
        frozen=once,
        web="api" if once else "pages",
    )
    with ending_on_sigterm(), running(plan) as platform:
        started_s = time.monotonic() - began
        jobs = _load(platform)
        if once:
            greet_user(platform, err=True)
            _print_summary(platform, jobs, started_s, time.monotonic() - began, as_json)
        else:
            _greet_and_wait(platform, settings)


def _load(platform: Platform) -> list[Job]:
    """Ask for the demo's market by the API, as anybody would, and watch until it is on the charts."""
    kind = "made" if platform.plan.source == "simulator" else "recorded"
    click.echo(f"The exchange is a simulator at {platform.iss_url}: {kind} data, request budget lifted", err=True)
    with connect(platform.dsn) as conn:
        api = Api(platform.api_url, minted_token(conn), local_trust(platform.plan.settings))
        job_ids: list[int] = []
        for document in demo_ingests(platform.plan):
            job_ids.append(api.post("/v1/ingest", document)["job_id"])
    jobs = watch(platform, job_ids)
    wait_until_idle(platform.dsn, platform)
    for job in jobs:
        if job.state != "done":
            raise LakehouseError(f"job {job.job_id} {job.state}: {job.why_failed}")
    return jobs


def _print_summary(platform: Platform, jobs: Sequence[Job], started_s: float, total_s: float, as_json: bool) -> None:
    found: dict[str, Any] = summary(platform, jobs, started_s, total_s)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    for name, value in found.items():
        click.echo(f"{name:17} {json.dumps(value) if isinstance(value, dict) else value}")


def _greet_and_wait(platform: Platform, settings: Settings) -> None:
    greet(platform)
    click.echo(_NEXT.format(data=f" --data {settings.data_dir}", folder=settings.data_dir))
    wait(platform)
