"""The exchange, its clock and ours; and the sandbox of analysts' programs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from lakehouse.bronze.context import FetchContext
from lakehouse.bronze.reference import exchange_now
from lakehouse.doctor.finding import Finding, Site, failed, ok, skipped, warning
from lakehouse.iss.client import Patience
from lakehouse.market.errors import LakehouseError
from lakehouse.sandbox.host import Sandbox
from lakehouse.sandbox.runner import Runner
from lakehouse.sandbox.warmth import COMMAND

_CLOCKS_DIFFER = dt.timedelta(seconds=30)


def exchange(site: Site) -> Iterator[Finding]:
    """The exchange answers one light question, within the budget, and its clock is ours."""
    if not site.asks_exchange:
        yield skipped("exchange", "it is asked with --exchange only")
        return
    if site.why_no_database:
        yield skipped("exchange", "the request budget is in the database, which cannot be asked")
        return
    chosen = site.settings
    if site.source != "exchange":
        yield skipped("exchange", f"the data are of the {site.source}")
        return
    context = FetchContext(
        chosen.iss_url,
        site.dsn or "",
        chosen.bronze_location,
        rate_per_s=chosen.requests_per_s,
        in_flight=chosen.requests_in_flight,
        patience=Patience(timeout_s=15, attempts=1),
    )
    try:
        theirs = exchange_now(context)
    except LakehouseError as error:
        remedy = "look whether this machine reaches it (a proxy, a firewall), and at LAKEHOUSE_ISS_URL"
        yield failed("exchange", f"it gave no answer: {error}", remedy)
        return
    yield ok("exchange", f"{chosen.iss_url} answers")
    differ = abs(dt.datetime.now(dt.UTC) - theirs)
    if differ > _CLOCKS_DIFFER:
        message = f"ours and the exchange's differ by {differ.total_seconds():.0f} s"
        yield warning("clock", message, "set this machine's clock, by NTP: sessions and schedules go by it")
    else:
        yield ok("clock", "as the exchange's")


def sandbox(site: Site) -> Iterator[Finding]:
    """Analysts' programs are contained here, or none is run."""
    if site.settings.sandbox == "off":
        yield ok("sandbox", "off, as LAKEHOUSE_SANDBOX says")
        return
    path = site.settings.sandbox_socket or site.data.absolute() / "sandbox.sock"
    reason = Sandbox(path).why_off() if path.exists() else _self_test()
    if reason is None:
        yield ok("sandbox", "its self-test passed")
    else:
        yield warning("sandbox", f"it is off: {reason}", "docs/sandbox.md; all else works without it")


def _self_test() -> str | None:
    runner = Runner(COMMAND)
    try:
        runner.start()
        return runner.why_off
    finally:
        runner.stop()
