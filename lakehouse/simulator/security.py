"""What the exchange says about its securities and its calendar, whoever made them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True)
class Board:
    """A trading board. *market* is the name of a market of the engine ``stock``."""

    board: str
    board_id: int
    group_id: int
    market: str
    title: str
    is_traded: bool = True


BOARDS = {
    board.board: board
    for board in (
        Board("TQBR", 129, 57, "shares", "Т+: Акции и ДР - безадрес."),
        Board("TQTF", 178, 57, "shares", "Т+: ETF - безадрес."),
        Board("SMAL", 22, 21, "shares", "Т+: Неполные лоты (акции) - безадрес."),
        Board("TQBS", 130, 57, "shares", "Т+: Б-Акции и паи - безадрес.", is_traded=False),
        Board("EQBR", 14, 6, "shares", "Основной режим: А1-Акции и паи - безадрес.", is_traded=False),
        Board("EQBS", 15, 6, "shares", "Основной режим: А2-Акции и паи - безадрес.", is_traded=False),
        Board("EQNL", 19, 6, "shares", "Основной режим: Б-Акции и паи - безадрес.", is_traded=False),
        Board("EQNE", 18, 6, "shares", "Основной режим: внесписочные - безадрес.", is_traded=False),
        Board("EQLV", 16, 6, "shares", "Основной режим: В-Акции и РДР - безадрес.", is_traded=False),
        Board("EQCC", 17, 6, "shares", "ЦК - режим основных торгов: акции", is_traded=False),
        Board("TQOB", 92, 58, "bonds", "Т+: Гособлигации - безадрес."),
        Board("SNDX", 102, 9, "index", "Индексы фондового рынка"),
    )
}
ENGINE = "stock"
MARKET_IDS = {"shares": 1, "bonds": 2, "index": 5}


@dataclass(frozen=True)
class Listing:
    """A security on one board; *history_from* and *history_till* are None where the exchange has no history of it."""

    board: Board
    is_primary: bool
    is_traded: bool
    history_from: dt.date | None
    history_till: dt.date | None


@dataclass(frozen=True)
class Security:
    """A security's card. *type* is ISS's: common_share, exchange_ppif, ofz_bond, stock_index."""

    secid: str
    shortname: str
    name: str
    latname: str
    isin: str | None
    type: str
    decimals: int
    lot: int
    step: float
    face: float | None
    listings: tuple[Listing, ...]

    @property
    def primary(self) -> Listing:
        """The listing on its main board."""
        return next(listing for listing in self.listings if listing.is_primary)


@dataclass(frozen=True)
class CalendarDay:
    """
    A date of the calendar.

    Attributes:
        is_traded: Whether anything trades on the date, weekend sessions included.
        has_history: Whether end-of-day rows are made for it: not for weekend sessions.
        reason: ISS's letter: N ordinary, W weekend, H holiday, T transferred working day.
        session_date: The trading day that the date's trades belong to; None where nothing trades.
    """

    date: dt.date
    is_traded: bool
    has_history: bool
    reason: str
    session_date: dt.date | None


@dataclass(frozen=True)
class Split:
    """A split: *before* securities became *after* on *date*, the first trading date after it."""

    date: dt.date
    secid: str
    before: int
    after: int


@dataclass(frozen=True)
class Rename:
    """A change of a code; *date* is the last trading date of the old one."""

    date: dt.date
    old_secid: str
    new_secid: str
