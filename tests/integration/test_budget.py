"""The request budget, shared by processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lakehouse.database.budget import Budget, Unlimited
from lakehouse.database.clocks import Clocks
from lakehouse.database.connection import connect
from lakehouse.database.outage import DatabaseAway
from lakehouse.ports import free_port
from tests.asking import WORKERS, Arrivals, asking, recording
from tests.killing import Mortal
from tests.seeds import TORTURE, seeds

pytestmark = pytest.mark.postgres
RATE_PER_S, IN_FLIGHT, PROCESSES = 40, 8, 4
USED = 0.9 if TORTURE else 0.1  # of the limit: on a busy machine who asks comes late

# Asks as fast as it may, and prints when, on the clock that all processes of the machine share
_ASKER = """
import asyncio, sys, time
from lakehouse.database.budget import Budget

async def ask(budget, until):
    while time.monotonic() < until:
        async with budget.slot():
            print(time.monotonic(), flush=True)
            await asyncio.sleep(0.01)

async def main():
    budget = Budget(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
    until = time.monotonic() + float(sys.argv[4])  # a process may take long to start where others run
    await asyncio.gather(*(ask(budget, until) for _ in range(3)))

asyncio.run(main())
"""


def start_asker(dsn: str, rate_per_s: float, in_flight: int, seconds: float) -> subprocess.Popen[str]:
    """Start a process that asks for *seconds* and prints when each request went out."""
    command = [sys.executable, "-c", _ASKER, dsn, str(rate_per_s), str(in_flight), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.torture
@pytest.mark.parametrize("is_one_killed", [False, True])
def test_sixteen_workers_use_one_budget(dsn: str, is_one_killed: bool) -> None:
    """
    No second, wherever it begins, is given more than the limit and one; on a calm machine it is used.

    It stays so when one of four processes is killed in the middle.
    """
    seconds = seeds(5, 60)
    with recording(latency_s=0.1) as (url, arrivals), connect(dsn) as conn:
        conn.execute(_WRITE_SLOTS_DOWN)
        run = {"rate_per_s": RATE_PER_S, "in_flight": IN_FLIGHT, "processes": PROCESSES}
        with asking(url, dsn, **run, seconds=seconds + 1) as processes:
            if is_one_killed:
                time.sleep(seconds / 2)
                processes[0].kill()
            ended = [process.wait(seconds + 60) for process in processes]
        slots = given_slots(conn)
    assert ended == [-9 if is_one_killed else 0, 0, 0, 0]
    assert_apart(slots)
    assert len(slots) >= len(arrivals.at)
    # The exchange may see the end of the killed one's requests after the database saw the end of its leases
    in_flight = IN_FLIGHT + (WORKERS if is_one_killed else 0)
    assert arrivals.most_in_flight <= in_flight
    assert_seen(arrivals, in_flight)
    assert arrivals.within(seconds, after_s=1) >= USED * RATE_PER_S * seconds  # all sixteen have begun by then


@pytest.mark.torture
def test_requests_in_flight_bind_where_the_exchange_is_slow(dsn: str) -> None:
    """Four at a time of a fifth of a second each are twenty a second, though the rate would allow forty."""
    seconds = seeds(4, 30)
    with (
        recording(latency_s=0.2) as (url, arrivals),
        asking(url, dsn, rate_per_s=RATE_PER_S, in_flight=4, processes=PROCESSES, seconds=seconds) as processes,
    ):
        assert [process.wait(seconds + 60) for process in processes] == [0] * PROCESSES
    assert arrivals.most_in_flight == 4
    assert arrivals.within(seconds) <= 20 * seconds + 4
    assert arrivals.within(seconds) >= USED * 20 * seconds


@pytest.mark.torture
@pytest.mark.parametrize("is_killed", [True, False][: seeds(1, 2)], ids=["killed", "stopped"][: seeds(1, 2)])
def test_a_database_that_returns_is_waited_for(mortal: Mortal, is_killed: bool) -> None:
    """Nobody asks while it is away, nobody fails, the limits hold across it, and each process says it once."""
    with connect(mortal.dsn) as conn:
        conn.execute(_WRITE_SLOTS_DOWN)
    with recording(latency_s=0.1) as (url, arrivals):
        run = {"rate_per_s": RATE_PER_S, "in_flight": IN_FLIGHT, "processes": PROCESSES, "seconds": 900}
        with asking(url, mortal.dsn, **run) as processes:
            time.sleep(2)
            mortal.take_away(is_killed=is_killed)
            stopped = len(arrivals.at)
            time.sleep(2)
            while_away = len(arrivals.at) - stopped
            mortal.server.start()
            time.sleep(2)
            said = [process.communicate(timeout=120)[1] for process in processes]  # and so ends their input
    with connect(mortal.dsn) as conn:
        slots = given_slots(conn)
    assert [process.returncode for process in processes] == [0] * PROCESSES
    assert while_away <= IN_FLIGHT  # who had a slot when it went away may still use it
    assert len(arrivals.at) > stopped + while_away
    assert_apart(slots)
    assert arrivals.most_in_flight <= IN_FLIGHT
    assert_seen(arrivals, IN_FLIGHT)
    assert [text.count('"database.away"') for text in said] == [1] * PROCESSES
    assert [text.count('"database.back"') for text in said] == [1] * PROCESSES


async def test_a_database_that_stays_away_ends_the_waiting(open_folder: Path) -> None:
    """Then the one who asks is told so, and never let out without a slot."""
    budget = Budget(f"postgresql://postgres@127.0.0.1:{free_port()}/postgres", 50, 1, patience_s=0.5)
    with pytest.raises(DatabaseAway, match=r"^the database has not answered for \d+ s \(.*refused.*\): start it again"):
        async with budget.slot():
            pytest.fail("a request went out without a slot")


async def test_a_pause_saves_nothing_up(dsn: str) -> None:
    """There is no burst: after an idle time requests stand one interval apart as ever."""
    budget = Budget(dsn, RATE_PER_S, 4)
    with connect(dsn) as conn:
        conn.execute(_WRITE_SLOTS_DOWN)
        for _ in range(2):
            await asyncio.sleep(0.3)
            for _ in range(4):
                async with budget.slot():
                    pass
        slots = given_slots(conn)
    assert len(slots) >= 8
    assert_apart(slots)


async def test_requests_in_flight_are_bounded(dsn: str) -> None:
    """Of ten that want to ask two are in flight at a time."""
    budgets = [Budget(dsn, 20, 2) for _ in range(2)]  # a busy machine misses slots of a thousandth of a second
    now, most = 0, 0

    async def ask(budget: Budget) -> None:
        nonlocal now, most
        async with budget.slot():
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.2)
            now -= 1

    await asyncio.gather(*(ask(budgets[number % 2]) for number in range(10)))
    assert most == 2


async def test_who_may_not_ask_gets_no_slot(dsn: str) -> None:
    """It is told so before the slot's time, and holds no lease; a slot that the question took up is not used."""

    async def no() -> bool:
        return False

    asked: list[float] = []

    async def slowly_yes() -> bool:
        asked.append(time.monotonic())
        await asyncio.sleep(0.3 if len(asked) == 1 else 0)
        return True

    budget = Budget(dsn, 5, 1)
    async with budget.slot(no) as may_ask:
        assert not may_ask
    async with Unlimited().slot(no) as may_ask:
        assert not may_ask
    with connect(dsn) as conn:
        assert leases(conn) == 0
    async with asyncio.timeout(120), budget.slot(slowly_yes) as may_ask:
        assert may_ask
    assert len(asked) >= 2


async def test_a_dead_workers_lease_expires(dsn: str) -> None:
    """A lease that nobody gave back is taken away after its time."""
    with connect(dsn) as conn:
        (expires_at,) = conn.execute(
            """
            INSERT INTO lake.request_lease (lease_id, expires_at) SELECT gen_random_uuid(), now() + interval '2 s'
            RETURNING expires_at
            """
        ).fetchall()[0]
        async with Budget(dsn, 50, 1).slot():
            assert conn.execute("SELECT clock_timestamp() > %s", (expires_at,)).fetchone() == (True,)
        assert leases(conn) == 0


async def test_a_killed_process_leaves_no_lease_behind(dsn: str) -> None:
    """Its leases end with its connection: who comes after it does not wait for them to expire."""
    asker = start_asker(dsn, 50, 1, 60)
    assert asker.stdout is not None
    asker.stdout.readline()
    asker.kill()
    asker.wait(60)
    with connect(dsn) as conn:  # a lease of a connection that is no more, wherever in its round the process was killed
        conn.execute("INSERT INTO lake.request_lease VALUES (gen_random_uuid(), now() + interval '1 hour', 2147483647)")
    asker.stdout.close()
    async with asyncio.timeout(30), Budget(dsn, 50, 1).slot():
        pass


async def test_those_who_ask_at_once_share_an_update(dsn: str) -> None:
    """While the row is somebody else's a process gathers what it wants of it, and takes it in one go."""
    budgets = [Budget(dsn, RATE_PER_S, 8) for _ in range(8)]

    async def ask(budget: Budget) -> None:
        async with budget.slot():
            pass

    with connect(dsn) as conn, connect(dsn, autocommit=False) as other:
        conn.execute(_WRITE_SLOTS_DOWN)
        other.execute("SELECT FROM lake.request_budget FOR UPDATE")
        asking = [asyncio.create_task(ask(budget)) for budget in budgets]
        while conn.execute(_WAITING).fetchone() == (0,):  # noqa: ASYNC110 - the server says so
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        other.rollback()
        await asyncio.gather(*asking)
        slots = given_slots(conn)
        updates = conn.execute("SELECT count(*) FROM given").fetchone()
        assert leases(conn) == 0
    assert_apart(slots)
    assert len(slots) >= len(budgets)
    assert updates is not None
    assert updates[0] < len(slots)  # one that came late for its slot took another, by an update of its own


async def test_a_lease_lasts_a_minute_and_is_given_back(dsn: str) -> None:
    """A request holds its lease until it is over, also when it failed or was cancelled while it waited."""
    budget = Budget(dsn, 50, 1)
    with connect(dsn) as conn:
        async with budget.slot():
            row = conn.execute(
                "SELECT extract(epoch FROM expires_at - now())::float8 FROM lake.request_lease"
            ).fetchone()
            assert row is not None
            assert 55 < row[0] <= 60.1
            waiting = asyncio.create_task(budget.slot().__aenter__())
            await asyncio.sleep(0.1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        with pytest.raises(OSError, match="reset"):
            async with budget.slot():
                raise OSError("connection reset")
        assert leases(conn) == 0


async def test_a_clock_that_went_back_stops_nobody(dsn: str) -> None:
    """A next slot hours ahead was not queued for; it counts as now."""
    with connect(dsn) as conn:
        conn.execute("UPDATE lake.request_budget SET next_slot_at = now() + interval '2 hours'")
    async with asyncio.timeout(120), Budget(dsn, 50, 1).slot():
        pass


def test_clocks_are_compared_by_many_answers() -> None:
    """Each answer says between which times it was given: together they say it more narrowly than the quickest."""
    clocks = Clocks()
    clocks.compare(before=10.0, theirs=1000.0, after=10.5)
    assert clocks.ours(1000.0) == (10.0, 10.5)
    clocks.compare(before=11.4, theirs=1001.0, after=11.9)
    assert clocks.ours(1000.0) == pytest.approx((10.4, 10.5))


def test_a_clock_that_was_set_is_compared_anew() -> None:
    """What contradicts all before stands alone, be it a clock that was set or a laptop that slept."""
    clocks = Clocks()
    clocks.compare(before=10.0, theirs=1000.0, after=10.5)
    clocks.compare(before=11.0, theirs=4600.0, after=11.2)
    assert clocks.ours(4600.0) == pytest.approx((11.0, 11.2))


def test_old_comparisons_count_no_more() -> None:
    """Clocks drift: what was told more than ten seconds ago may be wrong by now."""
    clocks = Clocks()
    clocks.compare(before=10.0, theirs=1000.0, after=10.0)
    clocks.compare(before=21.0, theirs=1010.5, after=22.0)
    assert clocks.ours(1010.5) == pytest.approx((21.0, 22.0))


async def test_no_budget_waits_for_nothing() -> None:
    """The simulator is asked as fast as it answers."""
    async with asyncio.timeout(120):
        for _ in range(1000):
            async with Unlimited().slot():
                pass


@pytest.mark.parametrize(("rate_per_s", "in_flight"), [(0, 4), (-1, 4), (5, 0)])
def test_a_budget_of_nothing_is_refused(rate_per_s: float, in_flight: int) -> None:
    """A budget that lets nothing through would wait for ever."""
    with pytest.raises(ValueError, match=f"needs a rate and a request in flight, was {rate_per_s} and {in_flight}"):
        Budget("", rate_per_s, in_flight)


_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
_WRITE_SLOTS_DOWN = """
    CREATE TABLE given (slots bigint, until timestamptz);
    CREATE FUNCTION write_down() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO given VALUES (NEW.slots_given - OLD.slots_given, NEW.next_slot_at);
        RETURN NULL;
    END $$;
    CREATE TRIGGER write_down AFTER UPDATE ON lake.request_budget FOR EACH ROW EXECUTE FUNCTION write_down();
"""


def given_slots(conn: Any) -> list[float]:
    """Return when each slot began that was given since they are written down, in order, in seconds."""
    rows = conn.execute("SELECT slots, extract(epoch FROM until)::float8 FROM given ORDER BY until").fetchall()
    return [until - (slots - number) / RATE_PER_S for slots, until in rows for number in range(slots)]


def leases(conn: Any) -> int:
    """Return how many requests are in flight."""
    return int(conn.execute("SELECT count(*) FROM lake.request_lease").fetchone()[0])


def assert_apart(slots: list[float], rate_per_s: float = RATE_PER_S) -> None:
    """Assert that slots stand an interval apart: then no second has more of them than the limit and one."""
    assert min(after - before for before, after in pairwise(slots)) >= 1 / rate_per_s - 1e-5


def assert_seen(arrivals: Arrivals, in_flight: int) -> None:
    """
    Assert that the exchange saw no second with more than the slots allow.

    Beside those of a second come at most as many of former seconds as can be in flight, when they are late.
    """
    assert arrivals.busiest_second() <= RATE_PER_S + 1 + in_flight
