"""Tables of the exchange that change rarely: asked once on each day of the exchange, and kept as Bronze objects."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from psycopg import Connection

from lakehouse.bronze.context import FetchContext
from lakehouse.bronze.landing import exchange_of, keep_rejected, land
from lakehouse.bronze.ledger import LedgerObject, card_of_first_candles, newest
from lakehouse.bronze.objects import Exchange, Trailer, decode_object
from lakehouse.bronze.window import EVER, Series, Window, settled_date
from lakehouse.database.outage import shared
from lakehouse.iss import candles, reference, securities
from lakehouse.iss.answer import Answer
from lakehouse.iss.blocks import Block, read_block
from lakehouse.iss.client import IssClient
from lakehouse.iss.errors import IssContractError
from lakehouse.market.errors import BadInput
from lakehouse.market.instrument import Instrument, parse_secid
from lakehouse.market.renames import Chain, Rename, rename_chains
from lakehouse.storage.store import open_store

# The exchange's history goes back to here (docs/iss.md section 6).
CALENDAR_FROM = dt.date(1997, 1, 1)


@dataclass(frozen=True)
class Reading:
    """
    A reference table, read on the exchange's today.

    Attributes:
        blocks: By name; rows of all pages together.
        was_fetched: Whether the exchange was asked; otherwise an object of the same day was read.
    """

    answers: Sequence[Answer]
    blocks: Mapping[str, Block]
    fetched_at: dt.datetime
    object_key: str
    was_fetched: bool


@dataclass(frozen=True)
class _Family:
    fetch: Callable[[IssClient, Series, dt.datetime], Awaitable[list[Answer]]]
    required: Mapping[str, tuple[str, ...]]


def exchange_now(context: FetchContext) -> dt.datetime:
    """Return the exchange's time, UTC, by one light request."""

    async def ask() -> Answer:
        async with context.client() as client:
            return await client.get("/engines/stock.json", {"iss.only": "engine"})

    return asyncio.run(ask()).fetched_at


def read_reference(
    context: FetchContext,
    family: str,
    *,
    engine: str = "",
    market: str = "",
    board: str = "",
    secid: str = "",
    now: dt.datetime | None = None,
) -> Reading:
    """
    Return the tables of a reference *family*: securities, borders, splits, changeover, timetable or calendar.

    Args:
        now: The exchange's time; asked for if not given. An object fetched on its day is read, otherwise one is landed.

    Raises:
        IssError: if the exchange must be asked and does not answer as it should.
    """
    series = Series(family, engine, market, board, secid)
    now = now or exchange_now(context)
    known = shared(context.dsn, "lakehouse_app").run(lambda conn: newest(conn, series))
    if known and settled_date(known.fetched_at) == settled_date(now):
        return _read(context, known)
    with context.connect() as conn:
        return _fetch(context, conn, series, now)


def stored_blocks(
    store_url: str, store_options: Mapping[str, str], family: str, object_key: str
) -> Mapping[str, Block]:
    """Return the tables that an object of a reference *family* holds."""
    exchanges = decode_object(open_store(store_url, store_options).get(object_key)).exchanges
    return _blocks(family, [answer_of(exchange) for exchange in exchanges])


def resolve_instrument(
    context: FetchContext,
    secid: str,
    now: dt.datetime | None = None,
    *,
    board: str | None = None,
    like: Instrument | None = None,
) -> Instrument:
    """
    Return the security *secid* on *board*, or else on its primary board.

    Args:
        like: Whose board counts where the card names no single primary board: that of the code's successor.

    Raises:
        BadInput: if there can be no such code, the exchange does not know it, or it is not said on which board.
    """
    unknown = BadInput(f"the exchange does not know {secid!r}: use its SECID, such as SBER, T or RU000A0JX0J2")
    try:
        card = read_reference(context, "securities", secid=parse_secid(secid), now=now)
    except IssContractError as error:
        if error.answer is not None and error.answer.status == 404:
            raise unknown from error
        raise
    boards = [row for row in card.blocks["boards"].records() if row["engine"] and row["market"]]
    if not boards:
        raise unknown
    row = _board_of(secid, boards, board, like)
    return Instrument(row["engine"], row["market"], row["boardid"], row["secid"])


def was_primary(context: FetchContext, instrument: Instrument) -> bool:
    """Return whether the instrument's board was its primary one when candles of it were first read."""
    card = shared(context.dsn, "lakehouse_app").run(lambda conn: card_of_first_candles(conn, instrument))
    boards = _read(context, card).blocks["boards"].records() if card else []
    place = (instrument.engine, instrument.market, instrument.board)
    return any(row["is_primary"] and (row["engine"], row["market"], row["boardid"]) == place for row in boards)


def _board_of(
    secid: str, boards: Sequence[Mapping[str, Any]], board: str | None, like: Instrument | None
) -> Mapping[str, Any]:
    if board:
        named = [row for row in boards if row["boardid"].upper() == board.upper()]
        if not named:
            raise BadInput(f"{secid} is not traded on {board}: its boards are {_named(secid, boards)}")
        return named[0]
    candidates = [row for row in boards if row["is_primary"]] or list(boards)
    same = [row for row in candidates if like and row["boardid"] == like.board]
    if len(candidates) > 1 and len(same) != 1:
        count = sum(bool(row["is_primary"]) for row in boards) or "no"
        raise BadInput(f"{secid} has {count} primary boards: say which one is meant, as {_named(secid, candidates)}")
    return (same or candidates)[0]


def _named(secid: str, boards: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{secid}@{row['boardid']} ({row['engine']}/{row['market']})" for row in boards)


def read_renames(context: FetchContext, engine: str, market: str, now: dt.datetime | None = None) -> list[Chain]:
    """Return the chains of codes of a market; the exchange knows technical renames only."""
    table = read_reference(context, "changeover", engine=engine, market=market, now=now)
    return rename_chains(rename for row in table.blocks["changeover"].records() if (rename := _rename(row)))


def _rename(row: Mapping[str, Any]) -> Rename | None:
    """Return a row of changeover; None for one that Silver puts into quarantine."""
    try:
        date = dt.date.fromisoformat(row["action_date"])
    except (TypeError, ValueError):
        return None
    return Rename(date, row["old_secid"], row["new_secid"]) if row["old_secid"] and row["new_secid"] else None


async def _fetch_card(client: IssClient, series: Series, now: dt.datetime) -> list[Answer]:
    return [await securities.fetch_security(client, series.secid)]


async def _fetch_borders(client: IssClient, series: Series, now: dt.datetime) -> list[Answer]:
    return [await candles.fetch_borders(client, series.instrument)]


async def _fetch_splits(client: IssClient, series: Series, now: dt.datetime) -> list[Answer]:
    return await reference.fetch_splits(client, series.engine)


async def _fetch_changeover(client: IssClient, series: Series, now: dt.datetime) -> list[Answer]:
    return await reference.fetch_changeover(client, series.engine, series.market)


async def _fetch_timetable(client: IssClient, series: Series, now: dt.datetime) -> list[Answer]:
    return await reference.fetch_timetable(client, series.engine)


async def _fetch_calendar(client: IssClient, series: Series, now: dt.datetime) -> list[Answer]:
    till = settled_date(now).replace(month=12, day=31)
    return await reference.fetch_calendar(client, series.engine, CALENDAR_FROM, till)


_FAMILIES = {
    "securities": _Family(_fetch_card, securities.CARD),
    "borders": _Family(_fetch_borders, candles.BORDERS),
    "splits": _Family(_fetch_splits, reference.SPLITS),
    "changeover": _Family(_fetch_changeover, reference.CHANGEOVER),
    "timetable": _Family(_fetch_timetable, reference.TIMETABLE),
    "calendar": _Family(_fetch_calendar, reference.CALENDAR),
}


def _read(context: FetchContext, known: LedgerObject) -> Reading:
    answers = [answer_of(exchange) for exchange in decode_object(context.store().get(known.object_key)).exchanges]
    return Reading(answers, _blocks(known.family, answers), known.fetched_at, known.object_key, was_fetched=False)


def _fetch(context: FetchContext, conn: Connection, series: Series, now: dt.datetime) -> Reading:
    async def ask() -> list[Answer]:
        async with context.client() as client:
            return await _FAMILIES[series.family].fetch(client, series, now)

    window = Window(series, dt.datetime.combine(EVER, dt.time()), settled_date(now))
    try:
        answers = asyncio.run(ask())
    except IssContractError as error:
        is_unknown_code = series.family == "securities" and error.answer is not None and error.answer.status == 404
        if error.answer is not None and not is_unknown_code:
            keep_rejected(context, window, error.answer)
        raise
    blocks = _blocks(series.family, answers)
    if series.family == "securities" and not blocks["boards"].rows:
        # A code that the exchange does not know leaves no object: it may be listed tomorrow, or later today.
        return Reading(answers, blocks, answers[0].fetched_at, "", was_fetched=True)
    rows = sum(len(block.rows) for block in blocks.values())
    trailer = Trailer(window, answers[0].fetched_at, rows, len(answers), "all in one answer", complete=True)
    key = land(context, conn, map(exchange_of, answers), trailer)
    return Reading(answers, blocks, trailer.fetched_at, key, was_fetched=True)


def answer_of(exchange: Exchange) -> Answer:
    """Return the answer that Bronze kept."""
    document: Any = orjson.loads(exchange.body)
    return Answer(exchange.url, exchange.status, exchange.headers, exchange.fetched_at, exchange.body, document)


def _blocks(family: str, answers: Sequence[Answer]) -> dict[str, Block]:
    blocks: dict[str, Block] = {}
    for name, required in _FAMILIES[family].required.items():
        pages = [read_block(answer, name, required) for answer in answers]
        blocks[name] = Block(name, pages[0].columns, [row for page in pages for row in page.rows])
    return blocks
