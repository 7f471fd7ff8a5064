"""What is traded, and how it is named."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from lakehouse.market.errors import BadInput

# T, X5, SiZ5, RU000A0JX0J2, VEON-RX, USD000UTSTOM and Si-12.17 are all codes of the exchange.
_SECID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,35}")
_BOARD = re.compile(r"[A-Za-z0-9]{1,12}")
_SHOWN = 40


def parse_secid(text: str) -> str:
    """Return *text* as a secid; raise BadInput if the exchange could not have such a code."""
    if not _SECID.fullmatch(text):
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        raise BadInput(f"{shown!r} is not a ticker: use the exchange's SECID, such as SBER, T or RU000A0JX0J2")
    return text


def parse_listing(text: str) -> tuple[str, str | None]:
    """
    Return secid and board of ``SECID`` (its primary board: None) or ``SECID@BOARD``.

    Raises:
        BadInput: if the exchange could not have such a code or board.
    """
    secid, at, board = text.partition("@")
    if at and not _BOARD.fullmatch(board):
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        raise BadInput(f"{shown!r} names no board: write SECID@BOARD, such as SBER@TQBR, or the SECID alone")
    return parse_secid(secid), board.upper() if at else None


@dataclass(frozen=True, order=True)
class Instrument:
    """A security on a board: the address of its candles."""

    engine: str
    market: str
    board: str
    secid: str

    def __str__(self) -> str:
        return f"{self.secid} {self.board}"


PriceUnit = Literal["currency", "percent", "points"]

_UNIT_BY_MARKET: dict[tuple[str, str], PriceUnit] = {
    ("stock", "shares"): "currency",
    ("stock", "foreignshares"): "currency",
    ("stock", "bonds"): "percent",
    ("stock", "index"): "points",
    ("currency", "selt"): "currency",
    ("currency", "index"): "points",
    ("futures", "forts"): "points",
    ("futures", "options"): "points",
}


def price_unit(engine: str, market: str) -> PriceUnit | None:
    """
    Return what prices of a market are in: the instrument's currency, percent of a bond's face value, or points.

    None where we do not know: a wrong unit is worse than none.
    """
    return _UNIT_BY_MARKET.get((engine, market))


def instrument_id(engine: str, market: str, oldest_secid: str) -> int:
    """
    Return the identity of an instrument across renames: 63 bits of a SHA-256.

    *oldest_secid* is the first code of the rename chain, so a later rename keeps the identity.
    """
    digest = hashlib.sha256(f"{engine}/{market}/{oldest_secid}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
