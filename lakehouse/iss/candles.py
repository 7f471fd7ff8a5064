"""Candles and their borders."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from lakehouse.iss.blocks import NUMBER_OR_NULL, check_types, read_block
from lakehouse.iss.client import Answer, IssClient
from lakehouse.iss.errors import IssContractError, PagingBroken
from lakehouse.iss.pages import Page, check_span, key_column, segment
from lakehouse.market.instrument import Instrument
from lakehouse.market.timeframe import Timeframe

VALUES = ("open", "high", "low", "close", "value", "volume")
# The exchange never gives more, whatever is asked (ISS.md section 3).
PAGE_ROWS = 500
BORDERS = {"borders": ("begin", "end", "interval")}
_LENGTH = {
    Timeframe.MINUTE: dt.timedelta(minutes=1),
    Timeframe.TEN_MINUTES: dt.timedelta(minutes=10),
    Timeframe.HOUR: dt.timedelta(hours=1),
}


@dataclass(frozen=True)
class Border:
    """The first and the last candle of a series, naive Moscow times as the exchange gives them."""

    begin: dt.datetime
    end: dt.datetime


async def candle_pages(
    client: IssClient,
    instrument: Instrument,
    timeframe: Timeframe,
    from_: dt.datetime,
    till: dt.date,
    border_end: Callable[[Answer], dt.datetime | None] = lambda answer: None,
) -> AsyncGenerator[Page, None]:
    """
    Yield the pages of candles that begin from *from_* (naive Moscow) to the end of *till*, oldest first.

    Args:
        border_end: Asked when a page is short: the end of the series as known on the day of that answer, or None. It
            spares the request for the empty page.

    Raises:
        PagingBroken: if pages repeat, overlap, lose rows in the middle, or leave the span that was asked.

    Source:
        https://iss.moex.com/iss/reference/46
    """
    start, page_rows, short, last = 0, 0, 0, ""
    while True:
        answer = await fetch_candle_page(client, instrument, timeframe, from_, till, start)
        block = read_block(answer, "candles", (*VALUES, "begin", "end"))
        check_types(answer, block, VALUES, NUMBER_OR_NULL)
        keys = key_column(answer, block, "begin", 19)
        name = f"{instrument} {timeframe} {from_:%Y-%m-%dT%H:%M}..{till}: the page from row {start}"
        if keys and short:
            raise PagingBroken(f"{name} follows a short page of {short} rows: rows were lost between them")
        _check_order(name, keys, last)
        check_span(name, keys, f"{from_:%Y-%m-%d %H:%M:%S}", till)
        page_rows = page_rows or len(keys)
        short = len(keys) if len(keys) < max(page_rows, PAGE_ROWS) else 0
        end = border_end(answer) if short else None
        proof = _end_proof(keys, timeframe, end)
        yield Page(answer, block, keys, proof)
        if proof:
            return
        start, last = start + len(keys), keys[-1]


async def fetch_candle_page(
    client: IssClient, instrument: Instrument, timeframe: Timeframe, from_: dt.datetime, till: dt.date, start: int
) -> Answer:
    """
    Fetch up to 500 candles from row *start* on. ``interval``: 1, 10, 60 minutes, 24 day, 7 week, 31 month, 4 quarter.

    Source:
        https://iss.moex.com/iss/reference/46
    """
    at_midnight = from_.time() == dt.time()
    parameters: dict[str, str | int] = {
        "iss.only": "candles",
        "interval": timeframe.interval,
        "from": f"{from_:%Y-%m-%d}" if at_midnight else f"{from_:%Y-%m-%d %H:%M:%S}",
        "till": till.isoformat(),
        "start": start,
    }
    return await client.get(f"{_board_path(instrument)}/candles.json", parameters)


async def fetch_borders(client: IssClient, instrument: Instrument) -> Answer:
    """
    Fetch the first and last candle of every interval on the instrument's board.

    Source:
        https://iss.moex.com/iss/reference/48
    """
    answer = await client.get(f"{_board_path(instrument)}/candleborders.json", {"iss.only": "borders"})
    read_block(answer, "borders", BORDERS["borders"])
    return answer


def parse_borders(answer: Answer) -> dict[Timeframe, Border]:
    """Return the border of every timeframe that has candles; an interval that we do not know is passed over."""
    by_interval = {timeframe.interval: timeframe for timeframe in Timeframe}
    return {
        by_interval[row["interval"]]: Border(_moment(answer, row["begin"]), _moment(answer, row["end"]))
        for row in read_block(answer, "borders", BORDERS["borders"]).records()
        if row["interval"] in by_interval and row["begin"] is not None and row["end"] is not None
    }


def reaches(timeframe: Timeframe, begin: dt.datetime, border_end: dt.datetime) -> bool:
    """Return whether the series ends in the candle that starts at *begin* (a border may be given as a begin)."""
    if length := _LENGTH.get(timeframe):
        return begin + length > border_end
    return timeframe.period_start(begin.date()) >= timeframe.period_start(border_end.date())


def _check_order(page: str, keys: Sequence[str], last: str) -> None:
    """Two rows of one begin exist at the exchange (ISS.md section 7) and are Silver's to judge; going back is not."""
    if keys and keys[0] <= last:
        raise PagingBroken(f"{page} begins at {keys[0]}, the page before ended at {last}: it was repeated or shifted")
    if keys != sorted(keys):
        raise PagingBroken(f"{page} is not in the order of begin")


def _end_proof(keys: Sequence[str], timeframe: Timeframe, end: dt.datetime | None) -> str:
    """Return why the page is the last one, if it is; *end* is where the series ends, given for a short page only."""
    if not keys:
        return "empty page"
    if end and reaches(timeframe, dt.datetime.fromisoformat(keys[-1]), end):
        return "short page at the border"
    return ""


def _board_path(instrument: Instrument) -> str:
    return (
        f"/engines/{segment(instrument.engine)}/markets/{segment(instrument.market)}"
        f"/boards/{segment(instrument.board)}/securities/{segment(instrument.secid)}"
    )


def _moment(answer: Answer, text: object) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(str(text))
    except ValueError as error:
        raise IssContractError(f"{answer.url}: a border is {text!r}, expected a date and a time", answer) from error
