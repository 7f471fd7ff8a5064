"""What is done by the clock: when, once, and not again."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
from psycopg import Connection

from lakehouse.database.connection import connect
from lakehouse.jobs import schedules
from lakehouse.jobs.queue import IngestRequest, submit_ingest
from lakehouse.market.errors import BadInput
from lakehouse.market.moscow import to_utc
from tests.seeds import seeds

pytestmark = pytest.mark.postgres
DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)


def moscow(text: str) -> dt.datetime:
    return to_utc(dt.datetime.fromisoformat(text))


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn, "lakehouse_app") as opened:
        yield opened


def queued(conn: Connection[Any]) -> list[str]:
    """Take what is queued; return the steps' names."""
    rows = conn.execute("DELETE FROM procrastinate_jobs RETURNING task_name").fetchall()
    return sorted(row[0] for row in rows)


def runs(conn: Connection[Any], name: str) -> list[dt.datetime]:
    return [
        row[0]
        for row in conn.execute("SELECT due_at FROM lake.schedule_run WHERE name = %s ORDER BY 1", (name,)).fetchall()
    ]


def test_a_day_of_schedules(conn: Connection[Any]) -> None:
    """Looked at each ten minutes, a Sunday has one increment, one care, and 24 of what is hourly."""
    begin = moscow("2026-06-14T00:00")
    assert schedules.run_due(conn, begin) == []
    ran: Counter[str] = Counter()
    for look in range(1, 24 * 6 + 1):
        ran.update(schedules.run_due(conn, begin + look * dt.timedelta(minutes=10)))
        queued(conn)
    assert ran == {"increment": 1, "care": 1, "forming": 24, "reconcile": 24}
    assert runs(conn, "increment") == [moscow("2026-06-14T04:15")]
    assert runs(conn, "care") == [moscow("2026-06-14T05:30")]


def test_what_was_missed_is_caught_up_once(conn: Connection[Any]) -> None:
    """A platform that was off for five nights runs the last of them, and the next in its time."""
    schedules.run_due(conn, moscow("2026-06-08T12:00"))
    assert "increment" in schedules.run_due(conn, moscow("2026-06-13T12:00"))
    queued(conn)
    assert schedules.run_due(conn, moscow("2026-06-13T12:01")) == []
    assert "increment" in schedules.run_due(conn, moscow("2026-06-14T04:16"))
    assert runs(conn, "increment") == [moscow("2026-06-13T04:15"), moscow("2026-06-14T04:15")]


def test_what_was_due_before_the_first_look_is_not_caught_up(conn: Connection[Any]) -> None:
    """A platform that is new has missed nothing."""
    assert schedules.run_due(conn, moscow("2026-06-13T12:00")) == []
    assert schedules.run_due(conn, moscow("2026-06-13T12:10")) == []


def test_a_clock_that_goes_back_runs_nothing_again(conn: Connection[Any]) -> None:
    """Not what has run; and after a leap far ahead and back the next night is run in its time."""
    schedules.run_due(conn, moscow("2026-06-12T12:00"))
    for text in ("2026-06-13T05:00", "2031-01-01T05:00", "2026-06-13T04:20", "2026-06-13T03:00", "2026-06-13T06:00"):
        schedules.run_due(conn, moscow(text))
        queued(conn)
    assert runs(conn, "increment") == [moscow("2026-06-13T04:15"), moscow("2031-01-01T04:15")]
    assert "increment" in schedules.run_due(conn, moscow("2026-06-14T04:15"))


def test_a_clock_that_was_wrong_at_the_first_look_stops_nothing(conn: Connection[Any]) -> None:
    """Set right, it runs what becomes due from then on."""
    schedules.run_due(conn, moscow("2031-01-01T12:00"))
    assert schedules.run_due(conn, moscow("2026-06-13T03:00")) == []
    assert "increment" in schedules.run_due(conn, moscow("2026-06-13T04:15"))


def scheduler(dsn: str, seed: int, begin: dt.datetime) -> list[str]:
    """Look for three days by a clock that leaps; return the names of what was run."""
    chance, ran = random.Random(seed), []
    now = begin
    with connect(dsn, "lakehouse_app") as conn:
        for _ in range(60):
            now += dt.timedelta(minutes=chance.choice([1, 7, 40, 90, -1, -30, -200]))
            ran += schedules.run_due(conn, now)
            conn.execute("DELETE FROM procrastinate_jobs")
    return ran


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(seeds(2, 100)))
def test_racing_schedulers_run_each_time_once(dsn: str, conn: Connection[Any], seed: int) -> None:
    """Four processes whose clocks leap and differ: no due time has two runs, and each run was queued by one of them."""
    begin = moscow("2026-06-13T12:00")
    schedules.run_due(conn, begin)
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        ran = list(pool.map(scheduler, [dsn] * 4, range(4 * seed, 4 * seed + 4), [begin] * 4))
    told = Counter(name for each in ran for name in each)
    assert told == {name: len(runs(conn, name)) for name in told}
    assert told["forming"] > 20


def test_two_who_look_at_once_run_it_once(dsn: str, conn: Connection[Any]) -> None:
    """In one instant, from eight processes."""
    schedules.run_due(conn, moscow("2026-06-13T03:00"))
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        ran = list(pool.map(run_at, [dsn] * 16, [moscow("2026-06-13T04:15")] * 16))
    assert [name for names in ran for name in names].count("increment") == 1


def run_at(dsn: str, now: dt.datetime) -> list[str]:
    with connect(dsn, "lakehouse_app") as conn:
        return schedules.run_due(conn, now)


def test_a_run_whose_predecessor_waits_is_left_out(conn: Connection[Any]) -> None:
    """While nobody works, one step of a kind waits, and the schedule says so."""
    schedules.run_due(conn, moscow("2026-06-13T12:00"))
    for hour in (1, 2):
        schedules.run_due(conn, moscow("2026-06-13T12:30") + hour * HOUR)
    assert queued(conn).count("forming") == 1
    last = schedules.last_runs(conn)["forming"]
    assert (last.due_at, last.outcome) == (moscow("2026-06-13T14:20"), "left out: the run before it still waits")


def test_an_admin_changes_when_and_whether(conn: Connection[Any]) -> None:
    """At the new time only, nothing caught up; off is off, and on again misses nothing of meanwhile."""
    schedules.run_due(conn, moscow("2026-06-13T12:00"))
    changed = schedules.change(conn, "increment", at="06:30", by="anna")
    assert changed.when == "every day at 06:30"
    schedules.run_due(conn, moscow("2026-06-14T07:00"))
    assert runs(conn, "increment") == []
    schedules.run_due(conn, moscow("2026-06-15T07:00"))
    assert runs(conn, "increment") == [moscow("2026-06-15T06:30")]
    schedules.change(conn, "increment", is_on=False, by="anna")
    for day in (16, 17, 18):
        schedules.run_due(conn, moscow(f"2026-06-{day}T07:00"))
    schedules.change(conn, "increment", is_on=True, by="anna")
    schedules.run_due(conn, moscow("2026-06-18T08:00"))
    schedules.run_due(conn, moscow("2026-06-18T09:00"))
    assert runs(conn, "increment") == [moscow("2026-06-15T06:30")]
    assert schedules.change(conn, "care", weekday="tuesday", by="anna").when == "every Tuesday at 05:30"
    assert schedules.change(conn, "forming", at=":05", by="anna").when == "every hour at :05"


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("night", {"at": "01:00"}, "^there is no schedule 'night': they are increment, forming, reconcile, care$"),
        ("increment", {"at": "25:00"}, "^'25:00' is no time for increment: write HH:MM, Moscow time$"),
        ("increment", {"at": ":15"}, "write HH:MM, Moscow time$"),
        ("forming", {"at": "03:15"}, "^'03:15' is no time for forming: write :MM, the minute of each hour$"),
        ("increment", {"weekday": "Monday"}, "^increment runs every day at 04:15: it has no weekday$"),
        ("care", {"weekday": "Caturday"}, "^'Caturday' is no weekday: write one of Monday, Tuesday"),
    ],
)
def test_what_cannot_be_is_refused(conn: Connection[Any], name: str, asked: dict[str, Any], message: str) -> None:
    """And nothing is changed."""
    before = schedules.schedules(conn)
    with pytest.raises(BadInput, match=message):
        schedules.change(conn, name, by="anna", **asked)
    assert schedules.schedules(conn) == before


def test_the_overview_says_what_was_and_what_will_be(conn: Connection[Any]) -> None:
    """The last run with the state of its job, and the next one."""
    schedules.run_due(conn, moscow("2026-06-13T03:00"))
    now = moscow("2026-06-13T04:15")
    schedules.run_due(conn, now)
    arguments = {"schedule": "increment", "due_at": now.isoformat()}
    assert schedules.is_open(conn, arguments)
    job_id = submit_ingest(conn, IngestRequest.parse({"held": True}), "schedule:increment")
    schedules.finish(conn, arguments, f"job {job_id}", job_id)
    assert not schedules.is_open(conn, arguments)
    shown = {each["name"]: each for each in schedules.overview(conn)}["increment"]
    assert (shown["last_outcome"], shown["last_due_at"]) == (f"job {job_id} queued", now)
    assert (shown["next_due_at"], shown["when"]) == (now + DAY, "every day at 04:15")
