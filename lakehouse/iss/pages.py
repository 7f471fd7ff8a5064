"""What candles and history share: a page, its keys, and the checks that every page must pass."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from lakehouse.iss.answer import Answer
from lakehouse.iss.blocks import Block
from lakehouse.iss.errors import IssContractError, PagingBroken


@dataclass(frozen=True)
class Page:
    """
    One page of a window.

    Attributes:
        block: The rows that are new.
        keys: ``begin`` or ``TRADEDATE`` of every row of *block*, as the exchange writes it: text that sorts like time.
        end_proof: Why no page follows; empty on every page but the last.
        is_proof: Whether it was asked for as a proof only: its rows are no part of the window.
        overlap: Rows at the answer's beginning that the page before held, too.
    """

    answer: Answer
    block: Block
    keys: Sequence[str]
    end_proof: str = ""
    is_proof: bool = False
    overlap: int = 0


def segment(text: str) -> str:
    """Return *text* as one segment of an address."""
    return quote(text, safe="")


def key_column(answer: Answer, block: Block, name: str, width: int) -> list[str]:
    """Return column *name*, every value a text of *width* characters; raise IssContractError otherwise."""
    keys: list[str] = block.column(name)
    if set(map(type, keys)) - {str} or set(map(len, keys)) - {width}:
        odd = next(key for key in keys if type(key) is not str or len(key) != width)
        holds = f"holds {odd!r}, expected a text of {width} characters"
        raise IssContractError(f"{answer.url}: column {name} of block {block.name!r} {holds}", answer)
    return keys


def check_span(page: str, keys: Sequence[str], from_: str, till: dt.date) -> None:
    """Raise PagingBroken if a key lies before *from_* or after the date *till*."""
    if keys and (min(keys) < from_ or max(keys)[:10] > till.isoformat()):
        raise PagingBroken(f"{page} holds rows of {min(keys)}..{max(keys)}, asked were {from_}..{till}")
