"""What the tests of weather ask of an exchange, what it says of that, and what a ledger says wrongly."""

from __future__ import annotations

import datetime as dt
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lakehouse.bronze.coverage import FAILED, FINAL, MISSING, NO_TRADES
from lakehouse.bronze.doubts import DIFFERS, NOT_PROVABLE, VolumeGap
from lakehouse.bronze.fetch import Failed, FetchContext, Outcome
from lakehouse.bronze.window import Series
from lakehouse.iss.client import Patience
from lakehouse.market.instrument import Instrument
from lakehouse.market.moscow import to_moscow
from lakehouse.market.timeframe import Timeframe
from lakehouse.simulator.faults import KINDS, NUMBERED
from lakehouse.simulator.weather import Weather
from tests.contract.simulator_calls import call
from tests.derivation import Key, Values
from tests.ingest import Row, Wanted, covered, date_of, read_rows, rows_of

Truth = Mapping[Series, Sequence[Row]]
D = dt.date.fromisoformat
# A Wednesday in mid-session: today's candles form
NOW = dt.datetime.fromisoformat("2026-06-24 15:00:00")
SBER, NKSH = (Instrument("stock", "shares", "TQBR", secid) for secid in ("SBER", "NKSH"))
WANTED = (
    Wanted(SBER, Timeframe.MINUTE, D("2026-06-15"), D("2026-06-16")),
    Wanted(SBER, Timeframe.TEN_MINUTES, D("2026-06-10"), None),
    Wanted(SBER, Timeframe.DAY, D("2019-10-01"), D("2020-09-30")),
    Wanted(SBER, Timeframe.DAY, D("2026-06-10"), None),
    # Hardly traded: whole days without a candle, and minutes on some of the others
    Wanted(NKSH, Timeframe.MINUTE, D("2026-06-02"), D("2026-06-03")),
    Wanted(NKSH, Timeframe.MINUTE, D("2026-06-12"), D("2026-06-22")),
    Wanted(NKSH, Timeframe.DAY, D("2026-06-01"), None),
)
SERIES = sorted({series for wanted in WANTED for series in wanted.series})
# A request of a test takes milliseconds, and so does its patience
IMPATIENT = Patience(timeout_s=0.15, attempts=4, total_s=5, wait_s=0.001, longest_wait_s=0.01)


def context_of(url: str, dsn: str, folder: Path, patience: Patience | None = None) -> FetchContext:
    """Return where an ingest asks and lands, without a budget."""
    return FetchContext(url, dsn, str(folder / "bronze"), rate_per_s=0, patience=patience or Patience())


def weather_of(seed: int) -> Weather:
    """Return the weather of a seed: from fair to foul, of all kinds or of five, in one of three with rows hidden."""
    chance = random.Random(seed)
    passing = deque(kind for kind in KINDS if kind not in NUMBERED)
    passing.rotate(5 * seed)
    kinds = list(passing) if seed % 2 else list(passing)[:5]
    if seed % 3 == 0:
        kinds += NUMBERED
    return Weather(seed, chance.uniform(0.05, 0.5), tuple(kinds), seconds=0.2, retry_after_s=0)


def lasting(foul: Weather) -> Weather:
    """Return what of a weather no paging can tell: what the exchange says in every answer alike."""
    return Weather(foul.seed, foul.rate, tuple(kind for kind in foul.kinds if kind in NUMBERED))


def truths(url: str) -> dict[Series, list[Row]]:
    """Return the rows that the exchange has now of all that is wanted, by plain paging."""
    rows: dict[Series, list[Row]] = {series: [] for series in SERIES}
    for wanted in WANTED:
        span = {"from_": wanted.from_, "till": wanted.till or NOW.date()}
        for series in wanted.series:
            rows[series] += _paged(url, series, span)
    return rows


def _paged(url: str, series: Series, span: Mapping[str, object]) -> Iterator[Row]:
    market = f"/engines/{series.engine}/markets/{series.market}"
    board = f"{market}/boards/{series.board}/securities/{series.secid}/candles.json"
    path = f"/history{market}/securities/{series.secid}.json" if series.family == "history" else board
    interval = {"interval": Timeframe(series.timeframe).interval} if series.timeframe else {}
    start = 0
    while page := call(url + path, start=start, **interval, **span).document[series.family]:
        if not page["data"]:
            return
        yield from read_rows(series, page)
        start += len(page["data"])


def untold(context: FetchContext, outcomes: Sequence[Outcome]) -> list[str]:
    """Return the windows of which the ledger does not say what the outcome does."""
    wrong = []
    for outcome in outcomes:
        states = {
            row.state
            for row in covered(context, outcome.window.series)
            if row.from_date <= outcome.window.till and row.till_date >= outcome.window.from_at.date()
        }
        failed = isinstance(outcome, Failed)
        if not states or failed != (FAILED in states):
            wrong.append(f"{outcome}: {sorted(states)}")
    return wrong


def unproved(context: FetchContext, expected: Truth) -> list[str]:
    """Return the dates for which an object stands in the ledger and does not hold exactly the exchange's rows."""
    wrong = []
    for series in SERIES:
        for row in covered(context, series):
            if row.state in (FAILED, MISSING):
                continue
            span = (row.from_date, row.till_date)
            held = [one for one in rows_of(context, series, row.object_key) if span[0] <= date_of(one) <= span[1]]
            there = [one for one in expected[series] if span[0] <= date_of(one) <= span[1]]
            if held != there or (row.state == NO_TRADES and held):
                lost, more = _without(there, held), _without(held, there)
                wrong.append(f"{series} {span[0]}..{span[1]} is {row.state}; lost {lost}, not there {more}")
    return wrong


def _without(rows: Sequence[Row], others: Sequence[Row]) -> list[str]:
    """Return the keys of the first *rows* that *others* does not hold, or does not hold as often."""
    left = [row for row in rows if rows.count(row) > others.count(row)]
    return [row.get("begin") or row["tradedate"] for row in left][:4]


def states(context: FetchContext) -> set[str]:
    """Return the states that occur in the ledger."""
    return {row.state for series in SERIES for row in covered(context, series)}


def misjudged(context: FetchContext, found: Sequence[VolumeGap], shown: Truth, calm: Truth) -> list[str]:
    """
    Return the dates of candles within the day that are held with rows lost or doubled, and not listed; or the reverse.

    Args:
        found: What is listed: `differs`, and `not provable` where the day's candle is not held.
        shown: What the exchange said all the while.
        calm: What it has.
    """
    state_of = {(gap.secid, gap.timeframe, gap.trade_date): gap.state for gap in found}
    wrong = []
    for series in SERIES:
        if series.family != "candles" or not Timeframe(series.timeframe).is_intraday:
            continue
        day = next(one for one in SERIES if (one.secid, one.timeframe) == (series.secid, "1d"))
        days = {
            date for row in covered(context, day) if row.state in FINAL for date in _dates(row.from_date, row.till_date)
        }
        for row in covered(context, series):
            for date in _dates(row.from_date, row.till_date) if row.state in FINAL else ():
                odd = any(_on(date, shown[one]) != _on(date, calm[one]) for one in (series, day))
                expected = (DIFFERS if odd else None) if date in days else NOT_PROVABLE
                state = state_of.pop((series.secid, series.timeframe, date), None)
                if state != expected and not (expected == NOT_PROVABLE and not _on(date, shown[series])):
                    wrong.append(f"{series} {date} is {state or 'not listed'}, expected {expected}")
    return wrong + [f"{gap} is {state}, nothing is held" for gap, state in state_of.items()]


def _dates(first: dt.date, last: dt.date) -> Iterator[dt.date]:
    return (first + dt.timedelta(days=day) for day in range((last - first).days + 1))


def _on(date: dt.date, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if date_of(row) == date]


def astray(found: Mapping[Key, Values], calm: Mapping[Key, Values], shown: Truth, truth: Truth) -> list[Key]:
    """
    Return the keys of rows before today that are not as after a calm run.

    Where the exchange itself hid or doubled rows of a series, they are passed over if nothing can tell: end-of-day
    rows, and days within which nothing is wanted.
    """
    struck = {series for series in SERIES if shown[series] != truth[series]}
    return [
        key
        for key in sorted({*found, *calm}, key=str)
        if found.get(key) != calm.get(key)
        and _date(key) < NOW.date()
        and not (_series(key) in struck and not _told(key))
    ]


def _date(key: Key) -> dt.date:
    at = key[-1]
    return to_moscow(at).date() if isinstance(at, dt.datetime) else at


def _series(key: Key) -> Series:
    own = key[3:6] if key[0] == "candles" else ("", key[3], "")
    return Series(*key[:3], *own)


def _told(key: Key) -> bool:
    """Return whether the candles of a day and those within it tell what is wrong with a row."""
    series, date = _series(key), _date(key)
    return series.family == "candles" and any(
        wanted.instrument == series.instrument
        and wanted.timeframe.is_intraday
        and wanted.from_ <= date <= (wanted.till or date)
        for wanted in WANTED
    )
