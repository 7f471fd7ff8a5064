"""Instruments: codes joined, main boards, splits of the whole chain."""

from __future__ import annotations

import datetime as dt
from typing import Any

from lakehouse.gold.instruments import Listed, Place, Row, list_instruments
from lakehouse.gold.splits import Split
from lakehouse.market.instrument import Instrument, instrument_id
from lakehouse.market.renames import FOR_EVER, SINCE_EVER

RENAMED = dt.date(2024, 11, 27)
TCSG = Instrument("stock", "shares", "TQBR", "TCSG")
T = Instrument("stock", "shares", "TQBR", "T")


def card(secid: str, board: str = "TQBR", *, is_primary: bool = True, **rest: Any) -> Row:
    texts = {"shortname": secid.lower(), "name": f"{secid} plc", "isin": None, "type": "common_share"}
    place = {"engine": "stock", "market": "shares", "board": board, "secid": secid}
    return {**place, **texts, "currency": "RUB", "decimals": 2, "is_traded": True, "is_primary": is_primary, **rest}


def rename(old: str, new: str, date: dt.date = RENAMED) -> Row:
    return {"engine": "stock", "market": "shares", "old_secid": old, "new_secid": new, "action_date": date}


def split(secid: str, date: dt.date, before: float, after: float) -> Row:
    return {"engine": "stock", "secid": secid, "trade_date": date, "before": before, "after": after}


def only(found: dict[int, Listed]) -> Listed:
    (listed,) = found.values()
    return listed


def test_a_renamed_security_is_one_instrument() -> None:
    """TCSG and T share the id of the oldest code and the card of the newest; each code gives its own dates."""
    listed = only(list_instruments([card("TCSG"), card("T")], [rename("TCSG", "T")], [], {}))
    assert listed.instrument_id == instrument_id("stock", "shares", "TCSG")
    assert listed.places == (Place(TCSG, SINCE_EVER, RENAMED), Place(T, RENAMED, FOR_EVER))
    assert (listed.row["secid"], listed.row["secids"], listed.row["shortname"]) == ("T", "TCSG,T", "t")


def test_a_rename_found_later_joins_chains_under_the_oldest_id() -> None:
    """While the rename is unknown both codes are instruments; then the id of the older one stays."""
    before = list_instruments([card("TCSG"), card("T")], [], [], {})
    after = list_instruments([card("TCSG"), card("T")], [rename("TCSG", "T")], [], {})
    assert set(before) == {instrument_id("stock", "shares", "TCSG"), instrument_id("stock", "shares", "T")}
    assert set(after) == {instrument_id("stock", "shares", "TCSG")}


def test_a_chain_of_unknown_codes_is_no_instrument() -> None:
    """The exchange lists hundreds of renames: only codes that have a card or candles count."""
    assert list_instruments([], [rename("OLD", "NEW")], [], {}) == {}


def test_a_known_old_code_knows_its_new_one() -> None:
    """A chain of which only the old code is loaded carries today's code and the old card."""
    listed = only(list_instruments([card("TCSG")], [rename("TCSG", "T")], [], {}))
    assert (listed.row["secid"], listed.row["secids"], listed.row["shortname"]) == ("T", "TCSG,T", "tcsg")
    assert listed.places == (Place(TCSG, SINCE_EVER, RENAMED),)


def test_only_the_main_board_counts() -> None:
    """Of a security's boards the primary one is read, whatever the others hold."""
    cards = [card("SBER", "SMAL", is_primary=False), card("SBER", "TQBR")]
    listed = only(list_instruments(cards, [], [], {}))
    assert [place.listing.board for place in listed.places] == ["TQBR"]


def test_without_a_main_board_the_one_with_most_candles_counts() -> None:
    """A security whose card names no primary board, or that has no card, is read where its candles are."""
    rows_by_board = {"EQBR": 10, "TQBR": 99, "TQDE": 9}
    listings = {Instrument("stock", "shares", board, "SBER"): rows for board, rows in rows_by_board.items()}
    with_card = only(list_instruments([card("SBER", is_primary=False)], [], [], listings))
    without = only(list_instruments([], [], [], listings))
    assert with_card.row["board"] == without.row["board"] == "TQBR"
    assert (with_card.row["name"], without.row["name"]) == ("SBER plc", None)


def test_splits_count_for_the_whole_chain_once() -> None:
    """A split is that of the chain which its code names, listed under the new code, the old one or both."""
    date = dt.date(2026, 4, 17)
    for codes in (["T"], ["TCSG"], ["T", "TCSG"]):
        splits = [split(code, date, 1, 10) for code in codes]
        listed = only(list_instruments([card("TCSG"), card("T")], [rename("TCSG", "T")], splits, {}))
        assert listed.splits == (Split(date, 1, 10),)


def test_a_split_of_a_reused_code_goes_to_the_security_of_its_date() -> None:
    """A named one security until 2010 and another one later: each has the split of its own days."""
    renames = [rename("A", "B", dt.date(2010, 1, 1)), rename("A", "C", dt.date(2020, 1, 1))]
    splits = [split("A", dt.date(2009, 1, 1), 1, 2), split("A", dt.date(2015, 1, 1), 1, 3)]
    found = list_instruments([card("A"), card("B"), card("C")], renames, splits, {})
    by_codes = {listed.row["secids"]: listed.splits for listed in found.values()}
    assert by_codes == {"A,B": (Split(dt.date(2009, 1, 1), 1, 2),), "A,C": (Split(dt.date(2015, 1, 1), 1, 3),)}
