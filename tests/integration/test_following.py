"""What is held follows its instrument: to its next code, and to its next primary board."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lakehouse.bronze.fetch import FetchContext
from lakehouse.database.connection import connect
from lakehouse.iss.client import Patience
from lakehouse.jobs import queue
from lakehouse.market.moscow import to_moscow
from lakehouse.simulator.clock import Clock
from lakehouse.simulator.exchange import MadeExchange
from lakehouse.simulator.server import running
from tests.exchange import candle, days
from tests.integration.test_held import NIGHT, NOW, Clocked, Town
from tests.integration.test_jobs_fetching import OneCode
from tests.served_exchange import Document, block, served

pytestmark = pytest.mark.postgres
T = dt.datetime.fromisoformat
DAY = dt.timedelta(days=1)
# Wednesday, 15:00 in Moscow: the last day of TCSG
LAST_OF_TCSG = dt.datetime(2024, 11, 27, 12, 0, tzinfo=dt.UTC)
NIGHT_BEHIND = dt.datetime(2024, 11, 28, 1, 15, tzinfo=dt.UTC)
MOVED = dt.date(2024, 3, 21)


class Simulated:
    """A simulator whose clock is set as that of an exchange in the test's own process."""

    def __init__(self, now: dt.datetime) -> None:
        self.clock = Clock(to_moscow(now).replace(tzinfo=None), frozen=True)
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def now(self) -> dt.datetime:
        """The exchange's time, UTC."""
        return NOW

    @now.setter
    def now(self, now: dt.datetime) -> None:
        self.clock.set(to_moscow(now).replace(tzinfo=None))


class Renamed(OneCode):
    """SBER, and what changeover.json says."""

    changes: tuple[tuple[str, str, str], ...] = ()

    def _document(self, path: str, asked: Mapping[str, str]) -> Document:
        document = super()._document(path, asked)
        if "changeover" in document:
            return {"changeover": {**document["changeover"], "data": list(map(list, self.changes))}}
        return document


class Moving(OneCode):
    """SBER, whose primary board is SMAL before MOVED, and TQBR from then on; each board has the candles of its days."""

    was_primary = 1
    board = ""

    def _document(self, path: str, asked: Mapping[str, str]) -> Document:
        self.board = path.partition("/boards/")[2].partition("/")[0]
        return super()._document(path, asked)

    def _seen(self, interval: int) -> list[list[Any]]:
        rows = super()._seen(interval)
        return [row for row in rows if (row[6][:10] >= MOVED.isoformat()) == (self.board == "TQBR")]

    def _card(self, secid: str) -> Document:
        document = super()._card(secid)
        has_moved = to_moscow(self.now).date() >= MOVED
        dates = {"SMAL": ("2024-02-01", f"{min(MOVED, to_moscow(self.now).date()) - DAY}"), "TQBR": (None, None)}
        primary = {"SMAL": 0 if has_moved else self.was_primary, "TQBR": int(has_moved or not self.was_primary)}
        names = document["boards"]["columns"]
        boards = [dict(zip(names, row, strict=True)) for row in document["boards"]["data"]]
        said = [
            {**row, "is_primary": primary[board], "history_from": dates[board][0], "history_till": dates[board][1]}
            for row in boards
            if (board := row["boardid"])
        ]
        return {**document, "boards": block(names, [[row[name] for name in names] for row in said])}


@contextmanager
def town_of(exchange: Clocked, url: str, dsn: str, folder: Path) -> Iterator[Town]:
    with connect(dsn) as conn:
        patience = Patience(attempts=1, wait_s=0.01, total_s=600)
        yield Town(exchange, FetchContext(url, dsn, str(folder / "bronze"), 0, patience=patience), conn)


@pytest.fixture
def simulated(dsn: str, tmp_path: Path) -> Iterator[Town]:
    """Return a ledger over the simulator, on the last day of TCSG."""
    exchange = Simulated(LAST_OF_TCSG)
    with running(MadeExchange(seed=1), exchange.clock) as url, town_of(exchange, url, dsn, tmp_path) as town:
        yield town


def served_town(exchange: OneCode, dsn: str, folder: Path) -> Any:
    exchange.candles[24] = [candle(T("2024-02-01") + DAY * day) for day in range(60)]
    exchange.history = days(dt.date(2024, 2, 1), 48, ["SMAL", "TQBR"])
    return served(exchange), lambda: town_of(exchange, exchange.url, dsn, folder)


def candles_of(town: Town) -> list[tuple[str, str, str, str, str]]:
    """Return the windows of candles of the newest job: code, board, timeframe, first and last date."""
    rows = town.conn.execute(
        """
        SELECT secid, board, timeframe, from_at::date, till_date FROM lake.job_window
        WHERE family = 'candles' AND job_id = (SELECT max(job_id) FROM lake.job) ORDER BY secid, board, 3, 4
        """
    ).fetchall()
    return [(secid, board, timeframe, str(from_), str(till)) for secid, board, timeframe, from_, till in rows]


def notes(town: Town) -> dict[str, str]:
    found: dict[str, str] = queue.jobs(town.conn)[0].report.get("notes", {})
    return found


def covered_till(town: Town, secid: str, board: str = "TQBR") -> dict[str, dt.date]:
    rows = town.conn.execute(
        "SELECT timeframe, max(till_date) FROM lake.coverage WHERE secid = %s AND board = %s GROUP BY 1",
        (secid, board),
    ).fetchall()
    return dict(rows)


def test_what_is_held_goes_on_under_the_next_code(simulated: Town) -> None:
    """TCSG becomes T: T is read from its first day with the timeframes of TCSG, told in a line, then on its own."""
    simulated.ingest(instruments=["TCSG"], timeframes=["1d", "1h"], **{"from": "2024-11-18"})
    for night in range(3):
        simulated.run("increment", NIGHT_BEHIND + DAY * night)
        if night == 1:
            assert notes(simulated) == {
                "TCSG@TQBR": "called T from 2024-11-28 on: T@TQBR follows with 1h, 1d",
            }
            assert ("T", "TQBR", "1d", "2024-11-28", "2024-11-28") in candles_of(simulated)
    assert notes(simulated) == {}
    assert covered_till(simulated, "T") == {"1d": dt.date(2024, 11, 29), "1h": dt.date(2024, 11, 29)}
    assert queue.jobs(simulated.conn)[0].state == "done"


def test_a_series_that_a_rename_froze_goes_on(simulated: Town) -> None:
    """Three months later T is read from its first day: nothing of the time between is missing."""
    simulated.ingest(instruments=["TCSG"], **{"from": "2024-11-18"})
    for night in (0, 1, 2, 20):
        simulated.run("increment", NIGHT_BEHIND + DAY * night)
    simulated.conn.execute("DELETE FROM lake.coverage WHERE secid = 'T'")
    simulated.run("increment", NIGHT_BEHIND + DAY * 91)
    assert ("T", "TQBR", "1d", "2024-11-28", "2025-02-26") in candles_of(simulated)
    assert {secid for secid, *_ in candles_of(simulated)} == {"T"}


def test_an_old_code_brings_the_new_one(simulated: Town) -> None:
    """Who asks for TCSG gets T as well, and is told; of a code on a board he gets that."""
    simulated.exchange.now = NIGHT_BEHIND + DAY * 20
    simulated.ingest(instruments=["TCSG"], **{"from": "2024-11-18"})
    assert {secid for secid, *_ in candles_of(simulated)} == {"TCSG", "T"}
    assert notes(simulated) == {"TCSG": "called T from 2024-11-28 on: T@TQBR is read as well"}
    simulated.ingest(instruments=["TCSG@TQBR"], **{"from": "2024-10-18"})
    assert {secid for secid, *_ in candles_of(simulated)} == {"TCSG"}


@pytest.mark.parametrize("change", [("2011-01-11", "SBER", "OLD"), ("2024-03-20", "SBER", "XXXXXX")])
def test_a_code_given_again_is_not_followed(dsn: str, tmp_path: Path, change: tuple[str, str, str]) -> None:
    """What was called SBER until 2011 is no concern of today's SBER; no code is no code."""
    exchange = Renamed(NOW)
    exchange.changes = (change,)
    serving, opened = served_town(exchange, dsn, tmp_path)
    with serving, opened() as town:
        town.ingest(**{"from": "2024-03-11"})
        town.run("increment", NIGHT)
        assert {path for path, _ in exchange.asked if "/securities/" in path and "SBER" not in path} <= {
            "/iss/history/engines/stock/markets/shares/securities/changeover.json"
        }
        assert notes(town) == {}


def test_a_next_code_that_is_not_known_yet_is_told(dsn: str, tmp_path: Path) -> None:
    """The old code is brought up to date all the same, and the job says what cannot be read."""
    exchange = Renamed(NOW)
    exchange.changes = (("2024-03-20", "SBER", "NEW"),)
    serving, opened = served_town(exchange, dsn, tmp_path)
    with serving, opened() as town:
        exchange.candles[24] = [row for row in exchange.candles[24] if row[6] < "2024-03-21"]
        town.ingest(**{"from": "2024-03-11"})
        assert town.run("increment", NIGHT) == "job 2 done"
        assert notes(town)["SBER@TQBR"].startswith("called NEW from 2024-03-21 on, which cannot be read: the exchange")
        assert covered_till(town, "SBER") == {"1d": dt.date(2024, 3, 21)}


@pytest.mark.parametrize("secid", ["SBER", "sber"])
def test_what_is_held_goes_on_on_the_next_primary_board(dsn: str, tmp_path: Path, secid: str) -> None:
    """The board that is the primary one by now is read from where the former one ended, then on its own."""
    exchange = Moving(NOW)
    serving, opened = served_town(exchange, dsn, tmp_path)
    with serving, opened() as town:
        town.ingest(instruments=[secid], **{"from": "2024-03-11"})
        assert {board for _, board, *_ in candles_of(town)} == {"SMAL"}
        town.run("increment", NIGHT)
        assert notes(town) == {"SBER@SMAL": "moved to the board TQBR: SBER@TQBR follows with 1d"}
        assert {first for _, board, _, first, _ in candles_of(town) if board == "TQBR"} == {"2024-03-21"}
        town.run("increment", NIGHT + DAY)
        assert notes(town) == {}
        assert covered_till(town, "SBER") == {"1d": dt.date(2024, 3, 23)}


def test_a_board_that_was_never_primary_is_not_left(dsn: str, tmp_path: Path) -> None:
    """Who keeps up SBER@SMAL meant that board: no other one is read for it."""
    exchange = Moving(NOW)
    exchange.was_primary = 0
    serving, opened = served_town(exchange, dsn, tmp_path)
    with serving, opened() as town:
        town.ingest(instruments=["SBER@SMAL"], **{"from": "2024-03-11"})
        town.run("increment", NIGHT)
        assert {board for _, board, *_ in candles_of(town)} == {"SMAL"}
        assert notes(town) == {}
