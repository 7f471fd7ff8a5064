"""silver.quarantine into PostgreSQL, where pages and functions read it: they hold no reader of Delta."""

from __future__ import annotations

import polars as pl
from deltalake import DeltaTable

from lakehouse.database.connection import connect
from lakehouse.database.progress import read_progress, write_progress
from lakehouse.market.candle import QUARANTINE
from lakehouse.silver.families import FAMILIES
from lakehouse.silver.lake import Lake

# Rows that are listed one by one, the newest; all are counted
LISTED = 10_000
# Characters of a payload that are kept: a row of the exchange has some 200
PAYLOAD_CHARACTERS = 4_000
_PROGRESS = "lake.quarantine"
_COLUMNS = (
    "source", "table_name", "engine", "market", "board", "secid", "timeframe", "rule", "payload", "fetched_at"
)  # fmt: skip


def publish_quarantine(dsn: str, lake: Lake, *, listed: int = LISTED) -> int:
    """
    Make lake.quarantine equal to silver.quarantine, its newest *listed* rows, in one transaction.

    Returns:
        How many rows are in quarantine; -1 if the table is as it was published before, or not made yet.
    """
    address = lake.at(QUARANTINE)
    if not address.exists():
        return -1
    delta = address.open()
    with connect(dsn, "lakehouse_app") as conn, conn.transaction():
        # Two publishers take turns: the later one finds the version of the first
        conn.execute("LOCK TABLE lake.quarantine IN SHARE ROW EXCLUSIVE MODE")
        if read_progress(conn, _PROGRESS) == delta.version():
            return -1
        rows = _rows(delta)
        conn.execute("DELETE FROM lake.quarantine")
        conn.execute("DELETE FROM lake.quarantine_count")
        newest = rows.sort(["fetched_at", "source"], descending=[True, False]).head(listed)
        with conn.cursor() as cursor:
            with cursor.copy(f"COPY lake.quarantine ({', '.join(_COLUMNS)}) FROM STDIN") as copy:
                for row in newest.select(_COLUMNS).iter_rows():
                    copy.write_row(row)
            counts = rows.group_by("table_name", "rule").len()
            cursor.executemany("INSERT INTO lake.quarantine_count VALUES (%s, %s, %s)", list(counts.iter_rows()))
        write_progress(conn, _PROGRESS, delta.version(), f"quarantine-{delta.version()}")
    return len(rows)


def _rows(delta: DeltaTable) -> pl.DataFrame:
    rows = pl.DataFrame(delta.to_pyarrow_table())
    tables = {name: family.table.name for name, family in FAMILIES.items()}
    return rows.with_columns(
        pl.col("family").replace_strict(tables, default=pl.col("family")).alias("table_name"),
        pl.col("timeframe").fill_null(""),
        pl.col("payload").str.slice(0, PAYLOAD_CHARACTERS),
    )
