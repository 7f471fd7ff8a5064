"""Under the exchange's faults nothing is lost and nothing is invented: from seeded weather to ledger and versions."""

from __future__ import annotations

import datetime as dt
import random
import uuid
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from lakehouse.bronze.coverage import FAILED, MISSING, NO_TRADES
from lakehouse.bronze.fetch import Failed, FetchContext, Landed, Outcome
from lakehouse.bronze.window import Series
from lakehouse.database.connection import connect
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.iss.client import Patience
from lakehouse.market.instrument import Instrument
from lakehouse.market.moscow import to_utc
from lakehouse.market.timeframe import Timeframe
from lakehouse.simulator.clock import Clock
from lakehouse.simulator.exchange import MadeExchange
from lakehouse.simulator.faults import KINDS, NUMBERED
from lakehouse.simulator.server import running
from lakehouse.simulator.weather import CALM, Faults, Weather
from tests.contract.simulator_calls import call
from tests.derivation import Key, Version
from tests.ingest import Row, Wanted, covered, date_of, derived, ingest, read_rows, rows_of
from tests.seeds import seeds

pytestmark = pytest.mark.postgres

D = dt.date.fromisoformat
# A Wednesday in mid-session: today's candles form
NOW = dt.datetime.fromisoformat("2026-06-24 15:00:00")
SBER, NKSH = (Instrument("stock", "shares", "TQBR", secid) for secid in ("SBER", "NKSH"))
WANTED = (
    Wanted(SBER, Timeframe.MINUTE, D("2026-06-15"), D("2026-06-16")),
    Wanted(SBER, Timeframe.DAY, D("2019-10-01"), D("2020-09-30")),
    Wanted(SBER, Timeframe.TEN_MINUTES, D("2026-06-10"), None),
    # Hardly traded: whole days without a candle, and minutes on some of the others
    Wanted(NKSH, Timeframe.MINUTE, D("2026-06-02"), D("2026-06-03")),
    Wanted(NKSH, Timeframe.MINUTE, D("2026-06-12"), D("2026-06-22")),
    Wanted(NKSH, Timeframe.DAY, D("2026-06-01"), None),
)
SERIES = sorted({series for wanted in WANTED for series in wanted.series})
# A request of a test takes milliseconds, and so does its patience
IMPATIENT = Patience(timeout_s=0.15, attempts=4, total_s=5, wait_s=0.001, longest_wait_s=0.01)
FAULTS = Faults()
MET: Counter[str] = Counter()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(MadeExchange(seed=1), Clock(NOW, frozen=True), FAULTS) as base_url:
        yield base_url


@pytest.fixture(autouse=True)
def calm_afterwards() -> Iterator[None]:
    yield
    FAULTS.change(CALM)


@contextmanager
def weather(weather: Weather) -> Iterator[None]:
    """Let a weather reign while the block runs; count what it did."""
    before = FAULTS.suffered.copy()
    FAULTS.change(weather)
    yield
    FAULTS.change(CALM)
    MET.update(FAULTS.suffered - before)


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


def truth(url: str, series: Series) -> list[Row]:
    """Return the rows that the exchange has now of all that is wanted of a series, by plain paging."""
    market = f"/engines/{series.engine}/markets/{series.market}"
    place = f"{market}/boards/{series.board}/securities/{series.secid}/candles"
    path = f"/history{market}/securities/{series.secid}" if series.family == "history" else place
    interval = {"interval": Timeframe(series.timeframe).interval} if series.timeframe else {}
    rows: list[Row] = []
    for wanted in WANTED:
        if series in wanted.series:
            span = {**interval, "from_": wanted.from_, "till": wanted.till or NOW.date()}
            start = 0
            while page := list(
                read_rows(series, call(f"{url}{path}.json", start=start, **span).document[series.family])
            ):
                rows += page
                start += len(page)
    return rows


def truths(url: str) -> dict[Series, list[Row]]:
    return {series: truth(url, series) for series in SERIES}


@pytest.fixture(scope="module")
def calm_truth(url: str) -> dict[Series, list[Row]]:
    return truths(url)


@pytest.fixture(scope="module")
def calm(
    url: str, postgres: EmbeddedPostgres, migrated_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FetchContext]:
    """An ingest without faults."""
    name = f"calm_{uuid.uuid4().hex}"
    with connect(postgres.dsn) as conn:
        template = sql.Identifier(migrated_database)
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), template))
        dsn = make_conninfo(postgres.dsn, dbname=name)
        context = context_of(url, dsn, tmp_path_factory.mktemp("calm"), Patience())
        for outcome in ingest(context, WANTED, to_utc(NOW)):
            assert isinstance(outcome, Landed)
        yield context
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def calm_versions(calm: FetchContext) -> dict[Key, list[Version]]:
    return derived(calm)


def context_of(url: str, dsn: str, folder: Path, patience: Patience) -> FetchContext:
    return FetchContext(url, dsn, str(folder / "bronze"), rate_per_s=0, patience=patience)


def untold(context: FetchContext, outcomes: list[Outcome]) -> list[str]:
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


def unproved(context: FetchContext, expected: dict[Series, list[Row]]) -> list[str]:
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


def _without(rows: list[Row], others: list[Row]) -> list[str]:
    """Return the keys of the first *rows* that *others* does not hold, or does not hold as often."""
    left = [row for row in rows if rows.count(row) > others.count(row)]
    return [row.get("begin") or row["tradedate"] for row in left][:4]


def of_series(versions: dict[Key, list[Version]], series: Series) -> dict[Key, list[Version]]:
    """Return the versions of a series; those of end-of-day rows have neither board nor timeframe in their scope."""
    own = (series.board, series.secid, series.timeframe) if series.family == "candles" else (series.secid,)
    scope = (series.family, series.engine, series.market, *own)
    return {key: found for key, found in versions.items() if key[: len(scope)] == scope}


def test_a_calm_run_is_the_truth(
    calm: FetchContext, calm_truth: dict[Series, list[Row]], calm_versions: dict[Key, list[Version]]
) -> None:
    """Without faults every wanted row is held, an illiquid instrument's empty days raise no alarm, nothing is due."""
    assert unproved(calm, calm_truth) == []
    states = Counter(row.state for series in SERIES for row in covered(calm, series))
    assert states[NO_TRADES] >= 1
    assert not states[FAILED] + states[MISSING]
    assert ingest(calm, WANTED, to_utc(NOW)) == []
    assert len(calm_versions) == sum(map(len, calm_truth.values()))


@pytest.mark.parametrize("seed", range(seeds(20, 200)))
def test_weather_loses_and_invents_nothing(
    url: str,
    dsn: str,
    tmp_path: Path,
    seed: int,
    calm_truth: dict[Series, list[Row]],
    calm_versions: dict[Key, list[Version]],
) -> None:
    """What the ledger calls held is what the exchange has, all else is failed or missing; the next run mends it."""
    foul = weather_of(seed)
    shown = calm_truth
    if set(foul.kinds) & set(NUMBERED):
        with weather(lasting(foul)):
            shown = truths(url)
    with weather(foul):
        outcomes = ingest(context_of(url, dsn, tmp_path, IMPATIENT), WANTED, to_utc(NOW))
    calm_context = context_of(url, dsn, tmp_path, Patience())
    assert unproved(calm_context, shown) == []
    assert untold(calm_context, outcomes) == []
    assert [outcome for outcome in outcomes if isinstance(outcome, Landed) and outcome.state == MISSING] == []

    mended = ingest(calm_context, WANTED, to_utc(NOW))
    assert untold(calm_context, mended) == []
    assert {row.state for series in SERIES for row in covered(calm_context, series)} & {FAILED, MISSING} == set()
    versions = derived(calm_context)
    for series in SERIES:
        if shown[series] == calm_truth[series]:
            assert of_series(versions, series) == of_series(calm_versions, series), series


def test_every_kind_of_fault_was_met() -> None:
    """The seeds together bring every kind, so that none of them is only said to be harmless."""
    assert set(MET) == set(KINDS)
