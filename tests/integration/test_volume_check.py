"""Dates that do not add up are listed after a merge, asked again once, and forgotten when they do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from lakehouse.bronze.doubts import doubted_dates, gap_counts, gaps
from lakehouse.bronze.ledger import mark_merged, record_landed
from lakehouse.bronze.objects import decode_object
from lakehouse.bronze.window import Series
from lakehouse.database.connection import connect
from lakehouse.market.candle import CANDLES
from lakehouse.market.moscow import to_utc
from lakehouse.silver.volume_check import VolumeReport, check_volumes
from tests.bronze_objects import candle, candles_object
from tests.silver_lake import SilverLake
from tests.silver_lake import candle as stored

pytestmark = pytest.mark.postgres

D = dt.date.fromisoformat
FIRST, SECOND = D("2024-03-04"), D("2024-03-05")
MINUTES = Series("candles", "stock", "shares", "TQBR", "SBER", "1m")
DAYS = Series("candles", "stock", "shares", "TQBR", "SBER", "1d")


def row(timeframe: str, begin: str, volume: float) -> dict[str, Any]:
    moment = dt.datetime.fromisoformat(begin)
    bucket = f"{moment:%Y-%m}" if timeframe == "1m" else "all"
    times = {"begin_at": to_utc(moment), "trade_date": moment.date()}
    return stored("SBER", 0, 1.5, timeframe=timeframe, volume=volume, bucket=bucket, **times)


@dataclass
class Bench:
    """Silver, and the ledger of the objects that it came from."""

    dsn: str
    conn: Connection[Any]
    silver: SilverLake
    hour: int = field(default=0)

    def read(
        self, timeframe: str, volumes: dict[str, float], from_: dt.date, till: dt.date, *, merged: bool = True
    ) -> str:
        """Land an object of a span; if *merged*, Silver holds its candles."""
        self.hour += 1
        rows = [candle(begin, volume=volume) for begin, volume in volumes.items()]
        fetched_at = dt.datetime(2024, 3, 20, self.hour, tzinfo=dt.UTC)
        made = candles_object(rows, timeframe=timeframe, from_=from_, till=till, fetched_at=fetched_at)
        described, body = made
        record_landed(self.conn, described.object_key, decode_object(body).trailer)
        if merged:
            self.merge(described.object_key)
            self.silver.candles(*(row(timeframe, begin, volume) for begin, volume in volumes.items()))
        return described.object_key

    def merge(self, object_key: str) -> None:
        mark_merged(self.conn, [object_key])

    def check(self) -> VolumeReport:
        return check_volumes(self.dsn, self.silver.lake)

    def listed(self) -> list[tuple[str, str, float | None, float, bool]]:
        found = sorted(gaps(self.conn), key=lambda gap: gap.trade_date)
        return [
            (f"{gap.trade_date}", gap.state, gap.day_volume, gap.intraday_volume, gap.reread_at is not None)
            for gap in found
        ]


@pytest.fixture
def bench(dsn: str, tmp_path: Path) -> Iterator[Bench]:
    with connect(dsn, "lakehouse_app") as conn:
        yield Bench(dsn, conn, SilverLake(tmp_path))


def two_days(bench: Bench, first_minutes: dict[str, float]) -> None:
    bench.read("1d", {"2024-03-04 00:00:00": 15.0, "2024-03-05 00:00:00": 7.0}, FIRST, SECOND)
    bench.read("1m", {**first_minutes, "2024-03-05 10:00:00": 7.0}, FIRST, SECOND)


def test_a_lost_minute_is_found_and_its_date_asked_once_more(bench: Bench) -> None:
    """A date that differs is asked again, minutes and day; another reading that brings the row ends the matter."""
    two_days(bench, {"2024-03-04 10:00:00": 10.0})
    report = bench.check()
    assert (report.objects, report.dates, report.differs, report.not_provable, report.agreeing) == (2, 2, 1, 0, 1)
    assert bench.listed() == [("2024-03-04", "differs", 15.0, 10.0, False)]
    assert doubted_dates(bench.conn, MINUTES) == doubted_dates(bench.conn, DAYS) == [FIRST]
    assert bench.check().objects == 0, "what was compared is not compared again"
    again = bench.read("1m", {"2024-03-04 10:00:00": 10.0, "2024-03-04 10:01:00": 5.0}, FIRST, FIRST, merged=False)
    assert doubted_dates(bench.conn, MINUTES) == [], "what was read again and waits for its merge is not asked"
    assert bench.check().objects == 0
    assert bench.listed() == [("2024-03-04", "differs", 15.0, 10.0, False)]
    bench.silver.candles(row("1m", "2024-03-04 10:01:00", 5.0))
    bench.merge(again)
    assert bench.check().agreeing == 1
    assert bench.listed() == []
    assert gap_counts(bench.conn) == {"differs": 0, "not provable": 0}


def test_a_date_that_still_differs_is_listed_and_not_asked_for_ever(bench: Bench) -> None:
    """Read again with the same result, the date stays listed; with another result it is asked again."""
    two_days(bench, {"2024-03-04 10:00:00": 10.0})
    bench.check()
    bench.read("1m", {"2024-03-04 10:00:00": 11.0}, FIRST, FIRST)
    bench.check()
    assert bench.listed() == [("2024-03-04", "differs", 15.0, 11.0, False)]
    assert doubted_dates(bench.conn, MINUTES) == [FIRST]
    bench.read("1m", {"2024-03-04 10:00:00": 11.0}, FIRST, FIRST)
    bench.check()
    assert bench.listed() == [("2024-03-04", "differs", 15.0, 11.0, True)]
    assert doubted_dates(bench.conn, MINUTES) == []
    assert doubted_dates(bench.conn, DAYS) == [FIRST], "the day's candle has not been read again yet"
    bench.read("1d", {"2024-03-04 00:00:00": 15.0}, FIRST, FIRST)
    bench.check()
    assert doubted_dates(bench.conn, DAYS) == []
    assert bench.listed() == [("2024-03-04", "differs", 15.0, 11.0, True)]
    bench.read("1d", {"2024-03-04 00:00:00": 11.0}, FIRST, FIRST)
    bench.check()
    assert bench.listed() == []


def test_minutes_without_days_are_not_provable_until_days_are_read(bench: Bench) -> None:
    """Without the day's candle nothing is said to differ, and nothing asked again; with it, the date is judged."""
    bench.read("1m", {"2024-03-04 10:00:00": 10.0}, FIRST, SECOND)
    assert bench.check().not_provable == 1
    assert bench.listed() == [("2024-03-04", "not provable", None, 10.0, False)]
    assert doubted_dates(bench.conn, MINUTES) == []
    assert gap_counts(bench.conn) == {"differs": 0, "not provable": 1}
    bench.read("1d", {"2024-03-04 00:00:00": 10.0}, FIRST, SECOND)
    assert bench.check().agreeing == 2
    assert bench.listed() == []


def test_a_day_lost_from_the_days_is_found(bench: Bench) -> None:
    """Minutes on a date that the days were read over, and hold no candle of: the day is asked again."""
    bench.read("1d", {"2024-03-05 00:00:00": 7.0}, FIRST, SECOND)
    bench.read("1m", {"2024-03-04 10:00:00": 10.0, "2024-03-05 10:00:00": 7.0}, FIRST, SECOND)
    bench.check()
    assert bench.listed() == [("2024-03-04", "differs", None, 10.0, False)]
    assert doubted_dates(bench.conn, DAYS) == [FIRST]


def test_days_beyond_the_minutes_say_nothing(bench: Bench) -> None:
    """Dates of which no minutes were asked, or whose object is not merged yet, are not compared."""
    bench.read("1d", {"2024-03-04 00:00:00": 15.0, "2024-03-05 00:00:00": 7.0}, FIRST, SECOND)
    bench.read("1m", {"2024-03-05 10:00:00": 7.0}, SECOND, SECOND)
    waiting = bench.read("1m", {}, FIRST, FIRST, merged=False)
    assert bench.check().dates == 1
    assert bench.listed() == []
    bench.merge(waiting)
    bench.check()
    assert bench.listed() == [("2024-03-04", "differs", 15.0, 0.0, False)]


def test_closed_versions_do_not_count(bench: Bench) -> None:
    """Only what is current is added up: a vanished minute's volume is not."""
    two_days(bench, {"2024-03-04 10:00:00": 15.0, "2024-03-04 10:01:00": 1.0})
    bench.silver.close(CANDLES, row("1m", "2024-03-04 10:01:00", 1.0))
    assert bench.check().differs == 0
    assert bench.listed() == []


def test_what_is_merged_again_is_compared_again(bench: Bench) -> None:
    """A rebuilt Silver is compared as a whole."""
    two_days(bench, {"2024-03-04 10:00:00": 15.0})
    assert bench.check().dates == 2
    bench.conn.execute("UPDATE lake.bronze_object SET merged_at = now()")
    assert bench.check().objects == 2


def test_gaps_are_listed_by_security_and_state(bench: Bench) -> None:
    """The list can be cut to one security or one state."""
    two_days(bench, {"2024-03-04 10:00:00": 10.0})
    bench.check()
    assert len(gaps(bench.conn, secid="SBER", state="differs")) == 1
    assert gaps(bench.conn, secid="GAZP") == gaps(bench.conn, state="not provable") == gaps(bench.conn, limit=0) == []
