"""Chains of renames: which code named an instrument on which dates."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

# A successor that has no code yet is called XXXXXX (docs/iss.md section 1)
_PLACEHOLDER = re.compile("X{4,}")

SINCE_EVER = dt.date.min
FOR_EVER = dt.date.max
# What is traded for longer under a code that was given up is another security: weekends are not
_LEFT_OVER = dt.timedelta(days=14)


@dataclass(frozen=True, order=True)
class Rename:
    """From *action_date*, the last day of the old code, the next one on the security is called *new_secid*."""

    action_date: dt.date
    old_secid: str
    new_secid: str


@dataclass(frozen=True)
class Holding:
    """A code, and the dates on which it names the instrument: *after* exclusive, *till* inclusive."""

    secid: str
    after: dt.date = SINCE_EVER
    till: dt.date = FOR_EVER

    def covers(self, date: dt.date) -> bool:
        """Whether the code names the instrument on *date*."""
        return self.after < date <= self.till


Chain = tuple[Holding, ...]


def rename_chains(renames: Iterable[Rename]) -> list[Chain]:
    """
    Join the *renames* of one market to chains, oldest code first.

    The renames are followed in time, so a code that comes back (A, B, A) or is given to another security later ends
    well: each of its holdings has its own dates. Passed over are a rename applied already (the exchange repeats
    some), one to itself, one to a placeholder, a second one of the same code and day. A code that becomes one which
    another security holds (a merger) ends its chain.
    """
    chains: list[list[Holding]] = []
    holder: dict[str, list[Holding]] = {}
    ended: dict[str, dt.date] = {}
    for rename in sorted(set(renames)):
        old, new = rename.old_secid, rename.new_secid
        if old == new or _PLACEHOLDER.fullmatch(old) or _PLACEHOLDER.fullmatch(new) or _is_repeated(holder, old, new):
            continue
        if old not in holder and ended.get(old) == rename.action_date:
            continue  # two successors of one code on one day: the first counts
        chain = holder.pop(old, None)
        if chain is None:
            chain = [Holding(old, after=ended.get(old, SINCE_EVER))]
            chains.append(chain)
        chain[-1] = replace(chain[-1], till=rename.action_date)
        ended[old] = rename.action_date
        if new not in holder:
            chain.append(Holding(new, after=rename.action_date))
            holder[new] = chain
    return [tuple(chain) for chain in chains]


def codes_around(chains: Iterable[Chain], secid: str, date: dt.date) -> tuple[Chain, Chain]:
    """
    Return the codes before and after *secid* of the instrument that it named on *date*, oldest first.

    Two empty chains if that had no other code: a code that was given up may name a security of today, whose candles go
    on long after the rename.
    """
    found: tuple[Chain, Chain] = ((), ())
    after = SINCE_EVER
    for chain in chains:
        for at, holding in enumerate(chain):
            is_named = holding.secid == secid and holding.after < date and date - _LEFT_OVER <= holding.till
            if is_named and holding.after >= after:
                found, after = (chain[:at], chain[at + 1 :]), holding.after
    return found


def identity_of(chain: Chain) -> str:
    """
    Return the text that identifies an instrument: the oldest code.

    A code given to a second security is told apart by the date from which it was free.
    """
    oldest = chain[0]
    return oldest.secid if oldest.after == SINCE_EVER else f"{oldest.secid}/{oldest.after.isoformat()}"


def _is_repeated(holder: dict[str, list[Holding]], old: str, new: str) -> bool:
    return old not in holder and any(holding.secid == old for holding in holder.get(new, ()))
