"""The whole chain behind care: nobody notices that the tables were compacted."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import conninfo_to_dict

from lakehouse.database.connection import connect
from lakehouse.database.outage import close_shared
from lakehouse.database.progress import read_progress
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.engines.delta import table_version
from lakehouse.jobs import queue
from lakehouse.jobs.caring import care
from lakehouse.jobs.planning import plan_ingest
from lakehouse.market.candle import CANDLES, SILVER
from tests.killing import Calm, Chain, SlowExchange, copied_database, hashes, shown

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.postgres, pytest.mark.spark]
NOTHING_KEPT = dt.timedelta(0)


@pytest.fixture
def chain(calm: Calm, market: SlowExchange, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Chain]:
    """The calm run's chain at its end, as a copy."""
    folder = shutil.copytree(calm.chain.lake.url, tmp_path / "chain")
    close_shared()  # no database is copied while somebody is connected
    with copied_database(postgres.dsn, str(conninfo_to_dict(calm.chain.dsn)["dbname"])) as dsn:
        yield Chain.over(market, dsn, folder)


def test_the_chain_goes_on_behind_care_as_if_it_had_not_been(
    chain: Chain, calm: Calm, market: SlowExchange, spark: SparkSession
) -> None:
    """
    Silver, Gold and what readers see are the same; the tables are trusted, Gold has nothing to build.

    A revision behind it goes its way: read again, merged, built and published as an increment.
    """
    report = care(chain.dsn, chain.lake, "care-1", NOTHING_KEPT)
    assert all(not each.left_out for each in report.tables.values()), report
    assert (hashes(chain.lake), shown(chain.dsn)) == (calm.hashes, calm.rows)
    row = market.candles[1][0]
    row[5] += 1
    market.now += dt.timedelta(hours=1)  # read at the same second it would take the place of the first reading
    day = row[6][:10]
    document = {"instruments": ["SBER"], "timeframes": ["1m"], "from": day, "till": day, "reread": True}
    with connect(chain.dsn) as conn:
        for table in SILVER:
            assert read_progress(conn, table.name) in (None, table_version(chain.lake.at(table)))
        job_id = queue.submit_ingest(conn, queue.IngestRequest.parse(document), "test")
        plan_ingest(chain.context, job_id)
        chain.fetch_on("threads", job_id)
        chain.merge(spark)
        chain.publish(spark)
        steps = conn.execute("SELECT DISTINCT ON (step) step, report FROM lake.step_run ORDER BY step, started_at DESC")
        made = dict(steps.fetchall())
    assert made["silver"]["tables"][CANDLES.name]["revised"] == 1
    assert (made["gold"]["kind"], made["serving"]["kind"]) == ("increment", "increment")
