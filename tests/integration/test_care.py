"""Care keeps tables small, and nobody notices: not readers of a change feed, nor who trusts a table's version."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from lakehouse.database.connection import connect
from lakehouse.database.locks import table_lock
from lakehouse.engines.care import KEPT, care_for
from lakehouse.engines.delta import table_version
from lakehouse.jobs.caring import care
from lakehouse.market.candle import FACT_CANDLE
from lakehouse.serving.publish import publish_gold
from lakehouse.silver.content_hash import content_hash
from tests.gold_lake import SBER, GoldLake, fact, instrument
from tests.killing import until

pytestmark = pytest.mark.postgres
NOTHING_KEPT = dt.timedelta(0)


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn) as opened:
        yield opened


@pytest.fixture
def gold(dsn: str, tmp_path: Path) -> GoldLake:
    """Return a Gold of eight commits that is published."""
    made = GoldLake(tmp_path)
    made.create([fact(SBER, 0)], [instrument(SBER, "SBER")])
    for day in range(1, 8):
        made.put(fact(SBER, day))
    publish_gold(dsn, made.lake)
    return made


def gold_hash(gold: GoldLake) -> str:
    return content_hash([(gold.lake.at(FACT_CANDLE), FACT_CANDLE, False)])


def files(gold: GoldLake) -> int:
    return len(gold.lake.at(FACT_CANDLE).open().file_uris())


def stored(gold: GoldLake) -> int:
    """Return the bytes of the files of facts on the disk, needed or not."""
    paths = Path(gold.lake.at(FACT_CANDLE).url).rglob("*.parquet")
    return sum(path.stat().st_size for path in paths if path.parent.name != "_delta_log")


def test_many_files_become_one_and_nobody_reads_anything_anew(dsn: str, gold: GoldLake) -> None:
    """The rows are the same; the next publish has nothing to do, and the one behind it only what is new."""
    before, many, stored_before = gold_hash(gold), files(gold), stored(gold)
    report = care(dsn, gold.lake, "care-1", NOTHING_KEPT)
    assert (many > 1, files(gold), gold_hash(gold)) == (True, 1, before)
    assert report.tables["gold.fact_candle"].removed > 0
    table = report.tables["gold.fact_candle"]
    assert table.freed == stored_before + table.size - stored(gold) > 0
    assert str(report).startswith(f"{many} files made 1, ")
    assert publish_gold(dsn, gold.lake).kind == "nothing new"
    gold.put(fact(SBER, 8))
    published = publish_gold(dsn, gold.lake)
    assert (published.kind, published.inserted, published.updated) == ("increment", 1, 0)


def test_care_that_finds_nothing_to_do_makes_no_version(dsn: str, gold: GoldLake) -> None:
    """Once all is done; the first leaves what it has just replaced, as too young."""
    care(dsn, gold.lake, "care-1", NOTHING_KEPT)
    care(dsn, gold.lake, "care-2", NOTHING_KEPT)
    version = table_version(gold.lake.at(FACT_CANDLE))
    report = care(dsn, gold.lake, "care-3", NOTHING_KEPT)
    table = report.tables["gold.fact_candle"]
    assert str(report).startswith("0 files made 0, 0 removed (0 kB); 10 rows in 3 files, ")
    assert (table.rows, table.files, table.size) == (8, 1, stored(gold))
    assert table_version(gold.lake.at(FACT_CANDLE)) == version


def test_young_versions_stay_readable(dsn: str, gold: GoldLake) -> None:
    """Within a month time travel finds each of them."""
    care(dsn, gold.lake, "care-1", KEPT)
    rows = [gold.lake.at(FACT_CANDLE).open(version).to_pyarrow_table().num_rows for version in range(8)]
    assert rows == list(range(1, 9))


def test_what_is_unread_is_not_removed(dsn: str, gold: GoldLake) -> None:
    """A change older than what is kept that publish has not read stops the removal; then publish reads it."""
    gold.put(fact(SBER, 8, close=5.0))
    report = care(dsn, gold.lake, "care-1", NOTHING_KEPT)
    left_out = "nothing was removed: changes from version 8 on are unread; merge and publish first"
    assert report.tables["gold.fact_candle"].left_out == left_out
    published = publish_gold(dsn, gold.lake)
    assert (published.kind, published.inserted) == ("increment", 1)


def test_a_feed_that_is_gone_is_known_for_that(dsn: str, gold: GoldLake) -> None:
    """Whoever removes files all the same makes publish load Gold whole, not fail."""
    gold.put(fact(SBER, 8))
    gold.put(fact(SBER, 8, close=5.0))
    address = gold.lake.at(FACT_CANDLE)
    care_for(
        dsn, address, FACT_CANDLE.name, "x", unread_from=None, record=lambda former, version: None, kept=NOTHING_KEPT
    )
    published = publish_gold(dsn, gold.lake)
    assert (published.kind, published.rows) == ("change feed gone", 9)


def test_care_waits_for_who_writes(dsn: str, conn: Connection[Any], gold: GoldLake) -> None:
    """While a merge holds the table's lock, nothing is compacted."""
    with ThreadPoolExecutor(1) as pool:
        with table_lock(dsn, FACT_CANDLE.name, "merge-1"):
            caring = pool.submit(care, dsn, gold.lake, "care-1", NOTHING_KEPT)
            until(
                lambda: conn.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone()
            )
            gold.put(fact(SBER, 8))
            assert not caring.done()
        report = caring.result(900)
    assert report.tables["gold.fact_candle"].compacted[1] == 1
    assert publish_gold(dsn, gold.lake).rows == 9
