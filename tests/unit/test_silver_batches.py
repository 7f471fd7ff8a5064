from __future__ import annotations

from collections import Counter

import pytest

from lakehouse.engines.address import TableAddress
from lakehouse.engines.delta import Difference, merge_sql, partition_predicate
from lakehouse.market.candle import CANDLES, RENAMES
from lakehouse.silver.merge import batches
from lakehouse.silver.report import ConservationBroken, check_conservation
from tests.bronze_objects import bronze_object


def test_batches_are_bounded_and_keep_the_order() -> None:
    """Rows and objects of a batch are bounded; an object larger than the bound goes alone."""
    objects = [
        bronze_object("candles", [], rows=rows, secid=f"S{at}")[0] for at, rows in enumerate((4, 5, 30, 1, 1, 1))
    ]
    assert [[object_.rows for object_ in batch] for batch in batches(objects, rows=10, most=2)] == [
        [4, 5],
        [30],
        [1, 1],
        [1],
    ]


def test_rows_that_do_not_add_up_stop_the_merge() -> None:
    """The ledger's count is the other side of the equation."""
    classes = Counter(accepted=3, unchanged=1, vanished=7)
    check_conservation("silver.candles", 4, classes)
    with pytest.raises(
        ConservationBroken, match=r"silver.candles: the ledger counted 5 rows in the new objects, 4 arrived \(3 acc"
    ):
        check_conservation("silver.candles", 5, classes)


def test_partitions_are_named_by_literals_grouped_by_timeframe() -> None:
    """Only literals let Delta skip files; none of the source's own partitions is left out."""
    predicate = partition_predicate(CANDLES, [("1m", "2024-02"), ("1d", "all"), ("1m", "2024-01")], "t")
    assert predicate == (
        "((t.timeframe = '1d' AND t.bucket IN ('all')) OR (t.timeframe = '1m' AND t.bucket IN ('2024-01', '2024-02')))"
    )
    assert partition_predicate(CANDLES, [], "t") == "((FALSE))"


def test_a_merge_that_only_inserts_has_only_the_insert_clause() -> None:
    """Delta then appends and rewrites no file."""
    only_inserts = Difference("difference", 3, 0, 0, [])
    assert "WHEN MATCHED" not in merge_sql(TableAddress("/lake/silver/renames"), RENAMES, only_inserts)
    text = merge_sql(TableAddress("s3://bucket/silver/renames"), RENAMES, Difference("difference", 3, 1, 0, []))
    assert text.startswith(
        "MERGE INTO delta.`s3a://bucket/silver/renames` t USING difference s ON t.engine = s.engine AND"
    )
    assert "t.known_from = s.known_from WHEN MATCHED AND s.op = 'drop' THEN DELETE WHEN MATCHED THEN UPDATE SET" in text
