"""What the tests that kill compare with: the chain over a small market, which nothing disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from lakehouse.database.runner import EmbeddedPostgres
from tests.killing import Calm, Chain, SlowExchange, copied_database, hashes, shown, slow_exchange

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="module")
def market() -> Iterator[SlowExchange]:
    """Return an exchange of the module's own."""
    with slow_exchange() as exchange:
        yield exchange


@pytest.fixture(scope="session")
def calm(
    spark: SparkSession, postgres: EmbeddedPostgres, migrated_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Calm]:
    """Return the whole chain after a run without a kill."""
    with slow_exchange() as exchange, copied_database(postgres.dsn, migrated_database) as dsn:
        chain = Chain.over(exchange, dsn, tmp_path_factory.mktemp("calm"))
        chain.fetch(chain.plan())
        chain.merge(spark)
        chain.publish(spark)
        yield Calm(chain, hashes(chain.lake), shown(dsn))
