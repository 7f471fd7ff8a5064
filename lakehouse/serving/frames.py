"""
Candles for a program: many instruments at once, as one Arrow table.

PostgreSQL joins each column to one value, the bytes of all its numbers, and NumPy reads those where they lie. Row by
row (COPY) takes as long, but keeps this process, which serves the pages, busy for twice the time.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import Connection
from psycopg.errors import QueryCanceled

from lakehouse.database.connection import one_moment
from lakehouse.market.errors import BadInput
from lakehouse.market.instrument import parse_secid
from lakehouse.market.moscow import day_start
from lakehouse.market.timeframe import Timeframe
from lakehouse.serving.queries import FIRST_DATE, LAST_DATE, Adjust

MAX_ROWS = 1_000_000
MAX_INSTRUMENTS = 50
TIMEOUT_S = 30  # of one statement

_DOUBLES = ("open", "high", "low", "close", "value", "volume", "split_factor", "sma_20", "rsi_14")
_EPOCH_US = 946_684_800_000_000  # 2000-01-01, from which PostgreSQL counts
Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Selection:
    """Which candles: codes of instruments, one timeframe, Moscow dates (inclusive, None: open), prices."""

    secids: tuple[str, ...]
    timeframe: Timeframe
    from_: dt.date | None
    till: dt.date | None
    adjust: Adjust

    @classmethod
    def parse(cls, secids: object, timeframe: object, from_: object, till: object, adjust: object) -> Selection:
        """Return what a form or a script asked for; raise BadInput saying what is wrong with it."""
        if not isinstance(secids, list) or not all(isinstance(secid, str) for secid in secids):
            raise BadInput("instruments: must be a list of tickers, such as SBER")
        codes = tuple(dict.fromkeys(parse_secid(secid) for secid in secids[: MAX_INSTRUMENTS + 1]))
        if not 1 <= len(codes) <= MAX_INSTRUMENTS:
            raise BadInput(f"instruments: choose 1 to {MAX_INSTRUMENTS}")
        first, last = _date("from", from_), _date("till", till)
        if first and last and last < first:
            raise BadInput(f"till {last} lies before from {first}: swap them")
        if adjust == "none" or adjust == "split":
            return cls(codes, Timeframe.parse(str(timeframe)), first, last, adjust)
        raise BadInput("prices: must be split (adjusted) or none (raw)")

    def document(self) -> dict[str, Any]:
        """Return the selection as JSON has it."""
        return {
            "instruments": list(self.secids),
            "timeframe": self.timeframe.value,
            "from": self.from_ and self.from_.isoformat(),
            "till": self.till and self.till.isoformat(),
            "adjust": self.adjust,
        }

    def __str__(self) -> str:
        shown = ", ".join(self.secids[:5]) + (f" and {len(self.secids) - 5} more" if len(self.secids) > 5 else "")
        return f"{shown} {self.timeframe}"


@dataclass(frozen=True)
class Frame:
    """
    The candles of a selection as one Arrow IPC file, by instrument in the order chosen, oldest first.

    Columns: secid (dictionary; the code of today), begin_at (UTC), trade_date (midnight of the Moscow date), open,
    high, low, close, value, volume, is_final, split_factor, sma_20, rsi_14. What the exchange does not have is NaN.
    """

    arrow: pa.Buffer = field(repr=False)
    rows: int
    data_version: int
    sha256: str


def load_frame(conn: Connection[Any], selection: Selection) -> Frame:
    """
    Return the candles of a selection, all of one version of the data.

    Raises:
        BadInput: for an instrument that is not loaded, no candles at all, or more than `MAX_ROWS`.
    """
    try:
        with one_moment(conn):
            conn.execute(f"SET LOCAL statement_timeout = '{TIMEOUT_S}s'")
            version, instruments = _resolve(conn, selection.secids)
            parts = _read_all(conn, list(instruments), selection)
    except QueryCanceled:
        raise BadInput(f"{selection}: reading took over {TIMEOUT_S} s; choose less, or try again later") from None
    if not any(len(part["begin_at"]) for part in parts):
        span = f"between {selection.from_ or 'the first day'} and {selection.till or 'now'}"
        raise BadInput(f"{selection} has no candles {span}: choose other dates, or ingest them first")
    table = _table(parts, list(instruments.values()), selection.adjust)
    arrow = _ipc_file(table)
    return Frame(arrow, table.num_rows, version, hashlib.sha256(arrow).hexdigest())


def data_version(conn: Connection[Any]) -> int:
    """Return which version of the data a frame would have now."""
    row = conn.execute("SELECT data_version FROM gold.publication").fetchone()
    return int(row[0]) if row else 0


def _resolve(conn: Connection[Any], secids: Sequence[str]) -> tuple[int, dict[int, str]]:
    """Return the version of the data, and the code of today by instrument, in the order chosen."""
    rows = conn.execute(_INSTRUMENTS, {"secids": list(secids)}).fetchall()
    if missing := [wanted for _, wanted, instrument_id, _ in rows if instrument_id is None]:
        raise BadInput(f"{', '.join(missing)}: no such ticker is loaded; choose others, or ingest it first")
    return rows[0][0], {instrument_id: secid for _, _, instrument_id, secid in rows}


def _read_all(conn: Connection[Any], instruments: list[int], selection: Selection) -> list[Columns]:
    parts: list[Columns] = []
    left = MAX_ROWS
    for instrument_id in instruments:
        parts.append(_read(conn, instrument_id, selection, left + 1))
        left -= len(parts[-1]["begin_at"])
        if left < 0:
            raise BadInput(
                f"{selection} has {_count(conn, instruments, selection):,} candles, and an analysis takes "
                f"{MAX_ROWS:,}: choose fewer instruments, fewer dates or a longer timeframe"
            )
    return parts


def _read(conn: Connection[Any], instrument_id: int, selection: Selection, limit: int) -> Columns:
    values = {"instrument_id": instrument_id, "limit": limit, **_bounds(selection)}
    with conn.cursor(binary=True) as cursor:
        row = cursor.execute(_CANDLES, values).fetchone()
    if row is None:
        raise RuntimeError("an aggregate gave no row")
    begin_at, is_final, *doubles = (value or b"" for value in row)
    return {
        "begin_at": np.frombuffer(begin_at, ">i8"),
        "is_final": np.frombuffer(is_final, np.bool_),
        **{name: np.frombuffer(value, ">f8") for name, value in zip(_DOUBLES, doubles, strict=True)},
    }


def _count(conn: Connection[Any], instruments: list[int], selection: Selection) -> int:
    row = conn.execute(_COUNT, {"instruments": instruments, **_bounds(selection)}).fetchone()
    return int(row[0]) if row else 0


def _bounds(selection: Selection) -> dict[str, Any]:
    return {
        "timeframe": selection.timeframe.value,
        "from_at": day_start(selection.from_ or FIRST_DATE),
        "till_at": day_start((selection.till or LAST_DATE) + dt.timedelta(days=1)),
    }


def _table(parts: list[Columns], secids: list[str], adjust: Adjust) -> pa.Table:
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    codes = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part["begin_at"]) for part in parts])
    instants = (rows["begin_at"].astype(np.int64) + _EPOCH_US) * 1000
    begin_at = pa.array(instants).cast(pa.timestamp("ns", "UTC"))
    moscow = pc.local_timestamp(begin_at.cast(pa.timestamp("ns", "Europe/Moscow")))
    doubles = _adjusted({name: rows[name].astype(np.float64) for name in _DOUBLES}, adjust)
    columns = {
        "secid": pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(secids)),
        "begin_at": begin_at,
        "trade_date": pc.floor_temporal(moscow, unit="day"),
        **{name: pa.array(doubles[name]) for name in _DOUBLES[:6]},
        "is_final": pa.array(rows["is_final"]),
        **{name: pa.array(doubles[name]) for name in _DOUBLES[6:]},
    }
    return pa.table(columns)


def _adjusted(values: dict[str, npt.NDArray[np.float64]], adjust: Adjust) -> dict[str, npt.NDArray[np.float64]]:
    """Return prices as asked for: the store holds them raw, and its mean of closes adjusted."""
    factor = values["split_factor"]
    if adjust == "none":
        return {**values, "sma_20": values["sma_20"] / factor}
    prices = {name: values[name] * factor for name in ("open", "high", "low", "close")}
    return {**values, **prices, "volume": values["volume"] / factor}


def _ipc_file(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _date(name: str, text: object) -> dt.date | None:
    if text is None or (isinstance(text, str) and not text.strip()):
        return None
    try:
        date = dt.date.fromisoformat(text.strip() if isinstance(text, str) else "")
    except ValueError:
        raise BadInput(f"{name}: there is no day {str(text)[:20]}; write YYYY-MM-DD") from None
    if not FIRST_DATE <= date <= LAST_DATE:
        raise BadInput(f"{name} {date} does not lie between {FIRST_DATE} and {LAST_DATE}")
    return date


_INSTRUMENTS: LiteralString = """
    SELECT p.data_version, w.secid AS wanted, i.instrument_id, i.secid
    FROM gold.publication p
    CROSS JOIN unnest(%(secids)s::text[]) WITH ORDINALITY AS w(secid, place)
    LEFT JOIN LATERAL (
        SELECT instrument_id, d.secid FROM gold.dim_instrument d
        WHERE w.secid = ANY(string_to_array(coalesce(d.secids, d.secid), ','))
        ORDER BY d.secid = w.secid DESC, d.is_traded DESC NULLS LAST, instrument_id LIMIT 1
    ) i ON true
    ORDER BY w.place
"""

# The sorted rows are joined in their order: nothing stands between the two
_CANDLES: LiteralString = """
    SELECT string_agg(timestamptz_send(begin_at), ''), string_agg(boolsend(is_final), ''),
        string_agg(float8send(coalesce(open, 'NaN')), ''), string_agg(float8send(coalesce(high, 'NaN')), ''),
        string_agg(float8send(coalesce(low, 'NaN')), ''), string_agg(float8send(coalesce(close, 'NaN')), ''),
        string_agg(float8send(coalesce(value, 'NaN')), ''), string_agg(float8send(coalesce(volume, 'NaN')), ''),
        string_agg(float8send(split_factor), ''), string_agg(float8send(coalesce(sma_20, 'NaN')), ''),
        string_agg(float8send(coalesce(rsi_14, 'NaN')), '')
    FROM (
        SELECT * FROM gold.fact_candle
        WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s
            AND begin_at >= %(from_at)s AND begin_at < %(till_at)s
        ORDER BY begin_at LIMIT %(limit)s
    ) candles
"""

_COUNT: LiteralString = """
    SELECT count(*) FROM gold.fact_candle
    WHERE instrument_id = ANY(%(instruments)s) AND timeframe = %(timeframe)s
        AND begin_at >= %(from_at)s AND begin_at < %(till_at)s
"""
