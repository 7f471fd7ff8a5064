"""Candles and their borders."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from lakehouse.iss.blocks import NUMBER_OR_NULL, check_types, read_block
from lakehouse.iss.client import Answer, IssClient
from lakehouse.iss.errors import IssContractError, PagingBroken
from lakehouse.iss.pages import Page, check_span, key_column, segment
from lakehouse.market.instrument import Instrument
from lakehouse.market.timeframe import Timeframe

VALUES = ("open", "high", "low", "close", "value", "volume")
# The exchange never gives more, whatever is asked (ISS.md section 3).
PAGE_ROWS = 500
# The end proof of a window that ends where the series does.
SERIES_END = "last row of the series"
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
    client: IssClient, instrument: Instrument, timeframe: Timeframe, from_: dt.datetime, till: dt.date
) -> AsyncGenerator[Page, None]:
    """
    Yield the pages of candles that begin from *from_* (naive Moscow) to the end of *till*, oldest first, and the proof.

    No page proves that it is the last one: one that is short or empty may have lost its rows. So the row before the end
    is asked for again by its number, without an end: the answer must begin with the last row read, which proves that
    none was passed over, and go on beyond *till*, which proves that none follows. Where the series itself ends the
    answer is that row alone, and its proof is `SERIES_END`: the reader compares it with the border.

    Raises:
        PagingBroken: if pages repeat, overlap, lose rows, or leave the span that was asked.

    Source:
        https://iss.moex.com/iss/reference/46
    """
    asked = f"{from_:%Y-%m-%d %H:%M:%S}"
    start, last = 0, ""
    while True:
        name = f"{instrument} {timeframe} {from_:%Y-%m-%dT%H:%M}..{till}: the page from row {start}"
        page = await _candle_page(client, instrument, timeframe, from_, till, start)
        _check_order(name, page.keys, last)
        check_span(name, page.keys, asked, till)
        start, last = start + len(page.keys), page.keys[-1] if page.keys else last
        yield page
        if len(page.keys) >= PAGE_ROWS:
            continue
        shown = await _candle_page(client, instrument, timeframe, from_, None, max(0, start - 1))
        _check_shown(name, shown.keys, asked, last)
        follows = next(iter(shown.keys[1:] if last else shown.keys), "")
        if not follows or follows[:10] > till.isoformat():
            yield replace(shown, keys=(), is_proof=True, end_proof=f"next row {follows}" if follows else SERIES_END)
            return
        # Candles that came into being meanwhile, or the rest of a page that was cut
        if not page.keys:
            raise PagingBroken(f"{name} is empty, though {follows} follows")


async def fetch_candle_page(
    client: IssClient,
    instrument: Instrument,
    timeframe: Timeframe,
    from_: dt.datetime,
    till: dt.date | None,
    start: int,
) -> Answer:
    """
    Fetch up to 500 candles from row *start* on, to the newest if *till* is None.

    ``interval``: 1, 10, 60 minutes, 24 day, 7 week, 31 month, 4 quarter.

    Source:
        https://iss.moex.com/iss/reference/46
    """
    at_midnight = from_.time() == dt.time()
    parameters: dict[str, str | int] = {
        "iss.only": "candles",
        "interval": timeframe.interval,
        "from": f"{from_:%Y-%m-%d}" if at_midnight else f"{from_:%Y-%m-%d %H:%M:%S}",
        **({"till": till.isoformat()} if till else {}),
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


async def _candle_page(
    client: IssClient,
    instrument: Instrument,
    timeframe: Timeframe,
    from_: dt.datetime,
    till: dt.date | None,
    start: int,
) -> Page:
    answer = await fetch_candle_page(client, instrument, timeframe, from_, till, start)
    block = read_block(answer, "candles", (*VALUES, "begin", "end"))
    check_types(answer, block, VALUES, NUMBER_OR_NULL)
    return Page(answer, block, key_column(answer, block, "begin", 19))


def _check_order(page: str, keys: Sequence[str], last: str) -> None:
    """Two rows of one begin exist at the exchange (ISS.md section 7) and are Silver's to judge; going back is not."""
    if keys and keys[0] < last:
        raise PagingBroken(f"{page} begins at {keys[0]}, the page before ended at {last}: it was repeated or shifted")
    if list(keys) != sorted(keys):
        raise PagingBroken(f"{page} is not in the order of begin")


def _check_shown(page: str, keys: Sequence[str], asked: str, last: str) -> None:
    """Raise PagingBroken unless the rows shown behind the last page begin with its last row, if there was any."""
    if last and (not keys or keys[0] != last):
        shown = keys[0] if keys else "nothing"
        raise PagingBroken(f"{page} ends at {last}, by its number that row is {shown}: rows were lost or doubled")
    if keys and keys[0] < asked:
        raise PagingBroken(f"{page}: the row after it is {keys[0]}, asked was what begins from {asked}")
    if list(keys) != sorted(keys):
        raise PagingBroken(f"{page}: the rows after it are not in the order of begin")


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
