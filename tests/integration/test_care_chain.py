"""The whole chain behind care: nobody notices that the tables were compacted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import Connection

from lakehouse.database.connection import connect
from lakehouse.database.progress import read_progress
from lakehouse.engines.delta import table_version
from lakehouse.jobs import merging, queue
from lakehouse.jobs.caring import care
from lakehouse.jobs.planning import plan_ingest
from lakehouse.market.candle import CANDLES, SILVER
from tests.killing import Chain, hashes, shown, slow_exchange

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.postgres, pytest.mark.spark]
NOTHING_KEPT = dt.timedelta(0)


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn) as opened:
        yield opened


def test_the_chain_goes_on_behind_care_as_if_it_had_not_been(
    dsn: str, conn: Connection[Any], spark: SparkSession, tmp_path: Path
) -> None:
    """
    Silver, Gold and what readers see are the same; the tables are trusted, Gold has nothing to build.

    A revision behind it goes its way: read again, merged, built and published as an increment.
    """
    with slow_exchange() as exchange:
        chain = Chain.over(exchange, dsn, tmp_path)
        run(chain, spark, chain.plan())
        before = (*hashes(chain.lake), shown(dsn))
        report = care(dsn, chain.lake, "care-1", NOTHING_KEPT)
        assert all(not each.left_out for each in report.tables.values()), report
        assert (*hashes(chain.lake), shown(dsn)) == before
        for table in SILVER:
            assert read_progress(conn, table.name) in (None, table_version(chain.lake.at(table)))
        row = exchange.candles[1][0]
        row[5] += 1
        exchange.now += dt.timedelta(hours=1)  # read at the same second it would take the place of the first reading
        day = row[6][:10]
        document = {"instruments": ["SBER"], "timeframes": ["1m"], "from": day, "till": day, "reread": True}
        job_id = queue.submit_ingest(conn, queue.IngestRequest.parse(document), "test")
        plan_ingest(chain.context, job_id)
        run(chain, spark, job_id)
    steps = conn.execute("SELECT DISTINCT ON (step) step, report FROM lake.step_run ORDER BY step, started_at DESC")
    made = dict(steps.fetchall())
    assert made["silver"]["tables"][CANDLES.name]["revised"] == 1
    assert (made["gold"]["kind"], made["serving"]["kind"]) == ("increment", "increment")


def run(chain: Chain, spark: SparkSession, job_id: int) -> None:
    """Run the chain behind the plan of a job."""
    chain.fetch_on("threads", job_id)
    place = merging.Lakeside(spark, chain.dsn, chain.context.store_url, chain.lake)
    merging.merge(place)
    merging.publish(place)
