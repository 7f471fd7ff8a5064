"""Silver to Gold on real Spark, Delta and PostgreSQL."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from psycopg.conninfo import make_conninfo

from lakehouse.database.connection import connect
from lakehouse.database.migrate import migrate
from lakehouse.database.progress import write_progress
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.engines.delta import ensure_table
from lakehouse.gold.build import GoldReport, build_gold, rebuild_gold, widen_gold
from lakehouse.market.candle import CANDLES, DIM_DATE, DIM_INSTRUMENT, FACT_CANDLE, GOLD, INSTRUMENTS
from lakehouse.market.instrument import instrument_id
from lakehouse.market.table import Table
from lakehouse.serving.publish import publish_gold
from lakehouse.silver.arrow import arrow_schema
from lakehouse.silver.content_hash import content_hash
from tests.silver_lake import SilverLake, calendar_day, candle, card, day, minute, rename, split

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.postgres]

CODES = ("SBER", "GMKN", "LKOH", "MOEX", "TCSG", "T")
SBER, GMKN, LKOH, MOEX, TCSG, T = (instrument_id("stock", "shares", secid) for secid in CODES)


class Town:
    """A Silver, the Gold built from it, and what tests ask of both."""

    def __init__(self, spark: SparkSession, dsn: str, silver: SilverLake) -> None:
        self.spark, self.dsn, self.silver = spark, dsn, silver
        self.lake = self.silver.lake

    def build(self) -> GoldReport:
        return build_gold(self.spark, self.dsn, self.lake)

    def rebuild(self) -> GoldReport:
        return rebuild_gold(self.spark, self.dsn, self.lake)

    def delta(self, table: Table = FACT_CANDLE) -> DeltaTable:
        return self.lake.at(table).open()

    def rows(self, table: Table = FACT_CANDLE) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.delta(table).to_pyarrow_table().to_pylist()
        return sorted(rows, key=lambda row: tuple(str(row[name]) for name in table.key))

    def facts(self, identity: int, timeframe: str = "1d") -> list[dict[str, Any]]:
        found = (row for row in self.rows() if (row["instrument_id"], row["timeframe"]) == (identity, timeframe))
        return sorted(found, key=lambda row: row["begin_at"])

    def versions(self) -> dict[str, int]:
        return {table.name: self.delta(table).version() for table in GOLD}

    def changed_since(self, version: int) -> set[tuple[int, str, dt.date, str]]:
        """Return (instrument, timeframe, date, change) of the facts written after *version*."""
        feed = pa.table(self.delta().load_cdf(starting_version=version + 1)).to_pylist()
        return {
            (row["instrument_id"], row["timeframe"], row["trade_date"], row["_change_type"])
            for row in feed
            if row["_change_type"] != "update_preimage"
        }

    def is_like_a_rebuild(self) -> bool:
        """Whether a full build, which compares everything, finds nothing to write."""
        before = self.versions()
        return self.rebuild().kind == "full" and self.versions() == before

    def hash(self) -> str:
        return content_hash([(self.lake.at(table), table, False) for table in GOLD])


@pytest.fixture(scope="module")
def built(
    spark: SparkSession, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[tuple[str, int]]]:
    """Return the folder of a Silver with its Gold, and what was recorded; tests take copies."""
    folder = tmp_path_factory.mktemp("built")
    with connect(postgres.dsn) as conn:
        conn.execute("CREATE DATABASE built")
    dsn = make_conninfo(postgres.dsn, dbname="built")
    migrate(dsn)
    town = Town(spark, dsn, SilverLake(folder))
    town.silver.cards(*map(card, CODES[:4]), card("SBER", board="SMAL", is_primary=False))
    town.silver.candles(*(candle(secid, at, 100.0 + at % 7) for secid in CODES[:4] for at in range(30)))
    town.silver.candles(*(minute("SBER", at, 50.0 + at % 3) for at in range(25)))
    assert town.build().kind == "full"
    with connect(dsn) as conn:
        return folder, conn.execute("SELECT table_name, delta_version FROM lake.progress").fetchall()


@pytest.fixture
def town(spark: SparkSession, dsn: str, tmp_path: Path, built: tuple[Path, list[tuple[str, int]]]) -> Town:
    folder, progress = built
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    with connect(dsn) as conn:
        for name, version in progress:
            write_progress(conn, name, version, "built")
    return Town(spark, dsn, SilverLake(tmp_path))


def test_a_first_build_makes_all_tables(town: Town) -> None:
    """Every current candle of a main board is a fact with indicators after their warm-up; what is known is recorded."""
    facts = town.facts(SBER)
    assert [row["close"] for row in facts] == [100.0 + at % 7 for at in range(30)]
    assert [row["sma_20"] is None for row in facts] == [at < 19 for at in range(30)]
    assert [row["rsi_14"] is None for row in facts] == [at < 14 for at in range(30)]
    assert len(town.facts(SBER, "1m")) == 25
    assert [row["secid"] for row in town.rows(DIM_INSTRUMENT)] != []
    assert len(town.rows(DIM_DATE)) == 30
    assert all(commit["userMetadata"] for commit in town.delta().history() if commit["operation"] == "MERGE")


def test_a_gold_of_a_former_version_is_widened_and_filled(town: Town) -> None:
    """What reads it in between finds the new column empty; the next build fills it, and writes no fact again."""
    former = replace(DIM_INSTRUMENT, columns=DIM_INSTRUMENT.columns[:-1])
    rows = [{name: row[name] for name in former.names} for row in town.rows(DIM_INSTRUMENT)]
    shutil.rmtree(town.lake.at(DIM_INSTRUMENT).url)
    ensure_table(town.spark, town.lake.at(DIM_INSTRUMENT), former)
    write_deltalake(town.lake.at(DIM_INSTRUMENT).url, pa.Table.from_pylist(rows, arrow_schema(former)), mode="append")
    with connect(town.dsn) as conn:
        write_progress(conn, DIM_INSTRUMENT.name, 1, "former")
    facts = town.delta().version()
    widen_gold(town.spark, town.lake)
    publish_gold(town.dsn, town.lake)
    units = "SELECT DISTINCT price_unit FROM gold.dim_instrument"
    with connect(town.dsn) as conn:
        assert conn.execute(units).fetchall() == [(None,)]
        assert (town.build().kind, town.delta().version()) == ("full", facts)
        publish_gold(town.dsn, town.lake)
        assert conn.execute(units).fetchall() == [("currency",)]


def test_nothing_new_commits_nothing(town: Town) -> None:
    """A second build leaves every table at its version; so does one after a commit that only renewed a source."""
    versions = town.versions()
    assert (town.build().kind, town.versions()) == ("nothing", versions)
    town.silver.candles(candle("SBER", 3, 103.0, source="other#1.0"))
    report = town.build()
    assert (report.inserted, report.updated, report.dropped, town.versions()) == (0, 0, 0, versions)


def test_an_increment_writes_what_changed_and_nothing_else(town: Town) -> None:
    """
    A new candle, a revised one, closed ones and a split, each of another series, are seen to in one build.

    A new candle is one new row. A revision updates its fact and later ones whose indicators it moves, never an earlier
    one. A candle that vanished at the exchange leaves Gold, and so does a series whose last candle did. A split gives
    all prices before it the factor, and prices stay raw. No other row and no other series is written.
    """
    before = town.delta().version()
    town.silver.candles(candle("SBER", 30, 111.0))
    town.silver.close(
        CANDLES,
        candle("LKOH", 25, 104.0),
        candle("MOEX", 29, 101.0),
        *(minute("SBER", at, 50.0 + at % 3) for at in range(25)),
    )
    town.silver.candles(candle("LKOH", 25, 99.0, known_from=dt.datetime(2024, 2, 1, tzinfo=dt.UTC)))
    town.silver.splits(split("GMKN", day(20), 1, 100))
    report = town.build()
    changed: dict[tuple[int, str], set[tuple[dt.date, str]]] = {}
    for identity, timeframe, date, change in town.changed_since(before):
        changed.setdefault((identity, timeframe), set()).add((date, change))
    of_split = changed.pop((GMKN, "1d"))
    assert changed == {
        (SBER, "1d"): {(day(30), "insert")},
        (LKOH, "1d"): {(day(at), "update_postimage") for at in range(25, 30)},
        (MOEX, "1d"): {(day(29), "delete")},
        (SBER, "1m"): {(day(0), "delete")},
    }
    assert {change for _, change in of_split} == {"update_postimage"}
    assert (report.kind, report.series, report.inserted, report.dropped) == ("increment", 5, 1, 26)
    assert report.updated == 5 + len(of_split)
    assert town.facts(SBER, "1m") == []
    facts = town.facts(GMKN)
    assert [row["split_factor"] for row in facts] == [0.01] * 20 + [1.0] * 10
    assert [row["close"] for row in facts] == [100.0 + at % 7 for at in range(30)]
    assert town.is_like_a_rebuild()


def test_a_rename_found_later_joins_two_instruments(town: Town) -> None:
    """TCSG and T become one under TCSG's id: T's rows move, its overlapping days go, its split reaches TCSG's days."""
    town.silver.cards(card("TCSG"), card("T"))
    town.silver.candles(
        *(candle("TCSG", at, 300.0) for at in range(20)), *(candle("T", at, 301.0) for at in range(15, 40))
    )
    town.build()
    assert (len(town.facts(TCSG)), len(town.facts(T))) == (20, 25)
    town.silver.renames(rename("TCSG", "T", day(19)))
    town.silver.splits(split("T", day(39), 1, 10))
    report = town.build()
    facts = town.facts(TCSG)
    assert [row["secid"] for row in facts] == ["TCSG"] * 20 + ["T"] * 20
    assert [row["split_factor"] for row in facts] == [0.1] * 39 + [1.0]
    assert town.facts(T) == []
    assert report.dropped == 25
    (joined,) = (row for row in town.rows(DIM_INSTRUMENT) if row["secid"] == "T")
    assert (joined["instrument_id"], joined["secids"]) == (TCSG, "TCSG,T")
    assert T not in {row["instrument_id"] for row in town.rows(DIM_INSTRUMENT)}
    assert town.is_like_a_rebuild()


def test_a_month_of_two_codes_and_two_units_is_one_candle(town: Town) -> None:
    """TCSG's and T's of one month are joined; with a split it is made from the days, and follows each of them."""
    town.silver.cards(card("TCSG"), card("T"))
    town.silver.renames(rename("TCSG", "T", day(9)), rename("S", "SOLD", day(3)), rename("S", "S2", day(20)))
    months = {"timeframe": "1mo", "volume": 100.0}
    town.silver.candles(
        *(candle("TCSG" if at <= 9 else "T", at, 3000.0 if at < 20 else 300.0) for at in range(29)),
        candle("TCSG", 0, 3000.0, value=10.0, **months),
        candle("T", 0, 300.0, value=20.0, high=3000.0, **months),
        *(candle(secid, 0, 100.0, value=value, **months) for secid, value in (("S", 5.0), ("SOLD", 6.0), ("S2", 7.0))),
    )
    town.build()
    # S named another security until the fourth: its month is that one's alone
    of_s = {row["secids"]: row["instrument_id"] for row in town.rows(DIM_INSTRUMENT)}
    assert [town.facts(of_s[codes], "1mo")[0]["value"] for codes in ("S,SOLD", "S,S2")] == [11, 7]
    (month,) = town.facts(TCSG, "1mo")
    assert [month[name] for name in ("open", "high", "close", "value", "volume")] == [3000, 3000, 300, 30, 200]
    town.silver.splits(split("T", day(20), 1, 10))
    town.build()
    (month,) = town.facts(TCSG, "1mo")
    assert [month[name] for name in ("open", "high", "close", "value", "volume")] == [None, None, 300, 30, None]
    town.silver.candles(candle("T", 29, 300.0, high=310.0))
    assert town.build().kind == "increment"
    (month,) = town.facts(TCSG, "1mo")
    assert [month[name] for name in ("open", "high", "low", "close", "volume")] == [
        300,
        310,
        300,
        300,
        20 * 100 + 10 * 10,
    ]
    assert town.is_like_a_rebuild()


def test_only_the_main_board_is_read(town: Town) -> None:
    """Candles of another board are not facts; when the main board moves, those of each are from its own days."""
    before = town.versions()
    town.silver.candles(*(candle("SBER", at, 7.0, board="SMAL") for at in range(5)))
    town.build()
    assert town.versions() == before
    kept = town.facts(SBER)
    seen = {"known_from": dt.datetime(2024, 4, 1, tzinfo=dt.UTC)}
    was, beside = card("SBER"), card("SBER", board="SMAL", is_primary=False)
    town.silver.put(INSTRUMENTS, [row | {"known_till": seen["known_from"]} for row in (was, beside)])
    town.silver.cards(
        card("SBER", is_primary=False, is_traded=False, history_till=day(29), **seen),
        card("SBER", board="SMAL", history_from=day(0), **seen),
    )
    report = town.build()
    assert (report.kind, report.inserted, report.dropped, town.facts(SBER)) == ("increment", 0, 0, kept)
    town.silver.candles(*(candle("SBER", at, 7.0, board="SMAL") for at in range(30, 33)))
    report = town.build()
    assert (report.inserted, report.updated, report.dropped) == (3, 0, 0)
    assert [row["close"] for row in town.facts(SBER)] == [100.0 + at % 7 for at in range(30)] + [7.0] * 3
    assert {row["board"] for row in town.rows(DIM_INSTRUMENT) if row["secid"] == "SBER"} == {"SMAL"}
    assert town.is_like_a_rebuild()


def test_a_security_without_a_card_is_read_where_its_candles_are(town: Town) -> None:
    """No card, no main board: the board with most candles; a card that comes later decides."""
    town.silver.candles(
        *(candle("EQMX", at, 5.0, board="TQTF") for at in range(3)), candle("EQMX", 0, 9.0, board="SMAL")
    )
    town.build()
    eqmx = instrument_id("stock", "shares", "EQMX")
    assert [row["close"] for row in town.facts(eqmx)] == [5.0] * 3
    town.silver.cards(card("EQMX", board="SMAL"))
    town.build()
    assert [row["close"] for row in town.facts(eqmx)] == [9.0]
    assert town.is_like_a_rebuild()


def test_dates_come_from_the_calendar_first(town: Town) -> None:
    """Where the calendar is silent, candles of days and minutes show trading; a week may begin on a holiday."""
    town.silver.calendar(calendar_day(day(3), is_traded=False, reason="H"), calendar_day(day(100), is_traded=True))
    town.silver.candles(candle("SBER", 50, 5.0), candle("SBER", 60, 5.0, timeframe="1w"))
    town.silver.candles(candle("USD", 70, 5.0, engine="currency"))
    town.build()
    dates = {row["trade_date"]: row["is_traded"] for row in town.rows(DIM_DATE)}
    assert (dates[day(3)], dates[day(4)], dates[day(50)], dates[day(100)]) == (False, True, True, True)
    assert day(60) not in dates
    assert day(70) not in dates
    town.silver.close(CANDLES, candle("SBER", 50, 5.0))
    town.build()
    assert day(50) not in {row["trade_date"] for row in town.rows(DIM_DATE)}
    assert town.is_like_a_rebuild()


def test_a_candle_without_a_close_is_a_fact(town: Town) -> None:
    """A NULL close is kept, has no indicators, and does not end those of later candles."""
    town.silver.candles(candle("SBER", 30, None), candle("SBER", 31, 105.0))
    town.build()
    gap, after = town.facts(SBER)[-2:]
    assert (gap["close"], gap["sma_20"], gap["rsi_14"]) == (None, None, None)
    assert after["sma_20"] is not None
    assert town.build().kind == "nothing"


def test_a_lost_gold_is_built_again(town: Town) -> None:
    """Gold that was deleted, or whose record is lost, is built whole by the next run, without being told."""
    before = town.hash()
    shutil.rmtree(town.lake.at(FACT_CANDLE).url)
    assert town.build().kind == "full"
    assert town.hash() == before


def test_another_silver_is_read_whole(town: Town) -> None:
    """A Silver made anew counts its versions anew: what its log says is not taken for changes of the old one."""
    folder = Path(town.lake.at(CANDLES).url)
    shutil.rmtree(folder)
    other = SilverLake(folder.parent / "other")
    for at in range(30):
        other.candles(candle("SBER", at, 500.0 + at))
    shutil.move(other.lake.at(CANDLES).url, folder)
    shutil.rmtree(folder.parent / "other")
    assert town.build().kind == "full"
    assert [row["close"] for row in town.facts(SBER)] == [500.0 + at for at in range(30)]
    assert town.facts(GMKN) == []


def test_a_lost_change_feed_means_a_full_build(town: Town) -> None:
    """Where versions in between are gone from the log, everything is compared."""
    for at in range(30, 33):
        town.silver.candles(candle("SBER", at, 100.0))
    table = town.delta(CANDLES)
    table.create_checkpoint()
    for version in range(table.version()):
        (Path(town.lake.at(CANDLES).url) / "_delta_log" / f"{version:020}.json").unlink()
    report = town.build()
    assert (report.kind, report.inserted) == ("full", 3)


def test_a_rebuild_mends_what_is_wrong(town: Town) -> None:
    """Facts changed or lost behind our back are as before after a rebuild; a right Gold is not written."""
    before, versions = town.hash(), town.versions()
    assert town.rebuild().kind == "full"
    assert town.versions() == versions
    town.delta().update(predicate=f"instrument_id = {SBER} AND timeframe = '1m'", updates={"close": "1.0"})
    town.delta().delete(f"instrument_id = {GMKN}")
    town.rebuild()
    assert town.hash() == before
