"""Instruments: codes joined by renames, each read from its main board, with the splits of all of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lakehouse.gold.splits import Split
from lakehouse.market.instrument import Instrument, instrument_id
from lakehouse.market.renames import Chain, Holding, Rename, identity_of, rename_chains

Row = Mapping[str, Any]
_Code = tuple[str, str, str]  # engine, market, secid

_CARD = ("shortname", "name", "isin", "type", "currency", "decimals", "is_traded")


@dataclass(frozen=True)
class Place:
    """Where an instrument's candles lie in Silver, and of which dates: *after* exclusive, *till* inclusive."""

    listing: Instrument
    after: dt.date
    till: dt.date


@dataclass(frozen=True)
class Listed:
    """An instrument: where its candles come from, its splits, and its row of dim_instrument."""

    instrument_id: int
    places: tuple[Place, ...]
    splits: tuple[Split, ...]
    row: Row

    def has_same_series(self, other: Listed | None) -> bool:
        """Whether equal candles would give equal facts."""
        return other is not None and (self.places, self.splits) == (other.places, other.splits)


def list_instruments(
    cards: Sequence[Row], renames: Iterable[Row], splits: Iterable[Row], rows_by_board: Mapping[Instrument, int]
) -> dict[int, Listed]:
    """
    Return the instruments by their id.

    Args:
        cards: Current rows of silver.instruments.
        renames: Current rows of silver.renames; a chain of which no code is known makes no instrument.
        splits: Current rows of silver.splits.
        rows_by_board: Number of current candles by engine, market, board and secid, for codes without a main board in
            *cards*: theirs is the board that has the most.
    """
    listings = _main_boards(cards, rows_by_board)
    card_by_listing = {_listing(card): card for card in cards}
    splits_by_code: dict[tuple[str, str], set[Split]] = {}
    for row in splits:
        split = Split(row["trade_date"], row["before"], row["after"])
        splits_by_code.setdefault((row["engine"], row["secid"]), set()).add(split)
    found: dict[int, Listed] = {}
    for (engine, market), chains in _chains(listings, renames).items():
        split_by_chain = _splits_of_chains(engine, chains, splits_by_code)
        for chain, chain_splits in zip(chains, split_by_chain, strict=True):
            codes = [(engine, market, holding.secid) for holding in chain]
            known = [listings[code] for code in codes if code in listings]
            if known:
                identity = instrument_id(engine, market, identity_of(chain))
                row = _row(identity, chain, known, card_by_listing)
                found[identity] = Listed(identity, _places(chain, known), chain_splits, row)
    return found


def _main_boards(cards: Sequence[Row], rows_by_board: Mapping[Instrument, int]) -> dict[_Code, Instrument]:
    ranked = [(0, 0, _listing(card)) for card in cards if card["is_primary"]]
    has_main = {listing.secid for _, _, listing in ranked}
    ranked += [(1, -rows, listing) for listing, rows in rows_by_board.items() if listing.secid not in has_main]
    boards: dict[_Code, Instrument] = {}
    for _, _, listing in sorted(ranked):
        boards.setdefault((listing.engine, listing.market, listing.secid), listing)
    return boards


def _chains(listings: Iterable[_Code], renames: Iterable[Row]) -> dict[tuple[str, str], list[Chain]]:
    """Return the chains by engine and market; a code that was never renamed is a chain of its own."""
    by_market: dict[tuple[str, str], list[Rename]] = {}
    for row in renames:
        rename = Rename(row["action_date"], row["old_secid"], row["new_secid"])
        by_market.setdefault((row["engine"], row["market"]), []).append(rename)
    chains = {market: rename_chains(found) for market, found in by_market.items()}
    renamed = {(*market, holding.secid) for market, found in chains.items() for chain in found for holding in chain}
    for engine, market, secid in sorted(set(listings) - renamed):
        chains.setdefault((engine, market), []).append((Holding(secid),))
    return chains


def _splits_of_chains(
    engine: str, chains: Sequence[Chain], splits_by_code: Mapping[tuple[str, str], Iterable[Split]]
) -> list[tuple[Split, ...]]:
    """Give each split to the chain that its code named on its date, else to the last that the code was part of."""
    by_code: dict[str, list[int]] = {}
    for index, chain in enumerate(chains):
        for holding in chain:
            by_code.setdefault(holding.secid, []).append(index)
    found: list[set[Split]] = [set() for _ in chains]
    for code, owners in by_code.items():
        for split in splits_by_code.get((engine, code), ()):
            on_date = (i for i in owners if any(h.secid == code and h.covers(split.trade_date) for h in chains[i]))
            found[next(on_date, owners[-1])].add(split)
    return [tuple(sorted(splits)) for splits in found]


def _places(chain: Chain, known: Iterable[Instrument]) -> tuple[Place, ...]:
    by_code = {listing.secid: listing for listing in known}
    return tuple(
        Place(by_code[holding.secid], holding.after, holding.till)
        for holding in chain
        if holding.secid in by_code and holding.after < holding.till
    )


def _row(identity: int, chain: Chain, known: Sequence[Instrument], cards: Mapping[Instrument, Row]) -> Row:
    newest = known[-1]
    card = next((cards[listing] for listing in reversed(known) if listing in cards), {})
    return {
        "instrument_id": identity,
        "secid": chain[-1].secid,
        "engine": newest.engine,
        "market": newest.market,
        "board": newest.board,
        "secids": ",".join(dict.fromkeys(holding.secid for holding in chain)),
        **{name: card.get(name) for name in _CARD},
    }


def _listing(card: Row) -> Instrument:
    return Instrument(card["engine"], card["market"], card["board"], card["secid"])
