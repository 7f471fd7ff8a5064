"""Days that jump as by a split that is not known: found while Gold is published, and gone with the jump."""

from __future__ import annotations

import random
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from lakehouse.cli.splits import add
from lakehouse.database.connection import connect
from lakehouse.serving.jumps import PriceJump, jump_count, jumps
from lakehouse.serving.publish import publish_gold, rebuild_serving
from tests.gold_lake import FIRST_DATE, GoldLake, Row, fact, instrument, minutes

pytestmark = pytest.mark.postgres

BELU, SBER = 1, 2


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn) as opened:
        yield opened


@pytest.fixture
def gold(tmp_path: Path) -> GoldLake:
    return GoldLake(tmp_path)


def series(instrument_id: int, *closes: float | None, **rest: Any) -> list[Row]:
    return [fact(instrument_id, day, **rest) | {"open": close, "close": close} for day, close in enumerate(closes)]


def found(conn: Connection[Any]) -> list[tuple[int, float, int, int]]:
    """Return day, known factor and the split that would explain the jump, oldest first."""
    return [((each.trade_date - FIRST_DATE).days, each.known, each.before, each.after) for each in jumps(conn)][::-1]


def test_a_split_that_nobody_knows_is_found_until_it_is_added(dsn: str, conn: Connection[Any], gold: GoldLake) -> None:
    """With both raw prices and the command that adds it; a day written between, or a finer candle, changes nothing."""
    cards = [instrument(BELU, "BELU"), instrument(SBER, "SBER")]
    gold.create([*series(BELU, 2747.0), *series(SBER, 300.0, 301.0), *minutes(SBER, 5, close=9.0)], cards)
    publish_gold(dsn, gold.lake)
    assert found(conn) == []
    gold.put(fact(BELU, 3, 345.0, open=340.8, secid="BELU"), fact(SBER, 2, 305.0))
    publish_gold(dsn, gold.lake)
    (jump,) = jumps(conn)
    day = [FIRST_DATE.replace(day=number) for number in (1, 4)]
    assert jump == PriceJump("stock", "shares", "TQBR", "BELU", day[1], day[0], 2747.0, 340.8, 1.0, 1, 8)
    command = 'lakehouse splits add BELU 2020-01-04 1 8 --reason "where it is said"'
    assert jump.what_to_do == f"if it was a split: {command}"
    assert add.make_context("add", shlex.split(command)[3:]).params["after"] == 8  # it can be given as it is printed
    assert (jump_count(conn), jump_count(conn, "SBER"), jumps(conn, secid="SBER")) == (1, 0, [])
    gold.put(fact(BELU, 0, 2747.0, open=2747.0, split_factor=0.125))
    publish_gold(dsn, gold.lake)
    assert found(conn) == []


def test_only_a_ratio_near_a_whole_number_is_a_jump(dsn: str, conn: Connection[Any], gold: GoldLake) -> None:
    """Within 8 %, from twice on and down to a half; of prices that are known and positive."""
    closes = (100.0, 54.0, 27.0, 68.0, 34.5, 15.0, 1500.0, None, 15.0, 0.0, 15.0, 27.4, 51.0)
    gold.create(series(BELU, *closes), [instrument(BELU, "BELU")])
    publish_gold(dsn, gold.lake)
    assert found(conn) == [(1, 1, 1, 2), (2, 1, 1, 2), (4, 1, 1, 2), (6, 1, 100, 1), (12, 1, 2, 1)]


def test_a_split_that_is_known_and_not_in_the_prices_is_found(dsn: str, conn: Connection[Any], gold: GoldLake) -> None:
    """On a wrong date it is two findings: the jump, and the date on which there is none."""
    before = series(BELU, 800.0, 100.0, split_factor=0.125)
    gold.create([*before, fact(BELU, 2, 100.0, open=100.0)], [instrument(BELU, "BELU")])
    publish_gold(dsn, gold.lake)
    assert found(conn) == [(1, 1.0, 1, 8), (2, 0.125, 8, 1)]
    told = jumps(conn)[0].what_to_do
    assert told == "the split known of that date is not in the prices: lakehouse splits --secid S1"


@pytest.mark.parametrize("seed", range(3))
def test_increments_find_what_a_rebuild_finds(dsn: str, conn: Connection[Any], gold: GoldLake, seed: int) -> None:
    """Whatever days came, changed or went, and in whatever order; nothing new finds nothing."""
    chance = random.Random(seed)

    def some() -> list[Row]:
        return [
            fact(
                chance.choice((BELU, SBER)),
                day,
                chance.choice((100.0, 800.0)),
                open=chance.choice((50.0, 100.0, 200.0, 300.0)),
                split_factor=chance.choice((1.0, 0.5)),
            )
            for day in chance.sample(range(12), 4)
        ]

    gold.create(series(BELU, *[100.0] * 6), [instrument(BELU, "BELU"), instrument(SBER, "SBER")])
    publish_gold(dsn, gold.lake)
    seen = 0
    for _ in range(8):
        gold.put(*some())
        gold.drop(*some())
        assert publish_gold(dsn, gold.lake).kind in ("increment", "nothing new")
        by_increments = jumps(conn)
        rebuild_serving(dsn, gold.lake, accept_shrinkage=True)
        assert jumps(conn) == by_increments
        seen += len(by_increments)
    assert seen > 10


def test_what_was_published_before_is_looked_through_once(dsn: str, conn: Connection[Any], gold: GoldLake) -> None:
    """A platform that comes from a version without these findings has them with its next publish."""
    gold.create(series(BELU, 2747.0, 340.8), [instrument(BELU, "BELU")])
    publish_gold(dsn, gold.lake)
    conn.execute("DELETE FROM lake.price_jump")
    publish_gold(dsn, gold.lake)
    assert found(conn) == []
    conn.execute("DELETE FROM lake.progress WHERE table_name = 'lake.price_jump'")
    publish_gold(dsn, gold.lake)
    assert found(conn) == [(1, 1, 1, 8)]
