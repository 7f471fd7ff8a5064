"""Rows that broke a rule: kept as received, as long as Bronze and the rules say so."""

# ruff: noqa: S608 - the text is made of names declared in lakehouse.market and of literals derived from data
from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.engines.address import TableAddress
from lakehouse.engines.delta import Difference
from lakehouse.market.candle import QUARANTINE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def quarantine_difference(spark: SparkSession, address: TableAddress, version: int) -> Difference:
    """
    Return what silver.quarantine must change for the new objects of the derivation at hand.

    Reads the views `outcome` and `objects` (derive.py). A row that no longer breaks a rule leaves the quarantine.
    """
    names = ", ".join(f"coalesce(f.{name}, q.{name}) AS {name}" for name in QUARANTINE.names)
    differs = " OR ".join(f"f.{name} IS DISTINCT FROM q.{name}" for name in QUARANTINE.names)
    rows = spark.sql(f"""
        WITH found AS (
            SELECT o.family, o.engine, o.market, o.board, o.secid, o.timeframe, o.fetched_at,
                j.rule, j.payload, j.source
            FROM outcome j JOIN objects o ON j.object_id = o.object_id WHERE j.class = 'quarantined'
        ),
        kept AS (
            SELECT t.* FROM {address.spark_name} VERSION AS OF {int(version)} t
            LEFT SEMI JOIN objects o ON split_part(t.source, '#', 1) = o.object_key AND o.is_new
        )
        SELECT {names},
            CASE WHEN q.source IS NULL THEN 'insert' WHEN f.source IS NULL THEN 'drop' ELSE 'update' END AS op
        FROM found f FULL OUTER JOIN kept q ON f.source = q.source
        WHERE {differs}""").toArrow()  # few by nature: the recorded data has none
    # In one piece: of a table in pieces, PySpark 4.2 reads none behind an empty one
    spark.createDataFrame(rows.combine_chunks()).createOrReplaceTempView("quarantine_difference")
    ops = rows["op"].to_pylist()
    return Difference("quarantine_difference", ops.count("insert"), ops.count("update"), ops.count("drop"), [])
