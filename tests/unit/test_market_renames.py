"""Chains of renames."""

from __future__ import annotations

import datetime as dt

from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.market.renames import (
    FOR_EVER,
    SINCE_EVER,
    Chain,
    Holding,
    Rename,
    codes_around,
    identity_of,
    rename_chains,
)


def day(number: int) -> dt.date:
    return dt.date(2020, 1, 1) + dt.timedelta(number)


def rename(number: int, old: str, new: str) -> Rename:
    return Rename(day(number), old, new)


def test_a_rename_joins_two_codes_at_its_date() -> None:
    """The old code counts up to the action date, the new one from the day after."""
    (chain,) = rename_chains([Rename(dt.date(2024, 11, 27), "TCSG", "T")])
    assert chain == (
        Holding("TCSG", SINCE_EVER, dt.date(2024, 11, 27)),
        Holding("T", dt.date(2024, 11, 27), FOR_EVER),
    )
    assert identity_of(chain) == "TCSG"


def test_renames_are_followed_in_time() -> None:
    """A chain is the same in whatever order its renames are listed, and keeps the oldest code as identity."""
    found = rename_chains([rename(9, "B", "C"), rename(1, "A", "B")])
    assert [[holding.secid for holding in chain] for chain in found] == [["A", "B", "C"]]
    assert identity_of(found[0]) == "A"


def test_a_placeholder_is_no_code() -> None:
    """A rename to XXXXXX or from it joins nothing."""
    renames = [rename(1, "A", "XXXXXX"), rename(2, "B", "XXXXXX"), rename(3, "C", "C"), rename(4, "XXXXXX", "D")]
    assert rename_chains(renames) == []


def test_a_code_that_returns_has_two_holdings() -> None:
    """A, B and A again is one instrument; each candle of A counts in one of A's two spans."""
    (chain,) = rename_chains([rename(1, "A", "B"), rename(5, "B", "A")])
    assert chain == (Holding("A", SINCE_EVER, day(1)), Holding("B", day(1), day(5)), Holding("A", day(5), FOR_EVER))


def test_a_code_given_to_another_security_starts_another_chain() -> None:
    """A became B; what was called A later is another instrument with another identity, from the day A was free."""
    first, second = rename_chains([rename(1, "A", "B"), rename(9, "A", "C")])
    assert first == (Holding("A", SINCE_EVER, day(1)), Holding("B", day(1), FOR_EVER))
    assert second == (Holding("A", day(1), day(9)), Holding("C", day(9), FOR_EVER))
    assert (identity_of(first), identity_of(second)) == ("A", "A/2020-01-02")


def test_a_repeated_rename_changes_nothing() -> None:
    """The exchange lists some renames twice with two dates: the first counts."""
    assert rename_chains([rename(1, "A", "B"), rename(3, "A", "B")]) == rename_chains([rename(1, "A", "B")])


def test_of_two_successors_on_a_day_the_first_counts() -> None:
    """A code cannot become two: the second rename of the day makes no instrument."""
    assert rename_chains([rename(1, "A", "B"), rename(1, "A", "C")]) == rename_chains([rename(1, "A", "B")])


def test_a_merger_keeps_both_apart() -> None:
    """Two codes that become one: the first keeps the new code, the second ends, and no candle counts twice."""
    first, second = rename_chains([rename(1, "A", "C"), rename(2, "B", "C")])
    assert [holding.secid for holding in first] == ["A", "C"]
    assert second == (Holding("B", SINCE_EVER, day(2)),)


def around(renames: list[Rename], code: str, number: int) -> tuple[list[str], list[str]]:
    before, after = codes_around(rename_chains(renames), code, day(number))
    return [each.secid for each in before], [each.secid for each in after]


def test_the_codes_before_and_after_are_those_of_the_date() -> None:
    """A was B's until day 1; what is called A from day 100 to day 200 is C later, and nothing to B."""
    renames = [rename(-50, "O", "A"), rename(1, "A", "B"), rename(200, "A", "C"), rename(300, "C", "D")]
    assert around(renames, "A", 1) == (["O"], ["B"])
    assert around(renames, "A", 150) == ([], ["C", "D"])
    assert around(renames, "C", 250) == (["A"], ["D"])
    assert around(renames, "B", 250) == (["O", "A"], [])
    assert around(renames, "E", 250) == ([], [])


def test_a_code_that_is_traded_long_after_its_rename_names_another_security() -> None:
    """Days that are left over of a weekend are the old security's; weeks are not."""
    renames = [rename(1, "A", "B")]
    assert around(renames, "A", 4) == ([], ["B"])
    assert around(renames, "A", 40) == ([], [])


def test_a_code_that_returns_is_followed_from_the_last_return() -> None:
    """A, B, A, C: A of day 3 is followed by C, not by B; so is one whose second life has just begun."""
    renames = [rename(1, "A", "B"), rename(2, "B", "A"), rename(9, "A", "C")]
    assert around(renames, "A", 3) == (["A", "B"], ["C"])
    assert around(renames, "A", 1) == ([], ["B", "A", "C"])


codes = st.sampled_from(["A", "B", "C", "D"])


@settings(max_examples=300)
@given(st.lists(st.builds(rename, st.integers(0, 9), codes, codes), max_size=8))
def test_any_renames_end_and_share_no_day(renames: list[Rename]) -> None:
    """Whatever the exchange lists, cycles included: a code names at most one instrument on a day, identities differ."""
    chains: list[Chain] = rename_chains(renames)
    assert len({identity_of(chain) for chain in chains}) == len(chains)
    for code in "ABCD":
        for number in range(-1, 12):
            holdings = [holding for chain in chains for holding in chain if holding.secid == code]
            assert sum(holding.covers(day(number)) for holding in holdings) <= 1
