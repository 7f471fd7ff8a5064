"""Candles and their borders."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from lakehouse.iss.answer import Answer
from lakehouse.iss.blocks import NUMBER_OR_NULL, check_types, read_block
from lakehouse.iss.client import IssClient
from lakehouse.iss.errors import IssContractError, PagingBroken
from lakehouse.iss.pages import Page, check_span, key_column, segment
from lakehouse.market.instrument import Instrument
from lakehouse.market.timeframe import Timeframe

VALUES = ("open", "high", "low", "close", "value", "volume")
# The exchange never gives more, whatever is asked (docs/iss.md section 3).
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

    Every page is asked from the last row of the page before, by its number, and must begin with it: rows that were left
    out, doubled or moved show there. And no page proves that it is the last one, as one that is short or empty may have
    lost its rows: the proof is asked likewise, without an end, and must go on beyond *till*; of an empty span twice, as
    there is no row to begin with. Where the series itself ends there is the last row alone, and the proof is
    `SERIES_END`: the reader compares it with the border.

    Raises:
        PagingBroken: if pages repeat, overlap, lose rows, or leave the span that was asked.

    Source:
        https://iss.moex.com/iss/reference/46
    """
    span = (client, instrument, timeframe, from_)
    asked = f"{from_:%Y-%m-%d %H:%M:%S}"
    rows, last = 0, ""
    while True:
        name = f"{instrument} {timeframe} {from_:%Y-%m-%dT%H:%M}..{till}: the page from row {max(0, rows - 1)}"
        page = _after(name, last, await fetch_candle_page(*span, till, max(0, rows - 1)))
        check_span(name, page.keys, asked, till)
        rows, last = rows + len(page.keys), page.keys[-1] if page.keys else last
        yield page
        if len(page.keys) + page.overlap == PAGE_ROWS:
            continue
        shown = _after(f"{name}, to its proof,", last, await fetch_candle_page(*span, None, max(0, rows - 1)))
        follows = shown.keys[0] if shown.keys else ""
        if follows and follows < asked:
            raise PagingBroken(f"{name} is followed by {follows}, asked was what begins from {asked}")
        if not follows or follows[:10] > till.isoformat():
            if follows and not rows:
                _check_said_again(name, follows, await fetch_candle_page(*span, None, 0))
            proof = f"next row {follows}" if follows else SERIES_END
            yield Page(shown.answer, replace(shown.block, rows=()), (), proof, is_proof=True)
            return
        # Candles that came into being meanwhile, or the rest of a page that was cut
        if not page.keys:
            raise PagingBroken(f"{name} gives no more rows, though {follows} follows")


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


def _after(name: str, last: str, answer: Answer) -> Page:
    """
    Return what an answer gives beyond the row *last*, with which it must begin if there was one.

    Two rows of one begin exist at the exchange (docs/iss.md section 7) and are Silver's to judge; going back is not.
    """
    block = read_block(answer, "candles", (*VALUES, "begin", "end"))
    check_types(answer, block, VALUES, NUMBER_OR_NULL)
    keys = key_column(answer, block, "begin", 19)
    if last and (not keys or keys[0] != last):
        begins = f"begins with {keys[0]}" if keys else "is empty"
        raise PagingBroken(f"{name} {begins}, by its number its first row is {last}: rows were lost, doubled or moved")
    if len(keys) > PAGE_ROWS:
        raise PagingBroken(f"{name} has {len(keys)} rows, the exchange gives {PAGE_ROWS}: some are doubled")
    if keys != sorted(keys):
        raise PagingBroken(f"{name} is not in the order of begin")
    overlap = 1 if last else 0
    return Page(answer, replace(block, rows=block.rows[overlap:]), keys[overlap:], overlap=overlap)


def _check_said_again(name: str, follows: str, answer: Answer) -> None:
    """Raise PagingBroken unless a proof with no row to begin with says the same again: it may have passed over rows."""
    again = next(iter(_after(name, "", answer).keys), "nothing")
    if again != follows:
        raise PagingBroken(f"{name} is empty, and is followed by {follows}, when asked again by {again}")


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
