"""
What pages and functions ask of PostgreSQL.

Light on purpose (psycopg only): this runs in a function of 50 MB. Every answer is one statement, so its rows and its
data_version belong together.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal, LiteralString

from psycopg import Connection
from psycopg.rows import class_row, dict_row

from lakehouse.market.errors import BadInput, LakehouseError
from lakehouse.market.instrument import PriceUnit
from lakehouse.market.moscow import day_start
from lakehouse.market.timeframe import Timeframe
from lakehouse.serving.tokens import Position, decode_token, encode_token

Adjust = Literal["none", "split"]

DEFAULT_LIMIT = 1_000
MAX_LIMIT = 10_000
FIRST_DATE = dt.date(1900, 1, 1)
LAST_DATE = dt.date(2999, 12, 31)

# Columns of a page of candles, in this order
CANDLE_COLUMNS = (
    "begin_at",
    "trade_date",
    "secid",
    "open",
    "high",
    "low",
    "close",
    "value",
    "volume",
    "is_final",
    "split_factor",
    "sma_20",
    "rsi_14",
)


class DataMoved(LakehouseError):
    """A new version of the data was published between two pages."""


@dataclass(frozen=True)
class Series:
    """The candles that exist of one timeframe: Moscow dates of the first and the last, and how many."""

    timeframe: str
    first: dt.date
    last: dt.date
    rows: int


@dataclass(frozen=True)
class InstrumentRow:
    """An instrument under its code of today; *secids* are all its codes, oldest first."""

    instrument_id: int
    secid: str
    board: str
    shortname: str | None
    name: str | None
    isin: str | None
    type: str | None
    currency: str | None
    price_unit: PriceUnit | None
    decimals: int | None
    is_traded: bool | None
    secids: list[str]
    timeframes: list[Series]


@dataclass(frozen=True)
class CandlePage:
    """
    Candles, oldest first.

    Attributes:
        columns: Names of the columns, in order: `CANDLE_COLUMNS`.
        rows: One tuple per candle; `begin_at` in UTC.
        data_version: Version of the data that all rows belong to.
        published_at: When it was published; None before the first load.
        next_token: What to ask the next page with; None at the end.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    data_version: int
    published_at: dt.datetime | None
    next_token: str | None


@dataclass(frozen=True)
class Publication:
    """What readers see now: 0 and None before the first load."""

    data_version: int
    published_at: dt.datetime | None
    delta_version: int | None


def publication(conn: Connection[Any]) -> Publication:
    """Return which version of the data readers see."""
    with conn.cursor(row_factory=class_row(Publication)) as cursor:
        cursor.execute("SELECT data_version, published_at, delta_version FROM gold.publication")
        row = cursor.fetchone()
    if row is None:
        raise LakehouseError("gold.publication has no row: restore it, or start with an empty database")
    return row


def instruments(conn: Connection[Any], text: str | None = None, limit: int = 1_000) -> list[InstrumentRow]:
    """
    Find instruments by a text as one types it; all of them without one.

    Letter case does not matter. Best first: the code itself, a former code, codes that begin so, the ISIN, names with a
    word that begins so, then anything that contains the text; among equals those with candles, by code.
    """
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_INSTRUMENTS, {"text": (text or "").strip().lower(), "limit": limit}).fetchall()
    return [InstrumentRow(**{**row, "timeframes": _series(row["timeframes"])}) for row in rows]


def candles(
    conn: Connection[Any],
    secid: str,
    board: str | None,
    timeframe: Timeframe | str,
    from_: dt.date | None = None,
    till: dt.date | None = None,
    adjust: Adjust = "split",
    limit: int = DEFAULT_LIMIT,
    token: str | None = None,
) -> CandlePage:
    """
    Return a page of candles.

    Args:
        secid: Code of today or a former one.
        board: Main board of the instrument; None for whichever it is.
        from_: First Moscow date, inclusive; None for the beginning.
        till: Last Moscow date, inclusive; None for the end.
        adjust: `split` gives prices comparable with today's, `none` those of the day. SMA and RSI stand on adjusted
            closes; with `none` the SMA is brought back to the prices of the day, so that its line lies on the candles.
        limit: Rows of a page, 1 to 10,000.
        token: `next_token` of the page before.

    Raises:
        BadInput: for parameters that make no sense, an unknown secid, a wrong board or a foreign token.
        DataMoved: if a new version was published since the page before; start again without the token.
    """
    from_, till = from_ or FIRST_DATE, till or LAST_DATE
    timeframe = Timeframe.parse(timeframe)
    _check(from_, till, adjust, limit)
    query = f"{secid}|{board}|{timeframe}|{from_}|{till}|{adjust}"
    after = decode_token(token, query) if token else None
    parameters = {
        "secid": secid,
        "timeframe": timeframe.value,
        "from_at": day_start(from_),
        "till_at": day_start(till + dt.timedelta(days=1)),
        "after": after.begin_at if after else None,
        "limit": limit + 1,
    }
    # Ten numbers a row: as text they would be written there and read here
    answer = conn.execute(_CANDLES[adjust], parameters, binary=True).fetchall()
    version, published_at, found, main_board = answer[0][:4]
    _check_found(secid, board, found, main_board)
    if after and after.data_version != version:
        raise DataMoved(
            f"candles of {secid} {timeframe}: the data moved from version {after.data_version} to {version} "
            "between two pages; start again without the token"
        )
    rows = [row[4:] for row in answer if row[4] is not None]
    next_token = None
    if len(rows) > limit:
        rows = rows[:limit]
        next_token = encode_token(Position(version, rows[-1][0]), query)
    return CandlePage(CANDLE_COLUMNS, rows, version, published_at, next_token)


def _check(from_: dt.date, till: dt.date, adjust: str, limit: int) -> None:
    if adjust not in _CANDLES:
        raise BadInput(f"adjust {adjust!r} is not one of none, split")
    if not 1 <= limit <= MAX_LIMIT:
        raise BadInput(f"limit {limit} is not between 1 and {MAX_LIMIT:,}: ask for less, and for more pages")
    for name, date in (("from", from_), ("till", till)):
        if not FIRST_DATE <= date <= LAST_DATE:
            raise BadInput(f"{name} {date} does not lie between {FIRST_DATE} and {LAST_DATE}")
    if till < from_:
        raise BadInput(f"till {till} lies before from {from_}: swap them")


def _check_found(secid: str, board: str | None, found: str | None, main_board: str | None) -> None:
    if found is None:
        raise BadInput(f"{secid!r} is not a ticker that is loaded: look for it in /v1/instruments, or ingest it first")
    if board and board != main_board:
        raise BadInput(f"{secid} is published from its main board {main_board}, not from {board}")


def _series(items: list[dict[str, Any]]) -> list[Series]:
    order = [timeframe.value for timeframe in Timeframe]
    found = [
        Series(
            item["timeframe"], dt.date.fromisoformat(item["first"]), dt.date.fromisoformat(item["last"]), item["rows"]
        )
        for item in items
    ]
    return sorted(found, key=lambda series: order.index(series.timeframe))


_INSTRUMENTS: LiteralString = """
    WITH named AS (
        SELECT i.*, string_to_array(i.secids, ',') AS codes, %(text)s::text AS wanted,
            lower(i.secid) AS code, lower(coalesce(i.secids, i.secid)) AS all_codes,
            lower(coalesce(i.isin, '')) AS low_isin, lower(concat_ws(' ', i.shortname, i.name)) AS names
        FROM gold.dim_instrument i
    ), ranked AS (
        SELECT named.*, CASE
                WHEN wanted = '' THEN 0
                WHEN code = wanted THEN 0
                WHEN wanted = ANY(string_to_array(all_codes, ',')) THEN 1
                WHEN starts_with(code, wanted) THEN 2
                WHEN position(',' || wanted IN ',' || all_codes) > 0 THEN 3
                WHEN low_isin = wanted THEN 4
                WHEN position(' ' || wanted IN ' ' || names) > 0 THEN 5
                WHEN position(wanted IN all_codes || ' ' || low_isin || ' ' || names) > 0 THEN 6
            END AS rank
        FROM named
    )
    SELECT r.instrument_id, r.secid, r.board, r.shortname, r.name, r.isin, r.type, r.currency, r.price_unit,
        r.decimals, r.is_traded, coalesce(r.codes, ARRAY[r.secid]) AS secids,
        coalesce(s.timeframes, '[]') AS timeframes
    FROM ranked r LEFT JOIN LATERAL (
        SELECT jsonb_agg(
            jsonb_build_object('timeframe', timeframe, 'first', first_date, 'last', last_date, 'rows', rows)
        ) AS timeframes
        FROM gold.series WHERE instrument_id = r.instrument_id
    ) s ON true
    WHERE r.rank IS NOT NULL
    ORDER BY r.rank, s.timeframes IS NULL, r.secid, r.instrument_id
    LIMIT %(limit)s
"""

_RAW: LiteralString = """
    c.open, c.high, c.low, c.close, c.value, c.volume, c.is_final, c.split_factor, c.sma_20 / c.split_factor AS sma_20
"""
_ADJUSTED: LiteralString = """
    c.open * c.split_factor AS open, c.high * c.split_factor AS high, c.low * c.split_factor AS low,
    c.close * c.split_factor AS close, c.value, c.volume / c.split_factor AS volume, c.is_final, c.split_factor,
    c.sma_20
"""


def _candles_sql(columns: LiteralString) -> LiteralString:
    # The publication's row always comes: it carries the version, and the instrument where there are no candles
    return f"""
    SELECT p.data_version, p.published_at, i.secid, i.board, f.*
    FROM gold.publication p
    LEFT JOIN LATERAL (
        SELECT instrument_id, d.secid, d.board FROM gold.dim_instrument d
        WHERE %(secid)s = ANY(string_to_array(coalesce(d.secids, d.secid), ','))
        ORDER BY d.secid = %(secid)s DESC, d.is_traded DESC NULLS LAST, instrument_id LIMIT 1
    ) i ON true
    LEFT JOIN LATERAL (
        SELECT c.begin_at, c.trade_date, c.secid, {columns}, c.rsi_14
        FROM gold.fact_candle c
        WHERE c.instrument_id = i.instrument_id AND c.timeframe = %(timeframe)s
            AND c.begin_at >= %(from_at)s AND c.begin_at < %(till_at)s
            AND c.begin_at > coalesce(%(after)s::timestamptz, '-infinity')
        ORDER BY c.begin_at LIMIT %(limit)s
    ) f ON true
    ORDER BY f.begin_at
    """  # noqa: S608 - made of the two texts above


_CANDLES: dict[str, LiteralString] = {"none": _candles_sql(_RAW), "split": _candles_sql(_ADJUSTED)}
