"""What handlers share within a process: settings and a pool. Nothing of a call is kept here."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from psycopg import Connection
from psycopg_pool import ConnectionPool

from lakehouse.bronze.fetch import FetchContext
from lakehouse.database.breaker import Pause
from lakehouse.database.connection import pool as open_pool
from lakehouse.jobs.waking import Wakes
from lakehouse.logs import configure_logs_of
from lakehouse.market.errors import BadInput
from lakehouse.settings import Settings, load_settings
from lakehouse.storage.store import Store, open_store

_STORE_PATIENCE_S = 5.0
# A function of the API has 29 s for all
_STATEMENT_S = 20.0


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process."""
    return load_settings()


def configure() -> None:
    """Log as the settings say; called once in each process of Lambda, by the entry of infra/aws/own.py."""
    configure_logs_of(settings())


def dsn() -> str:
    """Return the address of the database; raise BadInput when there is none."""
    url = settings().database_url
    if url is None:
        raise BadInput("LAKEHOUSE_DATABASE_URL is not set: functions need a database")
    return url.get_secret_value()


@lru_cache(maxsize=1)
def pool() -> ConnectionPool[Connection[Any]]:
    """Return the pool of connections that act as the app's role."""
    return open_pool(dsn(), "lakehouse_app", 1, 16)


@lru_cache(maxsize=1)
def api_pool() -> ConnectionPool[Connection[Any]]:
    """Return the pool of the API's connections: of somebody who waits for an answer no statement runs for long."""
    return open_pool(dsn(), "lakehouse_app", 1, 16, _STATEMENT_S)


def store() -> Store:
    """Return the store of Bronze, which is not waited for longer than a caller of ours waits."""
    chosen = settings()
    return open_store(chosen.bronze_location, chosen.s3_options, _STORE_PATIENCE_S)


def fetching() -> FetchContext:
    """Return what a fetch needs to know, from the settings."""
    chosen = settings()
    return FetchContext(
        iss_url=chosen.iss_url,
        dsn=dsn(),
        store_url=chosen.bronze_location,
        store_options=chosen.s3_options,
        rate_per_s=chosen.requests_per_s,
        in_flight=chosen.requests_in_flight,
        pause=Pause(chosen.pause_s, 30 * chosen.pause_s),
    )


@lru_cache(maxsize=1)
def wakes() -> Wakes | None:
    """Return the queues that wake functions; None where there are none: the platform's own workers look themselves."""
    return Wakes.of(settings())


def wake() -> None:
    """Wake functions for what was queued, after its commit."""
    if (queues := wakes()) is not None:
        with pool().connection() as conn:
            queues.send(conn)
