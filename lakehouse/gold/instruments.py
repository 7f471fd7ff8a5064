"""Instruments: codes joined by renames, each read from its main boards, with the splits of all of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from lakehouse.bronze.added_splits import is_added, overruled
from lakehouse.gold.splits import Split
from lakehouse.market.instrument import Instrument, instrument_id, price_unit
from lakehouse.market.moscow import to_moscow
from lakehouse.market.renames import FOR_EVER, SINCE_EVER, Chain, Holding, Rename, identity_of, rename_chains

Row = Mapping[str, Any]
_Code = tuple[str, str, str]  # engine, market, secid

_DAY = dt.timedelta(days=1)
_CARD = ("shortname", "name", "isin", "type", "currency", "decimals", "is_traded")


@dataclass(frozen=True)
class _Move:
    """Until *seen_at* the exchange was seen to name *board* the main one of a code."""

    seen_at: dt.datetime
    board: Instrument


@dataclass(frozen=True)
class _Said:
    """A split, and whether an administrator added it."""

    split: Split
    is_added: bool


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
    cards: Sequence[Row],
    renames: Iterable[Row],
    splits: Iterable[Row],
    rows_by_board: Mapping[Instrument, int],
    former: Sequence[Row] = (),
) -> dict[int, Listed]:
    """
    Return the instruments by their id.

    Args:
        cards: Current rows of silver.instruments.
        renames: Current rows of silver.renames; a chain of which no code is known makes no instrument.
        splits: Current rows of silver.splits, of the exchange and added.
        rows_by_board: Number of current candles by engine, market, board and secid, for codes without a main board in
            *cards*: theirs is the board that has the most.
        former: Rows of silver.instruments that are current no more: they say which boards were main ones before.
    """
    moves = _moves(cards, former)
    listings = _main_boards(cards, rows_by_board, moves)
    card_by_listing = {_listing(card): card for card in cards}
    newest = {_listing(card): card for card in (*sorted(former, key=itemgetter("known_till")), *cards)}
    spans = {code: _on_boards(moves.get(code, ()), main, newest) for code, main in listings.items()}
    splits_by_code: dict[tuple[str, str], set[_Said]] = {}
    for row in splits:
        split = Split(row["trade_date"], row["before"], row["after"])
        splits_by_code.setdefault((row["engine"], row["secid"]), set()).add(_Said(split, is_added(row["source"])))
    found: dict[int, Listed] = {}
    for (engine, market), chains in _chains(listings, renames).items():
        split_by_chain = _splits_of_chains(engine, chains, splits_by_code)
        for chain, chain_splits in zip(chains, split_by_chain, strict=True):
            codes = [(engine, market, holding.secid) for holding in chain]
            known = [listings[code] for code in codes if code in listings]
            if known:
                identity = instrument_id(engine, market, identity_of(chain))
                row = _row(identity, chain, known, card_by_listing)
                found[identity] = Listed(identity, _places(chain, known, spans), chain_splits, row)
    return found


def _main_boards(
    cards: Sequence[Row], rows_by_board: Mapping[Instrument, int], moves: Mapping[_Code, Sequence[_Move]]
) -> dict[_Code, Instrument]:
    ranked = [(0, 0, _listing(card)) for card in cards if card["is_primary"]]
    has_main = {listing.secid for _, _, listing in ranked}
    ranked += [(1, -rows, listing) for listing, rows in rows_by_board.items() if listing.secid not in has_main]
    boards: dict[_Code, Instrument] = {}
    for _, _, listing in sorted(ranked):
        boards.setdefault(_code(listing), listing)
    # What went to another market is another instrument there; this one keeps what it had
    for code, moved in moves.items():
        if moved[-1].board.secid in has_main:
            boards.setdefault(code, moved[-1].board)
    return boards


def _moves(cards: Iterable[Row], former: Iterable[Row]) -> dict[_Code, list[_Move]]:
    """Return the boards that were main ones until the exchange named others, oldest first."""
    ended = [card for card in former if card["is_primary"]]
    goes_on = {(_listing(card), card["known_from"]) for card in (*cards, *ended) if card["is_primary"]}
    moves: dict[_Code, list[_Move]] = {}
    for card in sorted(ended, key=itemgetter("known_till", "board")):
        if (_listing(card), card["known_till"]) not in goes_on:
            moves.setdefault(_code(_listing(card)), []).append(_Move(card["known_till"], _listing(card)))
    return moves


def _on_boards(moves: Sequence[_Move], main: Instrument, newest: Mapping[Instrument, Row]) -> tuple[Place, ...]:
    """Return a code's boards, each with the dates on which it was the main one."""
    boards = [*(move.board for move in moves), main]
    places: list[Place] = []
    board, after = boards[0], SINCE_EVER
    for move, follower in zip(moves, boards[1:], strict=True):
        card, next_card = newest[board], newest.get(follower, {})
        # A move that is told before it happens: the former board goes on
        is_to_come = card["is_traded"] and next_card.get("history_from") is None
        if follower != board and not is_to_come:
            till = max(after, _last_date(move.seen_at, card, next_card))
            places.append(Place(board, after, till))
            board, after = follower, till
    return (*places, Place(board, after, FOR_EVER))


def _last_date(seen_at: dt.datetime, card: Row, next_card: Row) -> dt.date:
    """
    Return the last date on which a former main board counts.

    The exchange is seen to have named another one some time behind the move, maybe long: so the board counts as far as
    its own history reaches. What is left of weekends behind that, and what it trades before the other board begins, is
    still its.
    """
    seen, begins = to_moscow(seen_at).date() - _DAY, next_card.get("history_from")
    own = min(seen, card["history_till"] or seen)
    return max(own, begins - _DAY) if begins else own


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
    engine: str, chains: Sequence[Chain], splits_by_code: Mapping[tuple[str, str], Iterable[_Said]]
) -> list[tuple[Split, ...]]:
    """
    Give each split to the chain that its code named on its date, else to the last that the code was part of.

    Of those that were added, only what the exchange does not list itself by now, under whatever code.
    """
    by_code: dict[str, list[int]] = {}
    for index, chain in enumerate(chains):
        for holding in chain:
            by_code.setdefault(holding.secid, []).append(index)
    found: list[set[_Said]] = [set() for _ in chains]
    for code, owners in by_code.items():
        for said in splits_by_code.get((engine, code), ()):
            date = said.split.trade_date
            on_date = (i for i in owners if any(h.secid == code and h.covers(date) for h in chains[i]))
            found[next(on_date, owners[-1])].add(said)
    return [_counting(all_said) for all_said in found]


def _counting(all_said: Iterable[_Said]) -> tuple[Split, ...]:
    listed = {said.split for said in all_said if not said.is_added}
    dates = {split.trade_date for split in listed}
    added = {said.split for said in all_said if said.is_added and overruled(said.split.trade_date, dates) is None}
    return tuple(sorted(listed | added))


def _places(chain: Chain, known: Iterable[Instrument], spans: Mapping[_Code, tuple[Place, ...]]) -> tuple[Place, ...]:
    by_code = {listing.secid: spans[_code(listing)] for listing in known}
    found = (
        Place(place.listing, max(place.after, holding.after), min(place.till, holding.till))
        for holding in chain
        for place in by_code.get(holding.secid, ())
    )
    return tuple(place for place in found if place.after < place.till)


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
        "price_unit": price_unit(newest.engine, newest.market),
    }


def _code(listing: Instrument) -> _Code:
    return listing.engine, listing.market, listing.secid


def _listing(card: Row) -> Instrument:
    return Instrument(card["engine"], card["market"], card["board"], card["secid"])
