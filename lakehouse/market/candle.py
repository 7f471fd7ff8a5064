"""The tables of Silver and Gold."""

from __future__ import annotations

from lakehouse.market.table import Column, Table

_MONEY = "instrument currency"
# A bond's is without accrued interest, which buyers pay on top
_PRICE = "instrument currency; of bonds % of face value (clean); of indices and futures points"


def _required(name: str, type_: str, meaning: str, unit: str = "") -> Column:
    return Column(name, type_, meaning, unit, nullable=False)  # type: ignore[arg-type]


_SERIES = (
    _required("engine", "string", "trading system, as ISS names it: stock, futures, currency"),
    _required("market", "string", "market of the engine: shares, bonds, index"),
    _required("board", "string", "trading board: TQBR, TQTF, SNDX"),
    _required("secid", "string", "the exchange's code of the security on that day"),
)
_VERSION = (
    _required("known_from", "timestamp", "when the exchange first gave us these values; 1970-01-01 of uploads"),
    Column("known_till", "timestamp", "when other values, or none, replaced them; NULL while current"),
    _required("source", "string", "Bronze object and line of the row: key#line"),
)
_PRICES = (
    Column("open", "double", "price of the first trade", _PRICE),
    Column("high", "double", "highest price", _PRICE),
    Column("low", "double", "lowest price", _PRICE),
    Column("close", "double", "price of the last trade", _PRICE),
    Column("value", "double", "turnover", _MONEY),
    Column("volume", "double", "traded quantity; NULL or 0 for an index", "securities"),
)
_OHLCV = ("open", "high", "low", "close", "value", "volume")

CANDLES = Table(
    "silver.candles",
    "Every version of every candle the exchange gave. The bare name in SQL is the current view.",
    (
        *_SERIES,
        _required("timeframe", "string", "1m, 10m, 1h, 1d, 1w, 1mo or 1q"),
        _required("begin_at", "timestamp", "start of the candle", "UTC"),
        _required("trade_date", "date", "Moscow date of the start"),
        *_PRICES,
        Column("end_at", "timestamp", "last update by the exchange's builder; not a boundary", "UTC"),
        _required(
            "is_final",
            "boolean",
            "whether its last session was over and settled when it was read",
        ),
        *_VERSION,
        _required("bucket", "string", "partition: month for 1m, year for 10m and 1h, else all"),
    ),
    key=("engine", "market", "board", "secid", "timeframe", "begin_at"),
    values=_OHLCV,
    partition_by=("timeframe", "bucket"),
)

HISTORY = Table(
    "silver.history",
    "Every version of the end-of-day rows, one per board and trading date; a day without trades has NULL prices.",
    (
        *_SERIES,
        _required("trade_date", "date", "Moscow trading date"),
        *_PRICES,
        Column("trades", "double", "number of trades", "trades"),
        Column("legal_close", "double", "official closing price", _PRICE),
        Column("waprice", "double", "weighted average price", _PRICE),
        *_VERSION,
    ),
    key=("engine", "market", "board", "secid", "trade_date"),
    values=(*_OHLCV, "trades", "legal_close", "waprice"),
)

INSTRUMENTS = Table(
    "silver.instruments",
    "Every version of a security's card on each of its boards.",
    (
        *_SERIES,
        Column("shortname", "string", "short name"),
        Column("name", "string", "full name"),
        Column("isin", "string", "ISIN"),
        Column("type", "string", "security type of the exchange: common_share, stock_index"),
        Column(
            "currency", "string", "currency of turnover, and of prices that are money; RUB where the exchange says SUR"
        ),
        Column("decimals", "int", "decimals of a price"),
        Column("is_traded", "boolean", "whether it trades on this board now"),
        Column("is_primary", "boolean", "whether this is the security's main board"),
        Column("history_from", "date", "first date of history on this board"),
        Column("history_till", "date", "last date of history on this board"),
        *_VERSION,
    ),
    key=("engine", "market", "board", "secid"),
    values=("shortname", "name", "isin", "type", "currency", "decimals", "is_traded", "is_primary", "history_from"),
)

SPLITS = Table(
    "silver.splits",
    "Every version of splits and consolidations; prices before the date are multiplied by before / after. It is the "
    "exchange's list, and what an administrator added to it (`lakehouse splits`): `iss/added_splits/` in `source`.",
    (
        _required("engine", "string", "trading system"),
        _required("secid", "string", "code of the security"),
        _required("trade_date", "date", "first trading date after the split"),
        Column("before", "double", "securities before", "securities"),
        Column("after", "double", "securities after", "securities"),
        *_VERSION,
    ),
    key=("engine", "secid", "trade_date"),
    values=("before", "after"),
)

RENAMES = Table(
    "silver.renames",
    "Every version of changes of a security's code.",
    (
        _required("engine", "string", "trading system"),
        _required("market", "string", "market of the engine"),
        _required("old_secid", "string", "code until the action date"),
        _required("new_secid", "string", "code after it"),
        _required("action_date", "date", "date of the change"),
        *_VERSION,
    ),
    key=("engine", "market", "old_secid", "new_secid", "action_date"),
)

CALENDAR = Table(
    "silver.calendar",
    "Every version of the trading calendar, weekends included.",
    (
        _required("engine", "string", "trading system"),
        _required("trade_date", "date", "Moscow date"),
        Column("is_traded", "boolean", "whether there is trading on this date"),
        Column("reason", "string", "why not or why unusual: H holiday, W weekend, T or N transferred"),
        *_VERSION,
    ),
    key=("engine", "trade_date"),
    values=("is_traded", "reason"),
)

QUARANTINE = Table(
    "silver.quarantine",
    "Rows that broke a rule, as received; admins alone see them.",
    (
        _required("family", "string", "ISS family: candles, history"),
        *_SERIES,
        Column("timeframe", "string", "timeframe of a candle"),
        _required("rule", "string", "name of the broken rule"),
        _required("payload", "string", "the row as received, a JSON object"),
        _required("source", "string", "Bronze object and line: key#line"),
        _required("fetched_at", "timestamp", "when the object was fetched", "UTC"),
    ),
    key=("source",),
)

DIM_INSTRUMENT = Table(
    "gold.dim_instrument",
    "One row per instrument, all its codes joined.",
    (
        _required("instrument_id", "long", "identity across renames (market/instrument.py)"),
        _required("secid", "string", "code today"),
        _required("engine", "string", "trading system"),
        _required("market", "string", "market of the engine"),
        _required("board", "string", "main board; candles from before it became that are of the former one"),
        Column("secids", "string", "all codes, oldest first, separated by commas"),
        Column("shortname", "string", "short name"),
        Column("name", "string", "full name"),
        Column("isin", "string", "ISIN"),
        Column("type", "string", "security type of the exchange"),
        Column("currency", "string", "currency of turnover, and of prices that are money"),
        Column("decimals", "int", "decimals of a price"),
        Column("is_traded", "boolean", "whether it trades now"),
        Column("price_unit", "string", "currency, percent (of face value, without accrued interest) or points"),
    ),
    key=("instrument_id",),
)

DIM_DATE = Table(
    "gold.dim_date",
    "One row per calendar date.",
    (
        _required("trade_date", "date", "Moscow date"),
        _required("is_traded", "boolean", "whether the stock market trades on this date"),
        Column("reason", "string", "why not or why unusual"),
        _required("year", "int", "year"),
        _required("quarter", "int", "quarter of the year, 1-4"),
        _required("month", "int", "month, 1-12"),
        _required("week_day", "int", "ISO weekday, Monday = 1"),
    ),
    key=("trade_date",),
)

FACT_CANDLE = Table(
    "gold.fact_candle",
    "Current candles with split factor and indicators. Prices are raw; adjusted = price * split_factor. A week, month "
    "or quarter in which a code was renamed, or the main board changed, is one candle of both codes or boards; one in "
    "which a split fell is made from its days, in the units of its end: unless all its days are held, its open, high, "
    "low and volume are NULL.",
    (
        _required("instrument_id", "long", "key of dim_instrument"),
        _required("timeframe", "string", "1m, 10m, 1h, 1d, 1w, 1mo or 1q"),
        _required("begin_at", "timestamp", "start of the candle", "UTC"),
        _required("trade_date", "date", "Moscow date of the start"),
        _required("secid", "string", "code of the security on that day"),
        *_PRICES,
        _required(
            "is_final",
            "boolean",
            "whether its last session was over and settled when it was read",
        ),
        _required(
            "split_factor", "double", "multiplier of prices (divisor of volume) that makes them comparable today"
        ),
        Column("sma_20", "double", "mean of the last 20 adjusted closes; NULL for the first 19", _PRICE),
        Column("rsi_14", "double", "Wilder's RSI of adjusted closes, 14 changes; NULL for the first 14", "0-100"),
        _required("bucket", "string", "partition: month for 1m, year for 10m and 1h, else all"),
    ),
    key=("instrument_id", "timeframe", "begin_at"),
    partition_by=("timeframe", "bucket"),
)

SILVER = (CANDLES, HISTORY, INSTRUMENTS, SPLITS, RENAMES, CALENDAR)
GOLD = (DIM_INSTRUMENT, DIM_DATE, FACT_CANDLE)
