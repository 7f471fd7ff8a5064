"""Splits that the exchange does not list: added, listed with where they are from, taken back, as far as PostgreSQL."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from psycopg import Connection

from lakehouse.bronze import added_splits
from lakehouse.bronze.added_splits import KnownSplit, add_split, known_splits, remove_split
from lakehouse.bronze.ledger import rebuild, record_landed
from lakehouse.bronze.objects import decode_object
from lakehouse.cli import lakehouse
from lakehouse.database.connection import connect
from lakehouse.jobs.merging import Lakeside, merge, publish
from lakehouse.market.candle import SPLITS
from lakehouse.market.errors import BadInput
from lakehouse.silver.content_hash import content_hash
from lakehouse.silver.lake import Lake
from lakehouse.silver.merge import rebuild_silver
from lakehouse.storage.store import Store, open_store
from lakehouse.up.folder import run_file, sole_use
from tests.bronze_objects import block, bronze_object, candle, candles_object

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.postgres

D, T = dt.date.fromisoformat, dt.datetime.fromisoformat
BONUS = KnownSplit("stock", "SBER", D("2024-03-05"), 1, 8, "the issuer's notice", "anna")
NOW = T("2024-03-20T12:00:00+00:00")
COLUMNS = ("tradedate", "secid", "before", "after")


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn) as opened:
        yield opened


def land(conn: Connection[Any], store: Store, landed: tuple[Any, bytes]) -> None:
    store.put(landed[0].object_key, landed[1])
    record_landed(conn, landed[0].object_key, decode_object(landed[1]).trailer)


def hold(conn: Connection[Any], store: Store, secid: str = "SBER") -> None:
    """Land three days of candles, as raw as the exchange gives them: each share became eight on the second."""
    rows = [
        candle(f"2024-03-0{day} 00:00:00", close, open=close, high=close, low=close)
        for day, close in ((4, 2747.0), (5, 340.8), (6, 341.0))
    ]
    span: dict[str, Any] = {"from_": D("2024-03-04"), "till": D("2024-03-06"), "last": "2024-03-06 00:00:00"}
    land(conn, store, candles_object(rows, secid=secid, timeframe="1d", **span))


def exchange_lists(conn: Connection[Any], store: Store, *rows: list[Any], at: dt.datetime = NOW) -> None:
    answer = {"splits": block(COLUMNS, rows)}
    land(conn, store, bronze_object("splits", [answer], rows=len(rows), market="", fetched_at=at))


def add(conn: Connection[Any], store: Store, split: KnownSplit = BONUS, **more: Any) -> None:
    with conn.transaction():
        add_split(conn, store, replace(split, **more))


def told(conn: Connection[Any], store: Store) -> list[tuple[str, str, float, str]]:
    return [(each.secid, f"{each.trade_date}", each.after, each.added_by) for each in known_splits(conn, store)]


def test_a_split_is_listed_with_where_it_is_from_and_can_be_taken_back(conn: Connection[Any], store: Store) -> None:
    """Those of the exchange stay; of several that were added of a code, the others stay, too."""
    hold(conn, store)
    exchange_lists(conn, store, ["2024-02-21", "TRNFP", 1, 100], [None, "SBER", 1, 2], ["2024-03-01", None, 1, 2])
    add(conn, store)
    add(conn, store, trade_date=D("2015-01-20"), before=100, after=1, added_by="boris")
    everything = [
        ("SBER", "2015-01-20", 1, "boris"),
        ("SBER", "2024-03-05", 8, "anna"),
        ("TRNFP", "2024-02-21", 100, ""),
    ]
    assert told(conn, store) == everything
    assert [each.reason for each in known_splits(conn, store, "SBER")] == ["the issuer's notice"] * 2
    with conn.transaction():
        taken, _ = remove_split(conn, store, "SBER", BONUS.trade_date, by="boris")
    assert (taken.after, taken.added_by) == (8, "anna")
    assert told(conn, store) == [everything[0], everything[2]]


def test_what_cannot_be_added_or_taken_back_is_refused(conn: Connection[Any], store: Store) -> None:
    """What is no split, of no security that is held, of a date to come, or known already; nothing lands."""
    hold(conn, store)
    exchange_lists(conn, store, ["2024-03-01", "SBER", 1, 3])
    add(conn, store, trade_date=D("2020-03-05"))
    objects = conn.execute("SELECT count(*) FROM lake.bronze_object").fetchone()
    for changed, said in (
        (
            {"before": 8},
            r"^SBER 8 -> 8 on 2024-03-05: say in whole numbers, 1 to 1,000,000, how many securities became",
        ),
        ({"after": 0.5}, r"say in whole numbers"),
        ({"after": float("inf")}, r"say in whole numbers"),
        ({"trade_date": D("1989-12-31")}, r"^SBER 1 -> 8 on 1989-12-31: the exchange has no trades before 1990-01-01$"),
        ({"reason": " "}, r"say in one line of at most 200 characters where it is said$"),
        ({"reason": "two\nlines"}, r"say in one line"),
        ({"secid": "no ticker"}, r"^'no ticker' is not a ticker"),
        ({"secid": "GAZP"}, r"no candles of GAZP \(stock\) are held: .* Then first: lakehouse ingest GAZP$"),
        ({"engine": "currency"}, r"no candles of SBER \(currency\) are held"),
        ({"trade_date": D("2024-03-21")}, r"on 2024-03-21: that date has not come, .* add it on that date$"),
        ({}, r"the exchange lists SBER 1 -> 3 on 2024-03-01, which counts; within 10 days they would count twice$"),
        (
            {"trade_date": D("2020-03-01")},
            r"SBER 1 -> 8 on 2020-03-05 was added by anna; to change it: lakehouse splits remove SBER 2020-03-05;",
        ),
    ):
        with pytest.raises(BadInput, match=said):
            add(conn, store, **changed)
    for date, said in (
        ("2024-03-01", r"^SBER on 2024-03-01: the exchange lists that one, and only added ones can be taken back; "),
        ("2024-03-05", r"^SBER on 2024-03-05: none was added; `lakehouse splits --secid SBER` lists them$"),
    ):
        with pytest.raises(BadInput, match=said), conn.transaction():
            remove_split(conn, store, "SBER", D(date))
    assert conn.execute("SELECT count(*) FROM lake.bronze_object").fetchone() == objects
    exchange_lists(conn, store, at=NOW + dt.timedelta(days=1))
    with pytest.raises(BadInput, match="the exchange listed one of that date and took it back"):
        add(conn, store, trade_date=D("2024-03-01"))


def test_only_the_nearest_listed_split_within_ten_days_overrules() -> None:
    """Sources differ by some days in the date of a split; two of a security do not follow each other so soon."""
    date = D("2024-03-05")
    near, far = [date + dt.timedelta(days) for days in (-10, 3, 9)], [date + dt.timedelta(days) for days in (-11, 11)]
    assert added_splits.overruled(date, near + far) == D("2024-03-08")
    assert added_splits.overruled(date, far) is None


def test_a_split_is_added_and_taken_back_on_the_command_line(dsn: str, conn: Connection[Any], tmp_path: Path) -> None:
    """With who did it on record; wrong usage is told, and the merge is asked for."""
    store = open_store(str(tmp_path / "bronze"))
    hold(conn, store)
    (tmp_path / "source.json").write_text('{"source": "simulator", "seed": 1}')
    options, runner = ["--data", str(tmp_path)], CliRunner()

    def run(*words: str) -> Any:
        return runner.invoke(lakehouse, ["splits", *options, *words])

    with sole_use(tmp_path), run_file(tmp_path, {"pid": 1, "dsn": dsn, "web_url": ""}):
        done = run("add", "SBER", "2024-03-05", "1", "8", "--reason", "bonus issue")
        assert "SBER 1 -> 8 on 2024-03-05 is added: prices before are multiplied by 1/8" in done.stdout, done.exception
        wrong = (("5.3.24", "1", "8"), ("2024-03-05", "1", "0"), ("2024-03-05", "1", "8"))
        assert [run("add", "SBER", *words).exit_code for words in wrong] == [2, 2, 2]
        listed = json.loads(run("--json").stdout)
        assert "added by cli:" in run("--secid", "SBER").stdout
        gone = run("remove", "SBER", "2024-03-05")
        assert "SBER 1 -> 8 on 2024-03-05 is taken back" in gone.stdout, gone.exception
        assert json.loads(run("--json").stdout) == []
    assert [(each["trade_date"], each["after"], each["reason"]) for each in listed] == [
        ("2024-03-05", 8, "bonus issue")
    ]
    audited = conn.execute("SELECT action, target, detail->>'after' FROM lake.audit ORDER BY audit_id").fetchall()
    assert audited == [("add split", "SBER 2024-03-05", "8"), ("remove split", "SBER 2024-03-05", "8")]
    assert conn.execute("SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'merge'").fetchone() == (1,)


@pytest.mark.spark
def test_an_added_split_adjusts_prices_until_it_is_taken_back_or_the_exchange_lists_it(
    spark: SparkSession, dsn: str, conn: Connection[Any], tmp_path: Path
) -> None:
    """By ordinary increments, once and never twice; a rebuild of Silver from Bronze, and of the ledger, keeps it."""
    store, lake = open_store(str(tmp_path / "bronze")), Lake(str(tmp_path / "lake"))
    place = Lakeside(spark, dsn, store.url, lake)

    def factors() -> list[float]:
        merge(place)
        publish(place)
        query = "SELECT split_factor FROM gold.fact_candle WHERE secid = 'SBER' ORDER BY begin_at"
        return [factor for (factor,) in conn.execute(query).fetchall()]

    def counted() -> list[tuple[str, float, bool]]:
        rows = lake.at(SPLITS).open().to_pyarrow_table().to_pylist()
        current = [row for row in rows if row["known_till"] is None]
        return sorted((f"{row['trade_date']}", row["after"], added_splits.is_added(row["source"])) for row in current)

    hold(conn, store)
    hold(conn, store, "GAZP")
    exchange_lists(conn, store, ["2024-02-21", "TRNFP", 1, 100])
    assert factors() == [1.0] * 3
    add(conn, store)
    assert factors() == [0.125, 1.0, 1.0]
    assert counted() == [("2024-02-21", 100, False), ("2024-03-05", 8, True)]
    built = conn.execute("SELECT report FROM lake.step_run WHERE step = 'gold' ORDER BY started_at").fetchall()
    assert [(report["kind"], report["updated"]) for (report,) in built][1:] == [("increment", 1)]

    before = content_hash([(lake.at(SPLITS), SPLITS, True)])
    conn.execute("TRUNCATE lake.bronze_object, lake.coverage")
    rebuild(conn, store)
    rebuild_silver(spark, dsn, store.url, lake)
    assert (counted()[1], content_hash([(lake.at(SPLITS), SPLITS, True)])) == (("2024-03-05", 8, True), before)

    day = dt.timedelta(days=1)
    exchange_lists(
        conn, store, ["2024-02-21", "TRNFP", 1, 100], at=NOW + day
    )  # an object that lacks it takes nothing away
    assert factors() == [0.125, 1.0, 1.0]
    exchange_lists(conn, store, ["2024-02-21", "TRNFP", 1, 100], ["2024-03-06", "SBER", 1, 4], at=NOW + 2 * day)
    assert factors() == [0.25, 0.25, 1.0]
    assert [(each.after, each.overruled_by) for each in known_splits(conn, store, "SBER")] == [
        (8, D("2024-03-06")),
        (4, None),
    ]
    exchange_lists(conn, store, ["2024-02-21", "TRNFP", 1, 100], ["2024-03-05", "SBER", 1, 2], at=NOW + 3 * day)
    assert factors() == [0.5, 1.0, 1.0]
    assert counted() == [("2024-02-21", 100, False), ("2024-03-05", 2, False)]
    with conn.transaction():
        remove_split(conn, store, "SBER", BONUS.trade_date)
    exchange_lists(conn, store, ["2024-02-21", "TRNFP", 1, 100], at=NOW + 4 * day)
    assert factors() == [1.0] * 3
