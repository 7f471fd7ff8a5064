"""The circuit breaker: an exchange that answers nobody is left alone by all, and asked now and then by one."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from psycopg import Connection

from lakehouse.database import breaker
from lakehouse.database.breaker import Breaker, BreakerOpen, BreakerState, Pause
from lakehouse.database.budget import Unlimited
from lakehouse.database.connection import connect
from lakehouse.database.outage import close_shared
from lakehouse.iss.client import DOUBTED_AFTER, IssClient, Patience
from lakehouse.iss.errors import IssContractError, IssUnavailable
from lakehouse.simulator.faults import Fault
from lakehouse.simulator.weather import Faults
from tests.asking import Arrivals, recording

pytestmark = pytest.mark.postgres
CARD, QUESTION = "/iss/securities/SBER.json", "/iss/index.json"
THREE = Patience(timeout_s=60, attempts=3, wait_s=0.01, longest_wait_s=0.05)
STUBBORN = Patience(timeout_s=60, attempts=1000, wait_s=0.01, longest_wait_s=0.05)


@dataclass
class Bench:
    """A made exchange that fails as ordered, and the breaker of all who ask it."""

    url: str
    dsn: str
    conn: Connection[Any]
    faults: Faults
    arrivals: Arrivals
    pause: Pause

    def order(self, *faults: Fault) -> None:
        self.faults.order(faults)
        self.arrivals.paths.clear()

    async def ask(self, patience: Patience = THREE, path: str = "/securities/SBER.json") -> int:
        """Ask as one more worker does; return the status."""
        async with IssClient(self.url, Unlimited(), patience, Breaker(self.dsn, self.pause)) as client:
            return (await client.get(path)).status

    async def ask_together(self, workers: int, patience: Patience = THREE) -> list[int | BaseException]:
        return await asyncio.gather(*(self.ask(patience) for _ in range(workers)), return_exceptions=True)

    @property
    def state(self) -> BreakerState:
        return breaker.state(self.conn)

    def make_due(self) -> None:
        """Do as if the pause were over."""
        self.conn.execute("UPDATE lake.breaker SET until = clock_timestamp()")


@pytest.fixture
def bench(dsn: str) -> Iterator[Bench]:
    faults = Faults()
    with recording(0, faults) as (url, arrivals), connect(dsn) as conn:
        yield Bench(url, dsn, conn, faults, arrivals, Pause(60, 120))
    close_shared()


async def test_an_exchange_that_answers_nobody_is_left_alone(bench: Bench) -> None:
    """After all attempts one plain question decides; then nothing is asked, and why and until when is known."""
    bench.order(Fault("503"))
    with pytest.raises(
        BreakerOpen, match=r"^The exchange does not answer since .* \(503 Service Unavailable\)"
    ) as said:
        await bench.ask()
    assert bench.arrivals.paths == [CARD] * 3 + [QUESTION]
    assert 50 < said.value.wait_s <= 60
    state = bench.state
    assert (state.is_open, state.is_due, state.reason, state.failures) == (True, False, "503 Service Unavailable", 3)
    assert state.since is not None
    assert state.until is not None
    assert (state.until - state.since).total_seconds() == pytest.approx(60, abs=10)
    with pytest.raises(BreakerOpen, match="asking again at"):
        await bench.ask()
    assert len(bench.arrivals.paths) == 4


async def test_failures_of_all_workers_count_together(bench: Bench) -> None:
    """Long before any of them has used up its attempts, all stop."""
    bench.order(Fault("reset"))
    answers = await bench.ask_together(5, STUBBORN)
    assert [type(answer) for answer in answers] == [BreakerOpen] * 5
    assert bench.arrivals.paths.count(QUESTION) == 1
    # Those that were on their way when the tenth failed are no retries
    assert DOUBTED_AFTER <= bench.arrivals.paths.count(CARD) <= DOUBTED_AFTER + 4


async def test_a_request_that_fails_alone_is_its_own_fault(bench: Bench) -> None:
    """The exchange answers the plain question, so the request fails as ever, and nobody is kept waiting."""
    bench.order(Fault("503", secid="SBER"))
    with pytest.raises(IssUnavailable, match=r"SBER\.json.*: answered 503 Service Unavailable"):
        await bench.ask()
    assert bench.arrivals.paths == [CARD] * 3 + [QUESTION]
    assert (bench.state.is_open, bench.state.failures, bench.state.paused) == (False, 0, None)
    assert await bench.ask(path="/securities/GAZP.json") == 200


async def test_an_answer_to_anybody_clears_what_failed(bench: Bench) -> None:
    """Where others are answered meanwhile, not even the plain question is asked."""
    bench.order(Fault("503", secid="SBER", times=2))
    assert await bench.ask() == 200
    assert bench.state.failures == 0
    bench.conn.execute("UPDATE lake.breaker SET failures = 9")
    assert await bench.ask(path="/securities/GAZP.json") == 200
    assert bench.state.failures == 0
    assert QUESTION not in bench.arrivals.paths


async def test_a_refusal_is_an_answer(bench: Bench) -> None:
    """A path that the exchange does not have says nothing against it."""
    bench.conn.execute("UPDATE lake.breaker SET failures = 9")
    with pytest.raises(IssContractError, match="answered 404"):
        await bench.ask(path="/nothing.json")
    assert bench.state.failures == 0


async def test_one_worker_asks_whether_it_is_back(bench: Bench) -> None:
    """When the pause is over exactly one request goes out; in vain, all wait for longer."""
    bench.order(Fault("503"))
    with pytest.raises(BreakerOpen):
        await bench.ask()
    since = bench.state.since
    bench.order(Fault("429", retry_after_s=1))
    bench.make_due()
    assert bench.state.is_due
    answers = await bench.ask_together(8)
    assert [type(answer) for answer in answers] == [BreakerOpen] * 8
    assert bench.arrivals.paths == [QUESTION]
    assert bench.state.since == since
    assert bench.state.reason == "429 Too Many Requests"
    assert 110 < bench.state.wait_s <= 120


async def test_an_answer_lets_everybody_ask_again(bench: Bench) -> None:
    """The one that asks hears an answer, and all go on with what they wanted."""
    bench.order(Fault("503"))
    with pytest.raises(BreakerOpen):
        await bench.ask()
    bench.order()
    bench.make_due()
    assert await bench.ask_together(8) == [200] * 8
    assert bench.arrivals.paths == [QUESTION] + [CARD] * 8
    assert (bench.state.is_open, bench.state.failures, bench.state.reason) == (False, 0, None)


async def test_pauses_double_up_to_the_longest(bench: Bench) -> None:
    """After an answer the first one is as short as ever."""
    bench.pause = Pause(100, 350)
    bench.order(Fault("503"))
    waits = []
    for _ in range(4):
        with pytest.raises(BreakerOpen):
            await bench.ask()
        waits.append(bench.state.wait_s)
        bench.make_due()
    assert waits == pytest.approx([100, 200, 350, 350], abs=40)
    bench.order()
    assert await bench.ask() == 200
    bench.order(Fault("503"))
    with pytest.raises(BreakerOpen):
        await bench.ask()
    assert bench.state.wait_s == pytest.approx(100, abs=40)


async def test_the_exchange_may_ask_for_a_longer_pause(bench: Bench) -> None:
    """Its Retry-After counts, up to the longest pause."""
    bench.order(Fault("429", retry_after_s=100))
    with pytest.raises(BreakerOpen):
        await bench.ask()
    assert bench.state.wait_s == pytest.approx(100, abs=15)
    bench.order(Fault("429", retry_after_s=10_000))
    bench.make_due()
    with pytest.raises(BreakerOpen):
        await bench.ask()
    assert bench.state.wait_s == pytest.approx(120, abs=15)


async def test_a_worker_that_dies_while_it_asks_is_replaced(bench: Bench) -> None:
    """The others wait for what it finds until its time is over; then one of them asks."""
    begin = time.monotonic()
    bench.conn.execute(
        """
        UPDATE lake.breaker SET since = clock_timestamp(), until = clock_timestamp(), reason = 'reset', openings = 1,
            asking_until = clock_timestamp() + interval '1 s'
        """
    )
    assert await bench.ask_together(4) == [200] * 4
    assert time.monotonic() - begin > 0.9
    assert bench.arrivals.paths == [QUESTION] + [CARD] * 4


async def test_it_is_closed_by_hand(bench: Bench) -> None:
    """Everybody may ask again at once, and what failed before counts no more; closing it twice says so."""
    bench.order(Fault("503", times=4))
    with pytest.raises(BreakerOpen):
        await bench.ask()
    assert breaker.close(bench.conn)
    assert not breaker.close(bench.conn)
    assert await bench.ask() == 200
    assert bench.arrivals.paths == [CARD] * 3 + [QUESTION, CARD]


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("2026-11-25T09:08:00", "since 12:03 (503): asking again at 12:08 Moscow time"),
        ("2026-11-26T09:08:00", "since 2026-11-25 12:03 (503): asking again at 2026-11-26 12:08 Moscow time"),
    ],
)
def test_it_says_since_when_and_until(until: str, said: str) -> None:
    """In one line, with dates where they differ."""
    since = dt.datetime(2026, 11, 25, 9, 3, tzinfo=dt.UTC)
    till = dt.datetime.fromisoformat(until).replace(tzinfo=dt.UTC)
    state = BreakerState(True, False, since, till, "503", 5, 300)
    assert str(state) == f"The exchange does not answer {said}"
    assert state.paused == {"since": since, "until": till, "reason": "503"}
    assert str(BreakerState(False, False, None, None, None, 0, 0)) == "The exchange answers"


def test_a_row_that_was_deleted_is_asked_for(bench: Bench) -> None:
    """Somebody cleaned up by hand: the message says how to put it back."""
    bench.conn.execute("DELETE FROM lake.breaker")
    with pytest.raises(RuntimeError, match=r"lake.breaker has no row.*INSERT INTO lake.breaker DEFAULT VALUES"):
        breaker.state(bench.conn)
