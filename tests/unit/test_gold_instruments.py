"""Instruments: codes joined, main boards, splits of the whole chain."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

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
    said = {"is_traded": True, "is_primary": is_primary, "history_from": None, "history_till": None}
    return {**place, **texts, "currency": "RUB", "decimals": 2, **said, "known_from": at(1), "known_till": None, **rest}


def at(day: int) -> dt.datetime:
    """Return the night before a day of March 2024, when the exchange's cards are read."""
    return dt.datetime(2024, 3, day, tzinfo=dt.UTC) - dt.timedelta(hours=2)


def march(day: int) -> dt.date:
    return dt.date(2024, 3, day)


def boards_of(cards: list[Row], former: list[Row], renames: list[Row] | None = None) -> list[tuple[str, str, Any, Any]]:
    """Return code, board, and dates, *after* and *till*, of the places of the only instrument."""
    listed = only(list_instruments(cards, renames or [], [], {}, former))
    return [(place.listing.secid, place.listing.board, place.after, place.till) for place in listed.places]


def moved(seen: int, old: dict[str, Any], new: dict[str, Any], secid: str = "EQMX") -> tuple[list[Row], list[Row]]:
    """Return current and former cards of what was seen to have moved from TQTF to TQBR on a day of March."""
    now = [
        card(secid, "TQTF", is_primary=False, **old, known_from=at(seen)),
        card(secid, "TQBR", **new, known_from=at(seen)),
    ]
    return now, [
        card(secid, "TQTF", **old, known_till=at(seen)),
        card(secid, "TQBR", is_primary=False, **new, known_till=at(seen)),
    ]


def rename(old: str, new: str, date: dt.date = RENAMED) -> Row:
    return {"engine": "stock", "market": "shares", "old_secid": old, "new_secid": new, "action_date": date}


def split(secid: str, date: dt.date, before: float, after: float, family: str = "splits") -> Row:
    said = {"engine": "stock", "secid": secid, "trade_date": date, "before": before, "after": after}
    return {**said, "source": f"iss/{family}/stock/key#1.0"}


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


@pytest.mark.parametrize(("days_off", "factors"), [(0, [10]), (2, [10]), (30, [5, 10])])
def test_an_added_split_that_the_exchange_lists_under_another_code_counts_once(
    days_off: int, factors: list[int]
) -> None:
    """The exchange's counts, of the code that the instrument had or has; one that is far from it is another split."""
    date = dt.date(2026, 4, 17)
    added = split("TCSG", date - dt.timedelta(days=days_off), 1, 5, family="added_splits")
    splits = [split("T", date, 1, 10), added]
    listed = only(list_instruments([card("TCSG"), card("T")], [rename("TCSG", "T")], splits, {}))
    assert [each.after for each in listed.splits] == factors


def test_a_split_of_a_reused_code_goes_to_the_security_of_its_date() -> None:
    """A named one security until 2010 and another one later: each has the split of its own days."""
    renames = [rename("A", "B", dt.date(2010, 1, 1)), rename("A", "C", dt.date(2020, 1, 1))]
    splits = [split("A", dt.date(2009, 1, 1), 1, 2), split("A", dt.date(2015, 1, 1), 1, 3)]
    found = list_instruments([card("A"), card("B"), card("C")], renames, splits, {})
    by_codes = {listed.row["secids"]: listed.splits for listed in found.values()}
    assert by_codes == {"A,B": (Split(dt.date(2009, 1, 1), 1, 2),), "A,C": (Split(dt.date(2015, 1, 1), 1, 3),)}


@pytest.mark.parametrize("seen", [11, 25])
def test_a_former_main_board_counts_until_its_end(seen: int) -> None:
    """TQTF ends on Friday the 8th, TQBR begins on Monday: so it is, whether that is seen at once or weeks later."""
    cards, former = moved(seen, {"is_traded": False, "history_till": march(8)}, {"history_from": march(11)})
    assert boards_of(cards, former) == [
        ("EQMX", "TQTF", SINCE_EVER, march(10)),
        ("EQMX", "TQBR", march(10), FOR_EVER),
    ]


def test_a_board_that_was_traded_beside_the_main_one_counts_from_the_move() -> None:
    """TQBR had a few candles for years, and TQTF has some still: each counts while it is the main one."""
    cards, former = moved(11, {"history_till": march(25)}, {"history_from": dt.date(2020, 1, 1)})
    assert boards_of(cards, former) == [("EQMX", "TQTF", SINCE_EVER, march(10)), ("EQMX", "TQBR", march(10), FOR_EVER)]


def test_a_main_board_without_any_history_hides_nothing() -> None:
    """A move that is told before it happens: while the old board is traded, and the new one never was, it goes on."""
    cards, former = moved(11, {"history_till": march(15)}, {})
    assert boards_of(cards, former) == [("EQMX", "TQTF", SINCE_EVER, FOR_EVER)]
    cards, former = moved(11, {"history_till": march(8), "is_traded": False}, {})
    assert boards_of(cards, former) == [("EQMX", "TQTF", SINCE_EVER, march(8)), ("EQMX", "TQBR", march(8), FOR_EVER)]


def test_a_card_that_changes_otherwise_moves_nothing() -> None:
    """A new name of a security opens a version of its card; its main board stays the one it was."""
    former = [card("SBER", shortname="old", known_till=at(5))]
    assert boards_of([card("SBER", known_from=at(5))], former) == [("SBER", "TQBR", SINCE_EVER, FOR_EVER)]


def test_a_main_board_that_returns_has_two_spans() -> None:
    """TQTF, TQBR, and TQTF again: three places, and no date twice."""
    dates: dict[str, Any] = {"history_from": dt.date(2020, 1, 1), "history_till": march(25)}
    cards = [card("EQMX", "TQTF", known_from=at(20), **dates), card("EQMX", is_primary=False, **dates)]
    former = [
        card("EQMX", "TQTF", known_till=at(11), **dates),
        card("EQMX", known_from=at(11), known_till=at(20), **dates),
    ]
    assert boards_of(cards, former) == [
        ("EQMX", "TQTF", SINCE_EVER, march(10)),
        ("EQMX", "TQBR", march(10), march(19)),
        ("EQMX", "TQTF", march(19), FOR_EVER),
    ]


def test_a_board_that_was_named_and_never_traded_is_passed_over() -> None:
    """TQTF, then SMAL for some days in which nothing was traded there, then TQBR: TQTF counts until TQBR does."""
    begun: dict[str, Any] = {"history_from": march(20)}
    cards = [
        card("EQMX", "TQTF", is_primary=False, history_till=march(25)),
        card("EQMX", "SMAL", is_primary=False),
        card("EQMX", known_from=at(20), **begun),
    ]
    former = [card("EQMX", "TQTF", known_till=at(11)), card("EQMX", "SMAL", known_from=at(11), known_till=at(20))]
    assert boards_of(cards, former) == [("EQMX", "TQTF", SINCE_EVER, march(19)), ("EQMX", "TQBR", march(19), FOR_EVER)]


def test_boards_and_renames_cut_each_other() -> None:
    """A code that moved while it was an instrument's: of each board the dates on which both count."""
    cards, former = moved(11, {"is_traded": False, "history_till": march(8)}, {"history_from": march(11)}, "OLD")
    renames = [rename("OLD", "NEW", march(20))]
    assert boards_of([*cards, card("NEW")], former, renames) == [
        ("OLD", "TQTF", SINCE_EVER, march(10)),
        ("OLD", "TQBR", march(10), march(20)),
        ("NEW", "TQBR", march(20), FOR_EVER),
    ]
    renames = [rename("OLD", "NEW", march(5))]
    assert boards_of([*cards, card("NEW")], former, renames) == [
        ("OLD", "TQTF", SINCE_EVER, march(5)),
        ("NEW", "TQBR", march(5), FOR_EVER),
    ]


def test_what_moved_to_another_market_stays_in_the_former_one() -> None:
    """There it is another instrument; here it keeps its candles."""
    cards = [card("EQMX", "FQBR", market="foreignshares", known_from=at(11))]
    former = [card("EQMX", "TQTF", known_till=at(11))]
    found = list_instruments(cards, [], [], {}, former)
    assert {listed.row["market"]: listed.places[-1].till for listed in found.values()} == {
        "foreignshares": FOR_EVER,
        "shares": FOR_EVER,
    }


@pytest.mark.parametrize(
    ("engine", "market", "unit"),
    [
        ("stock", "shares", "currency"),
        ("stock", "bonds", "percent"),
        ("stock", "index", "points"),
        ("currency", "selt", "currency"),
        ("futures", "forts", "points"),
        ("stock", "ccp", None),
    ],
)
def test_prices_have_the_unit_of_their_market(engine: str, market: str, unit: str | None) -> None:
    """A market that we do not know has none: a wrong unit would be worse."""
    listed = only(list_instruments([card("X", engine=engine, market=market)], [], [], {}))
    assert listed.row["price_unit"] == unit
