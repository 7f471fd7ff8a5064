"""
After a merge: the dates of what was merged are compared, and lake.volume_gap says which do not add up.

What is looked at are the dates of which the objects merged since speak, so the cost grows with them. An object stays to
be compared until that is recorded together with its findings: a crash in between is harmless.
"""

# ruff: noqa: S608 - the text is made of literals
from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import polars as pl
import pyarrow.compute as pc
import structlog
from psycopg import Connection
from psycopg.rows import dict_row

from lakehouse.bronze.doubts import DIFFERS
from lakehouse.database.connection import connect
from lakehouse.database.locks import table_lock
from lakehouse.market.candle import CANDLES
from lakehouse.market.moscow import to_moscow
from lakehouse.market.timeframe import Timeframe
from lakehouse.silver.lake import Lake
from lakehouse.silver.volumes import KEY, LISTING, Verdict, daily_sums, verdicts

log = structlog.get_logger()

WITHIN_DAY = [timeframe.value for timeframe in Timeframe if timeframe.is_intraday]
OBJECTS_AT_A_TIME = 2_000
_MOMENT = dt.timedelta(microseconds=1)


@dataclass
class VolumeReport:
    """
    One run.

    Attributes:
        objects: Objects of candles that were merged since the last run.
        dates: Dates of series within the day that were compared.
        differs, not_provable: How many of these do not add up, and how many have no day's candle to add up to.
        agreeing: How many add up.
    """

    run_id: str
    objects: int = 0
    dates: int = 0
    differs: int = 0
    not_provable: int = 0
    agreeing: int = 0
    seconds: float = 0.0

    def add(self, objects: int, dates: int, found: Sequence[Verdict]) -> None:
        """Add what was compared."""
        differs = sum(verdict.state == DIFFERS for verdict in found)
        self.objects += objects
        self.dates += dates
        self.differs += differs
        self.not_provable += len(found) - differs
        self.agreeing += dates - len(found)


def check_volumes(dsn: str, lake: Lake, *, run_id: str | None = None) -> VolumeReport:
    """
    Compare the days of everything merged since the last run with the candles within them. Without a JVM.

    Two runs take turns. Running again finds nothing to do.
    """
    began = time.monotonic()
    report = VolumeReport(run_id or f"volumes-{uuid.uuid4().hex[:12]}")
    with table_lock(dsn, "lake.volume_gap", report.run_id), connect(dsn) as conn:
        while objects := _uncompared(conn):
            asked = _asked(conn, objects)
            found = verdicts(asked, _sums(lake, asked)) if asked.height else []
            with conn.transaction():
                _record(conn, asked, found)
                _mark(conn, objects)
            report.add(len(objects), asked.height, found)
    report.seconds = round(time.monotonic() - began, 3)
    log.info("silver.volumes_checked", **vars(report))
    return report


_UNCOMPARED: LiteralString = """
    SELECT object_key, engine, market, board, secid, timeframe, lower(span) AS span_from, upper(span) AS span_till,
        merged_at
    FROM lake.bronze_object
    WHERE family = 'candles' AND merged_at IS NOT NULL AND compared_at IS DISTINCT FROM merged_at
    ORDER BY engine, market, board, secid, span, object_key LIMIT %s"""
# The dates that the objects and a proved coverage share, and that Silver holds: the object that proves them is merged
_SPANS: LiteralString = """
    WITH merged AS (
        SELECT c.*, c.state IN ('complete', 'no trades') AND o.merged_at IS NOT NULL AS is_held
        FROM lake.coverage c LEFT JOIN lake.bronze_object o USING (object_key) WHERE c.family = 'candles'
    ),
    touched AS (
        SELECT * FROM unnest(%(engine)s::text[], %(market)s::text[], %(board)s::text[], %(secid)s::text[],
            %(timeframe)s::text[], %(from_date)s::date[], %(till_date)s::date[])
            AS t(engine, market, board, secid, timeframe, from_date, till_date)
    )
    SELECT c.engine, c.market, c.board, c.secid, c.timeframe, c.object_key,
        greatest(c.from_date, t.from_date) AS from_date, least(c.till_date, t.till_date) AS till_date
    FROM merged c JOIN touched t ON (c.engine, c.market, c.board, c.secid) = (t.engine, t.market, t.board, t.secid)
        AND c.from_date <= t.till_date AND t.from_date <= c.till_date
    WHERE c.is_held
        AND (c.timeframe = '1d' OR c.timeframe = ANY(%(within_day)s) AND t.timeframe IN ('1d', c.timeframe))"""


def _uncompared(conn: Connection[Any]) -> list[dict[str, Any]]:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_UNCOMPARED, [OBJECTS_AT_A_TIME]).fetchall()


def _asked(conn: Connection[Any], objects: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Return the dates to compare, as `verdicts` takes them, with the objects that prove either side."""
    spans = _spans(conn, objects)
    dates = pl.date_ranges("from_date", "till_date").alias("trade_date")
    each = spans.with_columns(dates).drop("from_date", "till_date").explode("trade_date")
    each = each.unique([*KEY], maintain_order=True)
    is_day = pl.col("timeframe") == Timeframe.DAY.value
    days = each.filter(is_day).drop("timeframe").rename({"object_key": "day_object_key"})
    within = each.filter(~is_day).join(days, on=[*LISTING, "trade_date"], how="left")
    return within.with_columns(day_is_covered=pl.col("day_object_key").is_not_null())


def _spans(conn: Connection[Any], objects: Sequence[dict[str, Any]]) -> pl.DataFrame:
    names = (*LISTING, "timeframe")
    parameters: dict[str, Any] = {name: [object_[name] for object_ in objects] for name in names}
    parameters["from_date"] = [to_moscow(object_["span_from"]).date() for object_ in objects]
    parameters["till_date"] = [to_moscow(object_["span_till"] - _MOMENT).date() for object_ in objects]
    rows = conn.execute(_SPANS, {**parameters, "within_day": WITHIN_DAY}).fetchall()
    columns = (*names, "object_key", "from_date", "till_date")
    schema = {name: pl.Date if name.endswith("_date") else pl.String for name in columns}
    return pl.DataFrame(rows, schema, orient="row")


def _sums(lake: Lake, asked: pl.DataFrame) -> pl.DataFrame:
    """Sum the current, final candles of the dates in *asked*, partition by partition as they stream by."""
    dates = asked.select("trade_date").unique()["trade_date"].to_list()
    timeframes = [*asked["timeframe"].unique().to_list(), Timeframe.DAY.value]
    buckets = {Timeframe(name).bucket(date) for name in timeframes for date in dates}
    table = (
        lake.at(CANDLES)
        .open()
        .to_pyarrow_dataset(
            file_pruning_predicate=[("timeframe", "in", sorted(timeframes)), ("bucket", "in", sorted(buckets))]
        )
    )
    within = (pc.field("trade_date") >= min(dates)) & (pc.field("trade_date") <= max(dates))
    held = within & pc.field("known_till").is_null() & pc.field("is_final")
    day = asked.select(*LISTING, pl.lit(Timeframe.DAY.value).alias("timeframe"), "trade_date")
    wanted = pl.concat([asked.select(KEY), day]).unique()
    # The codes are not for Arrow: it cannot compare text with the statistics that deltalake gives it
    batches = table.to_batches(columns=[*KEY, "volume", "value"], filter=held)
    parts = [daily_sums(pl.DataFrame(batch).join(wanted, on=KEY, how="semi")) for batch in batches if batch.num_rows]
    return daily_sums(pl.concat([_no_sums(), *parts]))


def _no_sums() -> pl.DataFrame:
    texts: dict[str, Any] = dict.fromkeys((*LISTING, "timeframe"), pl.String)
    return pl.DataFrame(
        schema={**texts, "trade_date": pl.Date, "volume": pl.Float64, "value": pl.Float64, "rows": pl.Int64}
    )


_FORGET: LiteralString = """
    DELETE FROM lake.volume_gap g
    USING unnest(%(engine)s::text[], %(market)s::text[], %(board)s::text[], %(secid)s::text[], %(timeframe)s::text[],
        %(trade_date)s::date[]) AS a(engine, market, board, secid, timeframe, trade_date)
    WHERE (g.engine, g.market, g.board, g.secid, g.timeframe, g.trade_date)
        = (a.engine, a.market, a.board, a.secid, a.timeframe, a.trade_date)"""
_SAME: LiteralString = """
    (g.state, g.measure, g.day_volume, g.intraday_volume)
        IS NOT DISTINCT FROM (excluded.state, excluded.measure, excluded.day_volume, excluded.intraday_volume)"""
# Read again with the same result, the exchange has said it twice; with another one, it may yet say the right one
_FIND: LiteralString = f"""
    INSERT INTO lake.volume_gap AS g (engine, market, board, secid, timeframe, trade_date, state, measure, day_volume,
        intraday_volume, object_key, day_object_key)
    VALUES (%(engine)s, %(market)s, %(board)s, %(secid)s, %(timeframe)s, %(trade_date)s, %(state)s, %(measure)s,
        %(day_volume)s, %(intraday_volume)s, %(object_key)s, %(day_object_key)s)
    ON CONFLICT (engine, market, board, secid, timeframe, trade_date) DO UPDATE
        SET state = excluded.state, measure = excluded.measure, day_volume = excluded.day_volume,
            intraday_volume = excluded.intraday_volume, object_key = excluded.object_key,
            day_object_key = coalesce(excluded.day_object_key, g.day_object_key),
            reread_at = CASE WHEN {_SAME} THEN coalesce(g.reread_at,
                CASE WHEN g.object_key <> excluded.object_key THEN now() END) END,
            day_reread_at = CASE WHEN {_SAME} THEN coalesce(g.day_reread_at,
                CASE WHEN g.day_object_key <> excluded.day_object_key THEN now() END) END"""


def _record(conn: Connection[Any], asked: pl.DataFrame, found: Sequence[Verdict]) -> None:
    """Write down what was found of the dates in *asked*; what adds up now is forgotten."""
    objects = {row[:-2]: row[-2:] for row in asked.select(*KEY, "object_key", "day_object_key").iter_rows()}
    rows = []
    for verdict in found:
        object_key, day_object_key = objects.pop(tuple(getattr(verdict, name) for name in KEY))
        rows.append({**vars(verdict), "object_key": object_key, "day_object_key": day_object_key})
    with conn.cursor() as cursor:
        cursor.executemany(_FIND, rows)
    conn.execute(_FORGET, {name: [key[place] for key in objects] for place, name in enumerate(KEY)})


def _mark(conn: Connection[Any], objects: Sequence[dict[str, Any]]) -> None:
    conn.execute(
        """
        UPDATE lake.bronze_object o SET compared_at = m.merged_at
        FROM unnest(%s::text[], %s::timestamptz[]) AS m(object_key, merged_at) WHERE o.object_key = m.object_key
        """,
        [[object_["object_key"] for object_ in objects], [object_["merged_at"] for object_ in objects]],
    )
