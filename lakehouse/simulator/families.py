"""ISS's families: which path asks for what, and the blocks of its answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from lakehouse.simulator import reference
from lakehouse.simulator.answer import Block, columns
from lakehouse.simulator.board import board_blocks
from lakehouse.simulator.book import CandleBook, Span
from lakehouse.simulator.clock import Clock, from_seconds
from lakehouse.simulator.history import INDEX, SHARES, HistoryRows, HistoryText
from lakehouse.simulator.periods import DAY, period_start_of
from lakehouse.simulator.protocol import Exchange
from lakehouse.simulator.query import Query
from lakehouse.simulator.security import ENGINE, Security

_CANDLES = columns("open close high low value volume begin:datetime end:datetime")
_BORDERS = columns("begin:datetime end:datetime interval:int32")
_MARKET_BORDERS = columns("begin:datetime end:datetime interval:int32 board_group_id:int32")

Segments = Mapping[str, str]


@dataclass(frozen=True)
class Route:
    """A family, how it is answered, and the named segments of the path, as the request spells them."""

    family: str
    answer: Callable[[Families, Segments, Query], list[Block]]
    segments: Segments


class Families:
    """Answers every family from an exchange, as its clock shows it."""

    def __init__(self, exchange: Exchange, clock: Clock) -> None:
        self.exchange = exchange
        self.clock = clock
        self.book = CandleBook(exchange)
        self._cards = lru_cache(maxsize=256)(exchange.security)
        self._history = lru_cache(maxsize=256)(lambda secid: HistoryText(exchange.history(secid)))

    def candles(self, segments: Segments, query: Query) -> list[Block]:
        """Return a page of candles; 200 and no rows for what the exchange does not know (docs/iss.md section 8)."""
        rows = b""
        card = self._card(segments)
        if card and query.interval in self.exchange.intervals(card.secid):
            span = Span(card.secid, query.interval, query.begins_from, query.begins_till, self.clock.seen())
            rows = self.book.page(span, query.start, query.is_reversed)
        return [Block("candles", _CANDLES, rows)]

    def borders(self, segments: Segments, query: Query) -> list[Block]:
        """Return the first and last candle of each interval."""
        card, rows = self._card(segments), []
        is_board = "board" in segments
        for interval in self.exchange.intervals(card.secid) if card else ():
            if card and (border := self.book.border(card.secid, interval, self.clock.seen())):
                group = [] if is_board else [card.primary.board.group_id]
                rows.append([*(str(from_seconds(second)) for second in border), interval, *group])
        return [Block.of("borders", _BORDERS if is_board else _MARKET_BORDERS, rows)]

    def history(self, segments: Segments, query: Query) -> list[Block]:
        """Return a page of end-of-day rows, of one board or of all of a market."""
        card = self._listed(segments)
        if card is None:
            columns_ = INDEX if segments["market"].lower() == "index" else SHARES
            return HistoryText(HistoryRows.sorted(columns_, [], [])).page(query, None, self.clock.seen())
        board = segments.get("board")
        return self._history(card.secid).page(query, board.upper() if board else None, self.clock.seen())

    def board(self, segments: Segments, query: Query) -> list[Block]:
        """Return the securities of a board and their market data."""
        known = [card for secid in self.exchange.secids() if (card := self.security(secid))]
        return board_blocks(self.exchange, self.book, known, segments["board"].upper(), self.clock.seen())

    def card(self, segments: Segments, query: Query) -> list[Block]:
        """Return a security's card."""
        return reference.card_blocks(self.security(segments["secid"]))

    def index(self, segments: Segments, query: Query) -> list[Block]:
        """Return the index of engines, markets, boards and types."""
        return reference.index_blocks()

    def splits(self, segments: Segments, query: Query) -> list[Block]:
        """Return splits, of all codes or of one."""
        secid = segments.get("secid")
        return reference.split_blocks(self.exchange.splits(), self._today(), secid.upper() if secid else None)

    def changeover(self, segments: Segments, query: Query) -> list[Block]:
        """Return changes of codes; all are of the market of shares."""
        renames = self.exchange.renames() if segments["market"].lower() == "shares" else []
        return reference.changeover_blocks(renames, self._today())

    def timetable(self, segments: Segments, query: Query) -> list[Block]:
        """Return the working days of an engine."""
        return reference.timetable_blocks(self.exchange.calendar(), self._today())

    def calendar(self, segments: Segments, query: Query) -> list[Block]:
        """Return the trading calendar of an engine."""
        return reference.calendar_blocks(self.exchange.calendar(), query)

    def security(self, secid: str) -> Security | None:
        """Return the card of a code, in any case, today."""
        return self._cards(secid.upper(), period_start_of(self.clock.seen(), DAY))

    def _today(self) -> dt.date:
        return from_seconds(self.clock.seen()).date()

    def _listed(self, segments: Segments) -> Security | None:
        """Return the card of the path's code if it is listed on the path's market, and board if there is one."""
        card = self.security(segments["secid"])
        market, board = segments["market"].lower(), segments.get("board", "").upper()
        if card is None or segments["engine"].lower() != ENGINE or card.primary.board.market != market:
            return None
        return card if not board or any(listing.board.board == board for listing in card.listings) else None

    def _card(self, segments: Segments) -> Security | None:
        """Return the card if the path's board, where there is one, is the one that has candles: the main one."""
        card = self._listed(segments)
        board = segments.get("board", "").upper()
        return card if card and board in ("", card.primary.board.board) else None


_MARKET = "engines/{engine}/markets/{market}"
# More literal paths stand before those with a code in the same place
_PATHS: tuple[tuple[str, str, Callable[[Families, Segments, Query], list[Block]]], ...] = (
    ("candles", f"{_MARKET}/boards/{{board}}/securities/{{secid}}/candles", Families.candles),
    ("candles", f"{_MARKET}/securities/{{secid}}/candles", Families.candles),
    ("candleborders", f"{_MARKET}/boards/{{board}}/securities/{{secid}}/candleborders", Families.borders),
    ("candleborders", f"{_MARKET}/securities/{{secid}}/candleborders", Families.borders),
    ("changeover", f"history/{_MARKET}/securities/changeover", Families.changeover),
    ("history", f"history/{_MARKET}/boards/{{board}}/securities/{{secid}}", Families.history),
    ("history", f"history/{_MARKET}/securities/{{secid}}", Families.history),
    ("board_securities", f"{_MARKET}/boards/{{board}}/securities", Families.board),
    ("security", "securities/{secid}", Families.card),
    ("index", "index", Families.index),
    ("splits", "statistics/engines/stock/splits", Families.splits),
    ("splits", "statistics/engines/stock/splits/{secid}", Families.splits),
    ("timetable", "engines/stock", Families.timetable),
    ("calendar", "calendars/stock", Families.calendar),
)
FAMILIES = tuple(dict.fromkeys(family for family, _, _ in _PATHS))


@lru_cache(maxsize=4096)
def route(path: str) -> Route | None:
    """Return the family of *path* (without ``/iss/``; any case; ends in ``.json``), None if there is none."""
    if not path.lower().endswith(".json"):
        return None
    parts = path[: -len(".json")].split("/")
    for family, pattern, answer in _PATHS:
        if (segments := _match(pattern.split("/"), parts)) is not None:
            return Route(family, answer, segments)
    return None


def _match(pattern: list[str], parts: list[str]) -> Segments | None:
    if len(pattern) != len(parts) or not all(parts):
        return None
    pairs = list(zip(pattern, parts, strict=True))
    if any(name != part.lower() for name, part in pairs if not name.startswith("{")):
        return None
    return {name[1:-1]: part for name, part in pairs if name.startswith("{")}
