"""What is counted for /metrics, by many processes at once."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from lakehouse.database import counters
from lakehouse.database.connection import connect
from lakehouse.iss.client import IssClient, Patience
from lakehouse.iss.errors import IssContractError, IssUnavailable
from lakehouse.jobs import merging
from lakehouse.jobs.running import running
from lakehouse.silver.report import MergeReport, TableReport
from lakehouse.simulator.clock import Clock
from lakehouse.simulator.exchange import MadeExchange
from lakehouse.simulator.server import running as serving
from tests.contract.test_client_transport import CountedBudget

pytestmark = pytest.mark.postgres


def counted(dsn: str) -> dict[tuple[str, ...], float]:
    """Return all counters."""
    with connect(dsn, "lakehouse_app") as conn:
        rows: list[Any] = conn.execute("SELECT name, labels, value FROM lake.counter").fetchall()
    return {(name, *labels): value for name, labels, value in rows}


def test_counts_of_many_at_once_are_all_there(dsn: str) -> None:
    """Whoever counts several things waits for nobody who counts the same in another order."""
    one, other = {("a", "x"): 1.0, ("b",): 2.0}, {("b",): 2.0, ("a", "x"): 1.0}

    def count(counts: dict[tuple[str, ...], float]) -> None:
        with connect(dsn, "lakehouse_app", autocommit=False) as conn:
            for _ in range(50):
                counters.add(conn, counts)
                conn.commit()

    threads = [threading.Thread(target=count, args=(each,)) for each in (one, other) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted(dsn) == {("a", "x"): 300, ("b",): 600}


def test_what_cannot_be_counted_now_is_counted_later(dsn: str) -> None:
    """A database that is away holds nobody up, and no count is lost."""
    tally = counters.Tally(make_conninfo(dsn, port=1))
    tally.count({("x",): 2})
    tally.count({("x",): 3})
    tally._dsn = dsn
    tally.count({("x",): 1})
    assert counted(dsn) == {("x",): 6}


@pytest.mark.parametrize(("seconds", "bound"), [(0.0, "0.1"), (0.1, "0.1"), (0.2, "0.5"), (1801, "+Inf")])
def test_a_duration_is_in_the_first_bucket_that_holds_it(seconds: float, bound: str) -> None:
    """As Prometheus has it: a bucket's bound belongs to it."""
    assert counters.took("s", seconds, "l") == {("s_bucket", "l", bound): 1, ("s_sum", "l"): seconds}


def test_each_run_of_a_step_is_counted_by_its_outcome(dsn: str) -> None:
    """Also those that failed; their seconds count as well."""
    with running(dsn, "fetch", 1, {"job_id": 7}):
        pass
    with pytest.raises(ZeroDivisionError), running(dsn, "fetch", 2, {}):
        raise ZeroDivisionError
    found = counted(dsn)
    assert (found["step_runs", "fetch", "done"], found["step_runs", "fetch", "failed"]) == (1, 1)
    assert sum(value for key, value in found.items() if key[:2] == ("step_seconds_bucket", "fetch")) == 2


async def test_requests_to_the_exchange_are_counted_by_outcome(dsn: str) -> None:
    """Every attempt that was sent counts once, whoever sent it, and with what it took."""
    exchange = MadeExchange(1)
    with serving(exchange, Clock(exchange.default_now, frozen=True)) as url:
        tally = counters.Tally(dsn)
        async with IssClient(url, CountedBudget(), Patience(attempts=1), tally=tally) as client:
            await client.get("/index.json", {"iss.only": "engines"})
            await client.get("/index.json", {"iss.only": "engines"})
            with pytest.raises(IssContractError):
                await client.get("/no-such-path.json")
    async with IssClient("http://127.0.0.1:1", CountedBudget(), Patience(attempts=2, wait_s=0), tally=tally) as client:
        with pytest.raises(IssUnavailable):
            await client.get("/index.json")
    requests = {key[1]: value for key, value in counted(dsn).items() if key[0] == "exchange_requests"}
    assert requests == {"answered": 2, "refused": 1, "broken": 2}
    assert counted(dsn)["exchange_seconds", "answered"] > 0


def test_what_becomes_of_rows_and_how_long_a_station_took_is_counted(dsn: str) -> None:
    """Beside the run's report, in the same transaction."""
    report = MergeReport("r", {"silver.candles": TableReport(objects=1, received=5, accepted=3, unchanged=2)})
    place: Any = SimpleNamespace(dsn=dsn)
    for _ in range(2):
        assert merging._step(place, "silver", lambda run_id: report) is report
    found = counted(dsn)
    assert {key[1:]: value for key, value in found.items() if key[0] == "rows"} == {
        ("silver.candles", "accepted"): 6,
        ("silver.candles", "unchanged"): 4,
    }
    assert sum(value for key, value in found.items() if key[:2] == ("station_seconds_bucket", "silver")) == 2
