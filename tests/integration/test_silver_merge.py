"""Bronze to Silver on real Spark, Delta and PostgreSQL."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake

from lakehouse.bronze.ledger import LedgerObject, record_landed
from lakehouse.bronze.objects import decode_object
from lakehouse.database.connection import connect
from lakehouse.database.progress import read_progress
from lakehouse.market.candle import CANDLES, HISTORY
from lakehouse.silver import pending
from lakehouse.silver.content_hash import content_hash
from lakehouse.silver.lake import Lake as Tables
from lakehouse.silver.merge import SMALL, LedgerEmpty, merge_bronze, rebuild_silver
from lakehouse.silver.report import MergeReport, TableReport
from lakehouse.storage.store import open_store
from tests.bronze_objects import HISTORY_COLUMNS, block, bronze_object, candle, candles_object

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.postgres]

COUNTS = ("received", "accepted", "unchanged", "revised", "outranked", "quarantined", "vanished")


@dataclass
class Lake:
    """A data folder, its ledger, and Spark."""

    spark: SparkSession
    dsn: str
    root: Path

    @property
    def bronze(self) -> str:
        return str(self.root / "bronze")

    def land(self, *objects: tuple[LedgerObject, bytes]) -> None:
        store = open_store(self.bronze)
        with connect(self.dsn) as conn:
            for described, body in objects:
                store.put(described.object_key, body)
                record_landed(conn, described.object_key, decode_object(body).trailer)
                conn.execute(
                    "UPDATE lake.bronze_object SET rank = %s WHERE object_key = %s",
                    [described.rank, described.object_key],
                )

    def merge(self) -> MergeReport:
        return merge_bronze(self.spark, self.dsn, self.bronze, Tables(str(self.root)))

    def rebuild(self) -> MergeReport:
        return rebuild_silver(self.spark, self.dsn, self.bronze, Tables(str(self.root)))

    def url(self, name: str) -> str:
        return str(self.root / "silver" / name)

    def rows(self, name: str) -> list[dict[str, Any]]:
        table = DeltaTable(self.url(name)).to_pyarrow_table()
        found: list[dict[str, Any]] = table.to_pylist()
        return sorted(
            found,
            key=lambda row: tuple(
                str(row.get(one)) for one in ("secid", "begin_at", "trade_date", "known_from", "source")
            ),
        )

    def hash(self) -> str:
        return content_hash([(Tables(str(self.root)).at(table), table, True) for table in (CANDLES, HISTORY)])


@pytest.fixture
def lake(spark: SparkSession, dsn: str, tmp_path: Path) -> Lake:
    return Lake(spark, dsn, tmp_path)


def counts(report: TableReport) -> dict[str, int]:
    return {name: value for name in COUNTS if (value := getattr(report, name))}


def at(hour: int, day: int = 20) -> dt.datetime:
    return dt.datetime(2024, 3, day, hour, tzinfo=dt.UTC)


def minutes(closes: dict[int, float], **more: Any) -> tuple[LedgerObject, bytes]:
    rows = [candle(f"2024-03-04 10:{minute:02}:00", close) for minute, close in closes.items()]
    return candles_object(rows, **more)


def versions(lake: Lake, secid: str = "SBER") -> list[tuple[int, float, int, int | None]]:
    return [
        (
            row["begin_at"].minute,
            row["close"],
            row["known_from"].hour,
            row["known_till"].hour if row["known_till"] else None,
        )
        for row in lake.rows("candles")
        if row["secid"] == secid
    ]


def test_the_first_load_fills_every_table(lake: Lake) -> None:
    """Each family lands in its table by commits of Spark; what is merged is marked; a second run does nothing."""
    card = {
        "description": block(("name", "value"), [["SHORTNAME", "Сбербанк"], ["FACEUNIT", "SUR"]]),
        "boards": block(
            ("secid", "boardid", "market", "engine", "is_traded", "is_primary"),
            [["SBER", "TQBR", "shares", "stock", 1, 1]],
        ),
    }
    history = [
        ["TQBR", "2024-03-04", "SBER", 5, 100.0, 1, 1, 2, 2, 50],
        ["SMAL", "2024-03-04", "SBER", 0, 0, None, None, None, None, 0],
    ]
    lake.land(
        minutes({0: 1.5, 1: 1.5, 2: 1.25}),
        candles_object([candle("2024-03-04 00:00:00")], secid="GAZP", timeframe="1d"),
        bronze_object("history", [{"history": block(HISTORY_COLUMNS, history)}], rows=2, secid="SBER"),
        bronze_object("securities", [card], rows=1, engine="", market="", secid="SBER"),
        bronze_object(
            "splits",
            [{"splits": block(("tradedate", "secid", "before", "after"), [["2024-07-15", "VTBR", 5000, 1]])}],
            rows=1,
            market="",
        ),
        bronze_object(
            "changeover",
            [{"changeover": block(("action_date", "old_secid", "new_secid"), [["2024-11-27", "TCSG", "T"]])}],
            rows=1,
        ),
        bronze_object(
            "timetable",
            [{"dailytable": block(("date", "is_work_day"), [["2024-12-28", 1], ["2024-12-31", 0]])}],
            rows=2,
            market="",
        ),
        bronze_object(
            "calendar",
            [{"off_days": block(("tradedate", "is_traded", "reason"), [["2024-12-28", 1, "T"]])}],
            rows=1,
            market="",
        ),
        bronze_object("borders", [{"borders": block(("begin", "end", "interval"), [])}], rows=0, secid="SBER"),
    )
    report = lake.merge()
    assert {name: counts(table) for name, table in report.tables.items()} == {
        "silver.candles": {"received": 4, "accepted": 4},
        "silver.history": {"received": 2, "accepted": 2},
        "silver.instruments": {"received": 1, "accepted": 1},
        "silver.splits": {"received": 1, "accepted": 1},
        "silver.renames": {"received": 1, "accepted": 1},
        "silver.calendar": {"received": 3, "accepted": 2, "outranked": 1},
    }
    assert all(table.versions == [1] for table in report.tables.values())
    assert [(row["trade_date"].day, row["is_traded"], row["reason"]) for row in lake.rows("calendar")] == [
        (28, True, "T"),
        (31, False, None),
    ]
    assert lake.rows("instruments")[0]["currency"] == "RUB"
    assert {(row["board"], row["close"]) for row in lake.rows("history")} == {("TQBR", 2.0), ("SMAL", None)}
    for name in ("candles", "history", "instruments", "splits", "renames", "calendar"):
        commits = DeltaTable(lake.url(name)).history()
        assert all(commit["engineInfo"].startswith("Apache-Spark/") for commit in commits)
        assert commits[0]["userMetadata"] == report.run_id
    with connect(lake.dsn) as conn:
        assert conn.execute("SELECT count(*) FROM lake.bronze_object WHERE merged_at IS NULL").fetchone() == (0,)
        assert read_progress(conn, "silver.candles") == 1
    source = lake.rows("candles")[1]["source"]
    assert source.startswith("iss/candles/stock/shares/TQBR/SBER/1m/2024-03-01_2024-03-15/")
    assert source.endswith(".jsonl.gz#1.0")
    again = lake.merge()
    assert again.tables == {}
    assert not again.changed


def test_revisions_vanished_candles_and_late_objects(lake: Lake) -> None:
    """A revision opens a version, a complete re-read closes what it lacks, a late object is the older version it is."""
    lake.land(minutes({0: 1.5, 1: 1.5, 2: 1.5}, fetched_at=at(10)), minutes({0: 1.5}, secid="GAZP", fetched_at=at(10)))
    lake.merge()
    lake.land(minutes({0: 1.25, 1: 1.5}, fetched_at=at(12)))
    report = lake.merge()
    assert counts(report.tables["silver.candles"]) == {"received": 2, "unchanged": 1, "revised": 1, "vanished": 1}
    assert versions(lake) == [(0, 1.5, 10, 12), (0, 1.25, 12, None), (1, 1.5, 10, None), (2, 1.5, 10, 12)]
    lake.land(minutes({0: 2.0, 1: 1.5, 2: 1.5, 3: 1.0}, fetched_at=at(11)))
    late = lake.merge()
    assert counts(late.tables["silver.candles"]) == {"received": 4, "accepted": 1, "unchanged": 2, "revised": 1}
    expected = [
        (0, 1.5, 10, 11),
        (0, 2.0, 11, 12),
        (0, 1.25, 12, None),
        (1, 1.5, 10, None),
        (2, 1.5, 10, 12),
        (3, 1.0, 11, 12),
    ]
    assert versions(lake) == expected
    assert versions(lake, "GAZP") == [(0, 1.5, 10, None)]
    assert lake.rebuild().changed is False
    assert versions(lake) == expected


def test_a_failed_object_says_nothing_about_absence_and_an_upload_revises_nothing(lake: Lake) -> None:
    """Half a window closes no candle; uploaded values stay below fetched ones and fill what was never fetched."""
    uploaded = minutes({0: 1.0, 5: 1.0}, fetched_at=at(15), rank=-1, complete=False)
    lake.land(
        minutes({0: 1.5, 1: 1.5}, fetched_at=at(10), complete=False),
        minutes({0: 1.5}, fetched_at=at(12), complete=False),
        uploaded,
    )
    lake.merge()
    current = [(minute, close) for minute, close, _, till in versions(lake) if till is None]
    assert current == [(0, 1.5), (1, 1.5), (5, 1.0)]


def test_a_crash_between_commit_and_record_is_harmless(lake: Lake) -> None:
    """What was committed but not recorded is merged again, changes nothing, and a late object still finds its place."""
    lake.land(minutes({0: 1.5, 1: 1.5}, fetched_at=at(10)))
    lake.merge()
    lake.land(minutes({0: 1.5, 1: 1.25}, fetched_at=at(12)), minutes({0: 2.0, 1: 1.25}, fetched_at=at(13)))
    lake.merge()
    before = lake.rows("candles")
    with connect(lake.dsn) as conn:
        conn.execute("UPDATE lake.bronze_object SET merged_at = NULL WHERE fetched_at > %s", [at(10)])
        conn.execute("UPDATE lake.progress SET delta_version = delta_version - 1 WHERE table_name = 'silver.candles'")
    report = lake.merge()
    assert counts(report.tables["silver.candles"]) == {"received": 4, "unchanged": 2, "revised": 2}
    assert not report.changed
    assert lake.rows("candles") == before


def test_broken_rows_go_to_quarantine_and_close_nothing(lake: Lake) -> None:
    """A broken row is kept as received; the candle it should have been stays; a rebuild leaves the quarantine alone."""
    lake.land(minutes({0: 1.5, 1: 1.5}, fetched_at=at(10)))
    lake.merge()
    rows = [candle("2024-03-04 10:00:00"), candle("2024-03-04 10:01:00", volume=-5)]
    lake.land(candles_object(rows, fetched_at=at(12)))
    report = lake.merge()
    assert counts(report.tables["silver.candles"]) == {"received": 2, "unchanged": 1, "quarantined": 1}
    [broken] = lake.rows("quarantine")
    assert (broken["rule"], broken["family"], broken["secid"], broken["timeframe"]) == (
        "volume negative",
        "candles",
        "SBER",
        "1m",
    )
    assert '"volume": -5' in broken["payload"]
    assert broken["source"].endswith("#1.1")
    assert versions(lake) == [(0, 1.5, 10, None), (1, 1.5, 10, None)]
    version = DeltaTable(lake.url("quarantine")).version()
    assert not lake.rebuild().changed
    assert DeltaTable(lake.url("quarantine")).version() == version


def test_a_table_that_is_gone_or_tampered_with_is_derived_again(lake: Lake) -> None:
    """Deleted, it comes back by the next merge; a rebuild mends a wrong row and drops one that came from nowhere."""
    lake.land(minutes({0: 1.5, 1: 1.5}, fetched_at=at(10)), minutes({0: 1.25}, fetched_at=at(12)))
    lake.merge()
    good, rows = lake.hash(), lake.rows("candles")
    shutil.rmtree(lake.url("candles"))
    report = lake.merge()
    assert report.tables["silver.candles"].received == 3
    assert (lake.hash(), lake.rows("candles")) == (good, rows)
    table = DeltaTable(lake.url("candles"))
    table.update(updates={"close": "9.0"}, predicate="known_till IS NULL AND begin_at = '2024-03-04T07:00:00Z'")
    stray = table.to_pyarrow_table().filter(pc.field("known_till").is_null()).slice(0, 1)
    stray = stray.set_column(stray.schema.get_field_index("secid"), "secid", [["NONE"]])
    write_deltalake(lake.url("candles"), stray, mode="append")
    assert lake.hash() != good
    assert lake.rebuild().changed
    assert (lake.hash(), lake.rows("candles")) == (good, rows)


def test_a_rebuild_without_a_ledger_is_refused(lake: Lake) -> None:
    """It would drop every row."""
    with pytest.raises(LedgerEmpty, match=r"rebuild of Silver: the ledger \(lake.bronze_object\) knows no object"):
        lake.rebuild()


def test_objects_landed_in_reverse_end_in_the_same_table(lake: Lake, tmp_path: Path) -> None:
    """Landed in reverse, one by one, the content hash is that of one load in order."""
    objects = [
        minutes({0: 1.5, 1: 1.5, 2: 1.5}, fetched_at=at(10)),
        minutes({0: 1.25, 2: 1.5}, fetched_at=at(11)),
        minutes({0: 1.25, 1: 1.0, 2: 1.5}, fetched_at=at(12)),
    ]
    lake.land(*objects)
    lake.merge()
    whole, rows = lake.hash(), lake.rows("candles")
    with connect(lake.dsn) as conn:
        conn.execute("TRUNCATE lake.bronze_object")
        conn.execute("TRUNCATE lake.progress")
    other = replace(lake, root=tmp_path / "other")
    for made in reversed(objects):
        other.land(made)
        other.merge()
    assert (other.hash(), other.rows("candles")) == (whole, rows)


@pytest.mark.parametrize(
    ("objects", "rows", "is_small"), [(0, 0, True), (20, 1_000, True), (20, 1_001, False), (1_000, 1, False)]
)
def test_a_table_is_small_by_what_was_read_for_it(dsn: str, objects: int, rows: int, is_small: bool) -> None:
    """Its queries are interpreted up to 20,000 rows; a thousand objects are not counted, they are not small."""
    with connect(dsn) as conn:
        conn.execute(
            """
            INSERT INTO lake.bronze_object (object_key, family, engine, market, board, secid, timeframe, span, complete,
                fetched_at, rows, pages, end_proof)
            SELECT 'iss/' || n, 'candles', '', '', '', n, '', '[2020-01-01,2020-01-02)', true, now(), %s, 1, ''
            FROM generate_series(1, %s) n
            """,
            (rows, objects),
        )
        assert pending.is_small(conn, CANDLES, SMALL) == is_small
        assert pending.is_small(conn, HISTORY, SMALL)
