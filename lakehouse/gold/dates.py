"""The trading calendar as a dimension."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from lakehouse.market.timeframe import Timeframe

ENGINE = "stock"
# Of longer ones the first date need not be one of trading
SHOWS_TRADING = tuple(timeframe for timeframe in Timeframe if timeframe.is_intraday or timeframe is Timeframe.DAY)


def list_dates(calendar: Iterable[Mapping[str, Any]], candle_dates: Iterable[dt.date]) -> list[dict[str, Any]]:
    """
    Return the rows of dim_date.

    Args:
        calendar: Current rows of silver.calendar; the stock market's count.
        candle_dates: Dates on which there are candles: days of trading where the calendar is silent.
    """
    said = {row["trade_date"]: row for row in calendar if row["engine"] == ENGINE and row["is_traded"] is not None}
    traded = {"is_traded": True, "reason": None}
    return [_row(date, said.get(date, traded)) for date in sorted({*said, *candle_dates})]


def _row(date: dt.date, said: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "trade_date": date,
        "is_traded": said["is_traded"],
        "reason": said["reason"],
        "year": date.year,
        "quarter": (date.month + 2) // 3,
        "month": date.month,
        "week_day": date.isoweekday(),
    }
