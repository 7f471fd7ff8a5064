"""What ``lakehouse demo --once --json`` prints: counts, seconds and content hashes, read from where the data lie."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, LiteralString

import pyarrow.compute as pc
from psycopg import Connection

from lakehouse.cli.progress import seconds_by_station
from lakehouse.database.connection import connect
from lakehouse.engines.address import TableAddress
from lakehouse.jobs.job import Job
from lakehouse.market.candle import CANDLES, FACT_CANDLE, HISTORY, QUARANTINE
from lakehouse.ports import direct
from lakehouse.silver.content_hash import content_hash
from lakehouse.silver.lake import Lake
from lakehouse.up import Platform


def summary(platform: Platform, jobs: Sequence[Job], started_s: float, total_s: float) -> dict[str, Any]:
    """Return the JSON object of docs/dictionary.md, section "The demo's summary"."""
    lake = Lake(platform.plan.settings.lake_location, platform.plan.settings.s3_options)
    silver = [(lake.at(table), table, True) for table in (CANDLES, HISTORY)]
    gold = [(lake.at(FACT_CANDLE), FACT_CANDLE, False)]
    stats = _simulator_stats(platform.iss_url)
    with connect(platform.dsn) as conn:
        seconds = {"start": round(started_s, 2), **seconds_by_station(conn, jobs), "total": round(total_s, 2)}
        return {
            "engine": f"spark {_spark_version()} {platform.plan.settings.spark_master}",
            "instruments": _count(conn, "SELECT count(*) FROM gold.dim_instrument"),
            "requests": stats["requests"],
            "pages": stats["pages"],
            "bronze_objects": _count(conn, "SELECT count(*) FROM lake.bronze_object"),
            "silver_rows": sum(_current_rows(address) for address, _, _ in silver),
            "quarantined_rows": _rows(lake.at(QUARANTINE)),
            "gold_rows": _rows(gold[0][0]),
            "postgres_rows": _count(conn, "SELECT count(*) FROM gold.fact_candle"),
            "seconds": seconds,
            "silver_hash": content_hash(silver),
            "gold_hash": content_hash(gold),
        }


def _count(conn: Connection[Any], query: LiteralString) -> int:
    row = conn.execute(query).fetchone()
    return int(row[0]) if row else 0


def _rows(address: TableAddress) -> int:
    return int(address.open().to_pyarrow_dataset().count_rows())


def _current_rows(address: TableAddress) -> int:
    return int(address.open().to_pyarrow_dataset().count_rows(filter=pc.field("known_till").is_null()))


def _simulator_stats(iss_url: str) -> dict[str, int]:
    with direct().open(f"{iss_url.removesuffix('/iss')}/_simulator/stats", timeout=10) as answer:
        stats = json.load(answer)
    return {
        "requests": sum(stats["requests"].values()),
        "pages": stats["pages"]["candles"] + stats["pages"]["history"],
    }


def _spark_version() -> str:
    return version("pyspark")
