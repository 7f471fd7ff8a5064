"""Publishing Gold to PostgreSQL: what readers see equals Gold, whatever happened before."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from psycopg import Connection, errors, sql

from lakehouse.database.connection import connect
from lakehouse.market.candle import DIM_DATE, DIM_INSTRUMENT, FACT_CANDLE, GOLD
from lakehouse.serving.publish import PublishAborted, publish_gold, rebuild_serving
from lakehouse.serving.source import GoldMissing
from lakehouse.silver.lake import Lake
from tests.gold_lake import GoldLake, date_row, fact, instrument, minutes, random_facts, rows_of

pytestmark = [pytest.mark.postgres]

CARDS = [instrument(1, "SBER"), instrument(2, "GMKN"), instrument(3, "T", secids="TCSG,T")]


@pytest.fixture
def gold(tmp_path: Path) -> GoldLake:
    lake = GoldLake(tmp_path)
    lake.create(random_facts(1, instruments=3, days=40), CARDS)
    return lake


def shown(dsn: str) -> list[tuple[Any, ...]]:
    query = sql.SQL("SELECT {} FROM gold.fact_candle").format(
        sql.SQL(", ").join(map(sql.Identifier, FACT_CANDLE.names))
    )
    with connect(dsn, "lakehouse_read") as conn:
        return sorted(conn.execute(query).fetchall())


def one(dsn: str, query: str) -> tuple[Any, ...]:
    with connect(dsn) as conn:
        rows: list[tuple[Any, ...]] = conn.execute(query.encode()).fetchall()
    (row,) = rows
    return row


def generations(conn: Connection[Any]) -> list[str]:
    query = (
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'store.fact_candle'::regclass ORDER BY 1"
    )
    return [row[0] for row in conn.execute(query.encode()).fetchall()]


def stored(dsn: str) -> list[str]:
    """Return the tables that hold generations, attached or not."""
    with connect(dsn) as conn:
        rows = conn.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'store'::regnamespace"
            " AND relname LIKE 'fact_candle_%'"
        ).fetchall()
    return sorted(row[0] for row in rows)


def test_the_first_load_shows_all_of_gold(dsn: str, gold: GoldLake) -> None:
    """After the first publish PostgreSQL holds Gold's facts, to the bit, and its dimensions."""
    report = publish_gold(dsn, gold.lake)
    assert (report.kind, report.rows, report.data_version) == ("first load", 120, 1)
    assert shown(dsn) == gold.facts()
    assert one(dsn, "SELECT count(*), max(secids) FROM gold.dim_instrument") == (3, "TCSG,T")
    assert one(dsn, "SELECT rows, first_date, last_date FROM gold.series WHERE instrument_id = 2") == (
        40,
        dt.date(2020, 1, 1),
        dt.date(2020, 2, 9),
    )


def test_nothing_new_writes_nothing(dsn: str, gold: GoldLake) -> None:
    """A second publish moves neither data_version nor published_at."""
    publish_gold(dsn, gold.lake)
    before = one(dsn, "SELECT * FROM gold.publication")
    report = publish_gold(dsn, gold.lake)
    assert (report.kind, report.data_version) == ("nothing new", 1)
    assert one(dsn, "SELECT * FROM gold.publication") == before


def test_an_increment_inserts_updates_and_deletes(dsn: str, gold: GoldLake) -> None:
    """Rows that came, changed and went in several commits end in PostgreSQL as in Gold; data_version moves once."""
    publish_gold(dsn, gold.lake)
    gold.put(fact(1, 40, 7.0), fact(1, 3, 8.0))
    gold.put(fact(1, 41, 9.0), fact(1, 40, 7.5))
    gold.drop(fact(2, 0), fact(1, 41))
    report = publish_gold(dsn, gold.lake)
    assert (report.kind, report.inserted, report.updated, report.deleted) == ("increment", 1, 1, 1)
    assert (report.data_version, report.rows) == (2, 120)
    assert shown(dsn) == gold.facts()
    assert one(dsn, "SELECT rows, first_date FROM gold.series WHERE instrument_id = 2") == (39, dt.date(2020, 1, 2))


def test_a_commit_without_a_change_moves_only_the_progress(dsn: str, gold: GoldLake) -> None:
    """A row written with its own values is no change: the version read so far moves, what readers see does not."""
    publish_gold(dsn, gold.lake)
    gold.put(fact(1, 3, 8.0))
    publish_gold(dsn, gold.lake)
    gold.put(fact(1, 3, 8.0))
    assert publish_gold(dsn, gold.lake).data_version == 2
    assert one(dsn, "SELECT delta_version FROM lake.progress WHERE table_name = 'serving.fact_candle'") == (2,)


def test_a_series_that_ends_is_gone(dsn: str, gold: GoldLake) -> None:
    """When the last candle of a series goes, the series is not offered any more."""
    gold.put(*minutes(1, 2))
    publish_gold(dsn, gold.lake)
    gold.drop(*minutes(1, 2))
    publish_gold(dsn, gold.lake)
    assert one(dsn, "SELECT count(*) FROM gold.series WHERE timeframe = '1m'") == (0,)


def test_dimensions_move_with_the_version(dsn: str, gold: GoldLake) -> None:
    """A changed card and a new date reach readers as a version of their own, also without a change of facts."""
    publish_gold(dsn, gold.lake)
    gold.write(DIM_INSTRUMENT, [instrument(1, "SBER", name="Sberbank"), *CARDS[1:]])
    gold.write(DIM_DATE, [date_row(0), date_row(1)])
    report = publish_gold(dsn, gold.lake)
    assert (report.data_version, report.dimension_rows, report.inserted) == (2, 2, 0)
    assert one(dsn, "SELECT name FROM gold.dim_instrument WHERE instrument_id = 1") == ("Sberbank",)
    assert one(dsn, "SELECT count(*) FROM gold.dim_date") == (2,)


def test_a_rebuild_of_the_same_gold_is_the_same_version(dsn: str, gold: GoldLake) -> None:
    """A rebuild swaps a new generation in; if no row differs, tokens of readers stay good."""
    publish_gold(dsn, gold.lake)
    report = rebuild_serving(dsn, gold.lake)
    assert (report.kind, report.data_version, report.rows) == ("nothing new", 1, 120)
    assert shown(dsn) == gold.facts()


def test_the_former_generation_stays_until_the_next_rebuild(dsn: str, gold: GoldLake) -> None:
    """Two generations at most: what readers see and the one before."""
    publish_gold(dsn, gold.lake)
    with connect(dsn) as conn:
        rebuild_serving(dsn, gold.lake)
        assert generations(conn) == ["store.fact_candle_1", "store.fact_candle_2"]
        publish_gold(dsn, gold.lake)
        assert generations(conn) == ["store.fact_candle_1", "store.fact_candle_2"]
        rebuild_serving(dsn, gold.lake)
        assert generations(conn) == ["store.fact_candle_2", "store.fact_candle_3"]


def test_a_generation_that_somebody_may_see_is_not_dropped(dsn: str, gold: GoldLake) -> None:
    """A REPEATABLE READ reader keeps its view over three rebuilds, though it had not touched the facts before."""
    publish_gold(dsn, gold.lake)
    with connect(dsn) as conn, connect(dsn, "lakehouse_read") as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT 1")
        for _ in range(3):
            gold.put(fact(1, 0, 555.0))
            rebuild_serving(dsn, gold.lake)
        assert reader.execute(
            "SELECT count(*), count(*) FILTER (WHERE close = 555) FROM gold.fact_candle"
        ).fetchone() == (120, 0)
        reader.execute("COMMIT")
        rebuild_serving(dsn, gold.lake)
        assert generations(conn) == ["store.fact_candle_4", "store.fact_candle_5"]


def test_a_slow_reader_does_not_hold_up_a_rebuild(dsn: str, gold: GoldLake) -> None:
    """A reader amid a transaction delays the drop of old generations, not the swap; a later publish drops them."""
    publish_gold(dsn, gold.lake)
    rebuild_serving(dsn, gold.lake)
    with connect(dsn) as conn, connect(dsn) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM gold.fact_candle")
        gold.put(fact(1, 0, 555.0))
        assert rebuild_serving(dsn, gold.lake).data_version == 2
        assert shown(dsn) == gold.facts()
        reader.execute("COMMIT")
        publish_gold(dsn, gold.lake)
        assert generations(conn) == ["store.fact_candle_2", "store.fact_candle_3"]
        assert stored(dsn) == ["fact_candle_2", "fact_candle_3"]


def test_gold_that_went_back_or_was_made_anew_is_loaded_whole(dsn: str, gold: GoldLake, tmp_path: Path) -> None:
    """Another Delta table under the same name counts its versions anew: nothing is read as a change of the old one."""
    publish_gold(dsn, gold.lake)
    other = GoldLake(tmp_path / "other")
    other.create(random_facts(2, instruments=3, days=50), CARDS)
    for day in range(50, 53):
        other.put(fact(1, day))
    report = publish_gold(dsn, other.lake)
    assert (report.kind, report.rows) == ("another Gold", 153)
    assert shown(dsn) == other.facts()
    assert publish_gold(dsn, other.lake).kind == "nothing new"


def test_a_lost_change_feed_means_a_whole_load(dsn: str, gold: GoldLake) -> None:
    """Where the log of the versions in between is gone, all of Gold is loaded, by itself."""
    publish_gold(dsn, gold.lake)
    for day in range(40, 43):
        gold.put(fact(1, day))
    folder = Path(gold.lake.url) / "gold" / "fact_candle"
    DeltaTable(folder).create_checkpoint()
    for version in (0, 1, 2):
        (folder / "_delta_log" / f"{version:020}.json").unlink()
    assert publish_gold(dsn, gold.lake).kind == "change feed gone"
    assert shown(dsn) == gold.facts()


def test_a_change_larger_than_the_table_is_loaded_aside(dsn: str, gold: GoldLake) -> None:
    """Many new rows go into a fresh generation: indexing them at once is cheaper than one by one."""
    publish_gold(dsn, gold.lake)
    gold.put(*minutes(1, 100_200))
    report = publish_gold(dsn, gold.lake)
    assert (report.kind, report.rows) == ("large change", 100_320)


def test_shrinkage_must_be_explained(dsn: str, gold: GoldLake) -> None:
    """A Gold that lost rows without saying so is not shown; what Gold says was closed may go."""
    publish_gold(dsn, gold.lake)
    gold.drop(fact(1, 0))
    assert rebuild_serving(dsn, gold.lake).rows == 119
    gold.write(FACT_CANDLE, random_facts(1, 3, 10))
    assert publish_gold(dsn, gold.lake).rows == 30


def test_unexplained_shrinkage_leaves_what_readers_see(dsn: str, gold: GoldLake, tmp_path: Path) -> None:
    """A smaller Gold made anew is refused, says how to accept it, and leaves nothing behind."""
    publish_gold(dsn, gold.lake)
    smaller = GoldLake(tmp_path / "smaller")
    smaller.create(random_facts(1, 3, 10), CARDS)
    with pytest.raises(PublishAborted, match=r"shrink from 120 to 30 rows, but only 0 .* --accept-shrinkage$"):
        publish_gold(dsn, smaller.lake)
    assert shown(dsn) == gold.facts()
    publish_gold(dsn, gold.lake)
    assert stored(dsn) == ["fact_candle_1"]
    assert rebuild_serving(dsn, smaller.lake, accept_shrinkage=True).rows == 30


def test_a_key_twice_is_refused(dsn: str, gold: GoldLake) -> None:
    """Gold with one key twice is not shown, in a first load as in an increment."""
    doubled = [*random_facts(1, 1, 3), fact(1, 2, 9.0)]
    gold.write(FACT_CANDLE, doubled)
    with pytest.raises(
        PublishAborted, match=r"gold.fact_candle has a key twice: Key \(instrument_id, timeframe, begin_at\)"
    ):
        publish_gold(dsn, gold.lake)
    assert shown(dsn) == []
    assert one(dsn, "SELECT data_version FROM gold.publication") == (0,)


def test_candles_of_an_unknown_instrument_are_refused(dsn: str, gold: GoldLake) -> None:
    """A fact without its dimension means that Gold is half built."""
    publish_gold(dsn, gold.lake)
    gold.put(fact(77, 0))
    with pytest.raises(PublishAborted, match=r"has candles of 77, unknown to gold.dim_instrument; .* rebuild gold$"):
        publish_gold(dsn, gold.lake)
    assert one(dsn, "SELECT data_version FROM gold.publication") == (1,)


def test_rows_that_went_missing_are_noticed(dsn: str, gold: GoldLake) -> None:
    """If PostgreSQL would not hold as many rows as Gold, the publish says so and what to do."""
    publish_gold(dsn, gold.lake)
    with connect(dsn) as conn:
        conn.execute("DELETE FROM store.fact_candle_1 WHERE instrument_id = 1")
        conn.execute("DELETE FROM gold.series WHERE instrument_id = 1")
    gold.put(fact(2, 40))
    with pytest.raises(PublishAborted, match=r"would hold 81 rows, expected 121 as Gold has; .*: lakehouse rebuild"):
        publish_gold(dsn, gold.lake)
    rebuild_serving(dsn, gold.lake)
    assert shown(dsn) == gold.facts()


def test_a_required_column_that_is_null_is_refused(dsn: str, gold: GoldLake, tmp_path: Path) -> None:
    """A fact without, say, its split factor is refused by the name of the column."""
    schema = pa.schema([pa.field(field.name, field.type) for field in rows_of(FACT_CANDLE, []).schema])
    broken = GoldLake(tmp_path / "broken")
    broken.create([], CARDS)
    rows = pa.Table.from_pylist([fact(1, 0) | {"split_factor": None}], schema)
    folder = broken.lake.at(FACT_CANDLE).url
    write_deltalake(folder, rows, mode="overwrite", schema_mode="overwrite", partition_by=["timeframe", "bucket"])
    with pytest.raises(PublishAborted, match=r"has rows without split_factor; .*: lakehouse rebuild gold$"):
        publish_gold(dsn, broken.lake)


def test_without_gold_there_is_nothing_to_publish(dsn: str, tmp_path: Path) -> None:
    """A lake that was never built says what to do first."""
    with pytest.raises(GoldMissing, match=r"there is no Gold at .*: make it with: lakehouse rebuild gold"):
        publish_gold(dsn, Lake(str(tmp_path)))


def test_readers_may_read_and_no_more(dsn: str, gold: GoldLake) -> None:
    """The role of readers sees schema gold and changes nothing; the store itself is not theirs."""
    publish_gold(dsn, gold.lake)
    rebuild_serving(dsn, gold.lake)
    with connect(dsn, "lakehouse_read") as conn:
        for table in GOLD:
            conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*table.name.split("."))))
        for query in (
            "SELECT FROM store.fact_candle",
            "DELETE FROM gold.dim_date",
            "UPDATE gold.publication SET generation = 9",
        ):
            with pytest.raises(errors.InsufficientPrivilege, match="permission denied"):
                conn.execute(query.encode())


def test_an_instrument_that_left_is_gone(dsn: str, gold: GoldLake) -> None:
    """When chains join, the rows of the joined one move and its card goes, in one version."""
    publish_gold(dsn, gold.lake)
    gold.write(DIM_INSTRUMENT, CARDS[:2])
    gold.put(*(fact(2, day, 1.0) for day in range(40, 80)))
    gold.drop(*(fact(3, day) for day in range(40)))
    report = publish_gold(dsn, gold.lake)
    assert (report.inserted, report.deleted, report.dimension_rows, report.data_version) == (40, 40, 1, 2)
    assert shown(dsn) == gold.facts()
