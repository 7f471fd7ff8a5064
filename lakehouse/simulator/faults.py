"""What the exchange can do wrong (docs/iss.md section 10): the kinds of faults, and which requests they concern."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lakehouse.market.errors import BadInput
from lakehouse.simulator.answer import Block

Rows = list[list[Any]]
# How an answer is sent (transport.py)
TRANSPORT = (
    "reset",  # no answer, the connection is reset
    "time_out",  # no answer at all
    "stall",  # headers, then nothing
    "cut_body",  # fewer bytes than its Content-Length says
    "cut_json",  # half of the JSON, with the Content-Length of that half
    "empty_body",  # 200 and no body
    "web_page",  # 200 and HTML
    "429",  # HTML with Retry-After
    "503",  # HTML
)
# What becomes of a page of rows, in this answer alone (spoiling.py)
PAGES = (
    "short_page",  # the tail of the page is cut
    "inner_rows",  # rows in its middle are dropped, so it is short
    "left_out_rows",  # the same, but the rows behind the page fill it up
    "empty_page",  # no rows where rows follow
    "skipped_page",  # the rows of a later offset
    "repeated_page",  # the rows of the page before
    "shifted_row",  # begins with the last row of the page before, and ends a row earlier
    "inserted_row",  # the last row of the page before, then the page
    "conflicting_duplicate",  # two rows of one key, with other values
    "wrong_index",  # the cursor names another row
    "changed_total",  # the cursor counts other rows
)
# What becomes of a series: the same rows in every answer, and the exchange's numbers agree with them
NUMBERED = (
    "hidden_rows",  # rows are not there, and pages are full all the same
    "conflicting_rows",  # two rows of one key, with other values
)
# What becomes of the shape of any answer
SHAPES = ("missing_block", "missing_column", "added_column", "reordered_columns")
KINDS = (*TRANSPORT, *PAGES, *NUMBERED, *SHAPES)
_ANYWHERE = frozenset({*TRANSPORT, *SHAPES})
_OF_CURSOR = ("wrong_index", "changed_total")


@dataclass(frozen=True)
class Fault:
    """
    Something that goes wrong, and with which requests.

    Attributes:
        kind: One of `KINDS`.
        family, secid: Only requests of these suffer; None means any.
        times: How many requests suffer; None means all.
        after: How many requests that could suffer are spared first.
        rows: How many rows a short page keeps, how many are left out or passed over, by how much a cursor is wrong.
        begins: Keys of the rows that are hidden or double; none means about one in a hundred.
        block, column: What is missing, added or moved; None means one that the draw picks.
        seconds: How long a stall or a time-out lasts; then the connection is closed.
        retry_after_s: What a 429 says.
        draw: Picks what is not given; None means the one in the middle.
    """

    kind: str
    family: str | None = None
    secid: str | None = None
    times: int | None = None
    after: int = 0
    rows: int | None = None
    begins: tuple[str, ...] = ()
    block: str | None = None
    column: str | None = None
    seconds: float = 120
    retry_after_s: int = 1
    draw: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadInput(f"kind is {self.kind!r}: expected one of {', '.join(KINDS)}")
        if self.family and not self._can_befall(self.family):
            needed = "a cursor" if self.kind in _OF_CURSOR else "pages"
            raise BadInput(f"family is {self.family!r}: {self.kind} needs {needed}")

    def pick(self, count: int) -> int:
        """Return one of 0 to *count* - 1."""
        return count // 2 if self.draw is None else self.draw % count

    def concerns(self, asked: Asked) -> bool:
        """Return whether a request may suffer."""
        return (
            self.family in (None, asked.family) and self.secid in (None, asked.secid) and self._can_befall(asked.family)
        )

    def _can_befall(self, family: str) -> bool:
        if self.kind in _OF_CURSOR:
            return family == "history"
        return self.kind in _ANYWHERE or family in ("candles", "history")


@dataclass(frozen=True)
class Asked:
    """
    A request, as far as faults concern it.

    Attributes:
        url: Path and query.
        secid: In capitals; empty where the path has none.
        series: Names the rows that are numbered together, whatever span of them is asked.
        start: From which row on.
        page_rows: How many rows a page holds.
        answer: Returns the answer's blocks from any row on.
        shows: Whether a block will be in the answer.
    """

    url: str
    family: str
    secid: str
    series: str
    start: int
    page_rows: int
    answer: Callable[[int], list[Block]]
    shows: Callable[[str], bool] = field(default=lambda block: True)

    def blocks(self) -> list[Block]:
        """Return the answer as it should be."""
        return self.answer(self.start)

    def rows(self, start: int | None = None) -> Rows:
        """Return the rows of the page from *start* on, from where it was asked if that is None."""
        return self.answer(self.start if start is None else start)[0].parsed()
