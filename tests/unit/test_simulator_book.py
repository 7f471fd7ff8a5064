"""Pages of candles: what the clock shows, what was revised, what has vanished."""

from __future__ import annotations

import datetime as dt
from typing import Any

import orjson
import pytest

from lakehouse.simulator.book import CandleBook, Span
from lakehouse.simulator.clock import to_seconds
from lakehouse.simulator.exchange import MadeExchange
from lakehouse.simulator.periods import INTERVALS

EXCHANGE = MadeExchange(seed=1)
OPEN, CLOSE, HIGH, LOW, VALUE, VOLUME, BEGIN, END = range(8)


def second(text: str) -> int:
    """Return the second of a Moscow time."""
    return to_seconds(dt.datetime.fromisoformat(text))


def rows(
    book: CandleBook, secid: str, interval: int, from_: str, till: str, seen: str = "2026-07-01 06:00:00", **page: Any
) -> list[list[Any]]:
    """Return a page of candles."""
    span = Span(secid, interval, second(from_), second(till), second(seen))
    text = book.page(span, page.get("start", 0), page.get("newest_first", False))
    return list(orjson.loads(b"[" + text + b"]"))


@pytest.fixture
def book() -> CandleBook:
    """A book of the made market."""
    return CandleBook(EXCHANGE)


def test_pages_join_without_loss(book: CandleBook) -> None:
    """Pages of 500 over two months are all candles once, also from a start within the second month."""
    pages: list[list[Any]] = []
    sizes: list[int] = []
    while page := rows(book, "SBER", 10, "2026-04-15", "2026-05-20", start=len(pages)):
        pages += page
        sizes.append(len(page))
    assert set(sizes[:-1]) == {500}
    begins = [row[BEGIN] for row in pages]
    assert begins == sorted(set(begins))
    assert (begins[0][:10], begins[-1][:10]) == ("2026-04-15", "2026-05-19")
    fresh = rows(CandleBook(EXCHANGE), "SBER", 10, "2026-04-15", "2026-05-20", start=1700)
    assert fresh == pages[1700:2200]


def test_the_newest_come_first_when_asked(book: CandleBook) -> None:
    """Reversed pages are the same candles backwards, the forming one first."""
    span = ("SBER", 60, "2026-06-01", "2026-06-30 23:59:59", "2026-06-30 15:30:00")
    forwards = rows(book, *span)
    assert rows(book, *span, newest_first=True) == forwards[::-1]
    assert rows(book, *span, newest_first=True, start=3) == forwards[::-1][3:]


def test_only_whole_minutes_are_shown(book: CandleBook) -> None:
    """A minute is shown once it is over; before the first one of the day there is nothing, in no interval."""
    assert (
        rows(book, "SBER", 1, "2026-06-30", "2026-06-30 23:00", "2026-06-30 10:30:59")[-1][BEGIN]
        == "2026-06-30 10:29:00"
    )
    for interval in INTERVALS[:4]:
        assert not rows(book, "SBER", interval, "2026-06-30", "2026-06-30 23:00", "2026-06-30 06:59:59")


@pytest.mark.parametrize("interval", [10, 60, 24, 7, 31, 4])
def test_a_forming_candle_grows(book: CandleBook, interval: int) -> None:
    """The candle whose period is not over grows with the clock and is what its minutes are so far."""
    earlier, later = (
        rows(book, "SBER", interval, "2026-04-01", "2026-06-30 23:59:59", f"2026-06-30 {time}:00", newest_first=True)[0]
        for time in ("15:33", "15:38")
    )
    assert earlier[BEGIN] == later[BEGIN]
    assert earlier[VOLUME] < later[VOLUME]
    assert earlier[OPEN] == later[OPEN]
    assert later[LOW] <= earlier[LOW] <= earlier[HIGH] <= later[HIGH]
    minute = rows(book, "SBER", 1, "2026-06-30 15:37", "2026-06-30 15:37", "2026-06-30 15:38")[0]
    assert later[CLOSE] == minute[CLOSE]
    assert later[END] == (minute[END] if interval in (10, 60, 24) else "2026-06-30 00:00:00")


def test_a_candle_whose_period_is_over_is_whole(book: CandleBook) -> None:
    """After midnight the day is the one that is served ever after."""
    late = rows(book, "SBER", 24, "2026-06-29", "2026-06-29", "2026-06-30 00:00:00")
    assert late == rows(book, "SBER", 24, "2026-06-29", "2026-06-29")
    assert late[0][END] == "2026-06-29 23:59:59"
    before = rows(book, "SBER", 24, "2026-06-29", "2026-06-29", "2026-06-29 23:58:00")
    assert before[0][:END] == late[0][:END]
    assert before[0][END] == "2026-06-29 23:49:59"


def test_borders_are_the_first_and_last_candle(book: CandleBook) -> None:
    """A border is the begin of the first candle and the end of the last one that the clock shows."""
    for interval in INTERVALS:
        border = book.border("T", interval, second("2026-06-30 15:38:00"))
        first = rows(book, "T", interval, "2024-01-01", "2026-06-30 23:59", "2026-06-30 15:38:00")[0]
        last = rows(book, "T", interval, "2024-01-01", "2026-06-30 23:59", "2026-06-30 15:38:00", newest_first=True)[0]
        assert border == (second(first[BEGIN]), second(last[END]))
    assert book.border("T", 24, second("2024-11-27 12:00:00")) is None


def test_a_revised_candle_has_its_new_values(book: CandleBook) -> None:
    """A revision changes the values it names of one candle of one interval, and a second one adds to it."""
    march = ("SBER", 24, "2024-03-01", "2024-03-31")
    before, minutes = rows(book, *march), rows(book, "SBER", 1, "2024-03-04", "2024-03-05")
    book.revise("SBER", 24, second("2024-03-04"), {"close": 1.5})
    book.revise("SBER", 24, second("2024-03-04"), {"volume": 7})
    after = rows(book, *march)
    changed = [(one, other) for one, other in zip(before, after, strict=True) if one != other]
    assert [(one[BEGIN], other[CLOSE], other[VOLUME]) for one, other in changed] == [("2024-03-04 00:00:00", 1.5, 7)]
    assert rows(book, "SBER", 1, "2024-03-04", "2024-03-05") == minutes


def test_a_vanished_candle_is_gone(book: CandleBook) -> None:
    """A vanished candle leaves its series, and the rows after it move up."""
    day = ("SBER", 1, "2024-03-04", "2024-03-04 23:59")
    before = rows(book, *day)
    gone = before[10]
    assert book.has("SBER", 1, second(gone[BEGIN]), second("2026-07-01"))
    book.vanish("SBER", 1, second(gone[BEGIN]))
    assert rows(book, *day, start=9)[1] == before[11]
    assert not book.has("SBER", 1, second(gone[BEGIN]), second("2026-07-01"))


def test_a_forming_candle_can_be_revised(book: CandleBook) -> None:
    """A revision of a candle that still grows holds for what is shown of it."""
    book.revise("SBER", 24, second("2026-06-30"), {"close": 2.5})
    assert rows(book, "SBER", 24, "2026-06-30", "2026-06-30", "2026-06-30 15:38:00")[0][CLOSE] == 2.5
