"""Bronze on a folder, MinIO and LocalStack: the same objects, and a store that goes away loses none."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from lakehouse.bronze.fetch import FetchContext, Landed, PutOff, fetch_window, fetch_windows
from lakehouse.bronze.ledger import rebuild
from lakehouse.bronze.prepare import instrument_windows
from lakehouse.bronze.reconcile import reconcile
from lakehouse.bronze.window import Window
from lakehouse.database.connection import connect
from lakehouse.iss.client import Patience
from lakehouse.market.instrument import Instrument
from lakehouse.market.timeframe import Timeframe
from lakehouse.ports import free_port
from lakehouse.storage.minio import MinioServer
from lakehouse.storage.store import Store, open_store
from tests.exchange import candle, days, minutes
from tests.served_exchange import ServedExchange, served
from tests.stores import empty_store

pytestmark = pytest.mark.postgres

SBER = Instrument("stock", "shares", "TQBR", "SBER")
T = dt.datetime.fromisoformat
# Wednesday, 15:00 in Moscow
NOW = dt.datetime(2024, 3, 20, 12, 0, tzinfo=dt.UTC)


@pytest.fixture
def exchange() -> Iterator[ServedExchange]:
    exchange = ServedExchange(NOW)
    exchange.candles[24] = [candle(T("2024-03-01") + dt.timedelta(days=day)) for day in range(20)]
    exchange.candles[1] = [row for day in (18, 19, 20) for row in minutes(T(f"2024-03-{day}T10:00"), 600)]
    exchange.history = days(dt.date(2023, 10, 1), 171, ["SMAL", "TQBR"])
    with served(exchange):
        yield exchange


def context_on(store: Store, exchange: ServedExchange, dsn: str) -> FetchContext:
    patience = Patience(attempts=2, wait_s=0.01, total_s=600)
    return FetchContext(exchange.url, dsn, store.url, 0, patience=patience, store_options=store.options)


def plan(context: FetchContext) -> list[Window]:
    return instrument_windows(context, SBER, [Timeframe.DAY, Timeframe.MINUTE], from_=None, till=None, now=NOW)


def fetch_all(context: FetchContext) -> list[str]:
    """Fetch all that is planned; return the keys of what landed."""
    outcomes = fetch_windows(context, [(window, lambda pages, rows: None) for window in plan(context)])
    assert all(isinstance(outcome, Landed) for outcome in outcomes), outcomes
    return sorted(outcome.object_key for outcome in outcomes if isinstance(outcome, Landed))


def ledger(conn: Connection[Any]) -> list[Any]:
    return conn.execute(
        "SELECT object_key, span, complete, rows, pages FROM lake.bronze_object ORDER BY object_key"
    ).fetchall()


def bodies(store: Store) -> dict[str, bytes]:
    return {key: store.get(key) for key in store.list()}


@pytest.fixture
def on_a_folder(exchange: ServedExchange, dsn: str, tmp_path: Path) -> dict[str, bytes]:
    """Return what Bronze holds when it is a folder; the ledger is empty afterwards."""
    store = open_store(str(tmp_path / "folder"))
    fetch_all(context_on(store, exchange, dsn))
    with connect(dsn) as conn:
        conn.execute("TRUNCATE lake.bronze_object, lake.coverage")
    return bodies(store)


@pytest.mark.parametrize("kind", ["minio", "localstack"])
def test_bronze_is_the_same_on_every_store(
    kind: str,
    request: pytest.FixtureRequest,
    exchange: ServedExchange,
    dsn: str,
    tmp_path: Path,
    on_a_folder: dict[str, bytes],
) -> None:
    """Keys and bytes are those of the folder, and the ledger can be rebuilt from them."""
    store = empty_store(request.getfixturevalue(kind), tmp_path)
    landed = fetch_all(context_on(store, exchange, dsn))
    assert bodies(store) == on_a_folder
    with connect(dsn) as conn:
        recorded = ledger(conn)
        assert set(landed) <= {key for key, *_ in recorded}
        assert rebuild(conn, store) == len(on_a_folder) == len(recorded)
        assert ledger(conn) == recorded
        assert reconcile(conn, store).lost == []


def test_a_store_killed_while_windows_land_loses_none(
    minio: MinioServer, exchange: ServedExchange, dsn: str, tmp_path: Path, on_a_folder: dict[str, bytes]
) -> None:
    """Whatever landed before, meanwhile and after is there once, and the ledger knows it."""
    with MinioServer(tmp_path / "frail") as frail:
        store = empty_store(frail, tmp_path)
        context = context_on(store, exchange, dsn)
        windows = plan(context)
        frail.kill()
        with ThreadPoolExecutor(1) as thread:
            fetched = thread.submit(fetch_windows, context, [(window, lambda pages, rows: None) for window in windows])
            with pytest.raises(TimeoutError):
                fetched.result(timeout=3)
            frail.start()
            outcomes = fetched.result(timeout=900)
        assert all(isinstance(outcome, Landed) for outcome in outcomes), outcomes
        assert bodies(store) == on_a_folder
        with connect(dsn) as conn:
            found = reconcile(conn, store)
    assert (found.recorded, found.lost) == ([], [])


@dataclass(frozen=True)
class Impatient(FetchContext):
    """A context whose store is waited for a second only."""

    nobody: dict[str, str] = field(default_factory=dict)

    def store(self) -> Store:
        return open_store(self.store_url, {**self.store_options, **self.nobody}, patience_s=1)


def test_a_window_is_put_off_when_the_store_stays_away(
    minio: MinioServer, exchange: ServedExchange, dsn: str, tmp_path: Path
) -> None:
    """It is no fault of the window: the ledger is as before, and the window is read again later."""
    store = empty_store(minio, tmp_path)
    reached = context_on(store, exchange, dsn)
    (window, *_) = plan(reached)
    context = Impatient(**{name: getattr(reached, name) for name in reached.__dataclass_fields__})
    away = replace(context, nobody={"endpoint": f"http://127.0.0.1:{free_port()}"})
    outcome = fetch_window(away, window)
    assert isinstance(outcome, PutOff)
    assert "it did not answer for 1 s" in outcome.reason
    assert isinstance(fetch_window(context, window), Landed)
