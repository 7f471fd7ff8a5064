"""The parameters of a request (docs/iss.md section 2). What is unknown is ignored, as the exchange does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from copy import copy
from urllib.parse import parse_qsl

from lakehouse.market.errors import BadInput
from lakehouse.simulator.clock import to_seconds
from lakehouse.simulator.periods import SECONDS_A_DAY, TEN_MINUTES

HISTORY_PAGE = 100


class Query:
    """The parameters of one request; reading one that makes no sense raises BadInput."""

    def __init__(self, text: str) -> None:
        self._values = {name.lower(): value for name, value in parse_qsl(text, keep_blank_values=True)} if text else {}
        self._only = {name.strip().lower() for name in self._get("iss.only").split(",") if name.strip()}

    def from_row(self, start: int) -> Query:
        """Return the same request from another row on."""
        other = copy(self)
        other._values = {**self._values, "start": str(start)}
        return other

    def _get(self, name: str) -> str:
        return self._values.get(name, "")

    def _number(self, name: str, default: int) -> int:
        text = self._get(name)
        if not text:
            return default
        if not text.isascii() or not text.isdigit():
            raise BadInput(f"{name}={text!r}: expected a whole number, 0 or more")
        return int(text)

    @property
    def has_metadata(self) -> bool:
        """Whether blocks say what their columns are."""
        return self._get("iss.meta") != "off"

    @property
    def has_data(self) -> bool:
        """Whether blocks hold rows."""
        return self._get("iss.data") != "off"

    @property
    def is_extended(self) -> bool:
        """Whether rows are objects."""
        return self._get("iss.json") == "extended"

    @property
    def is_reversed(self) -> bool:
        """Whether the newest rows come first."""
        return self._get("iss.reverse") in ("true", "1") or self._get("sort_order") == "desc"

    @property
    def shows_all_days(self) -> bool:
        """Whether a calendar lists ordinary days, too."""
        return self._get("show_all_days") == "1"

    @property
    def interval(self) -> int:
        """The ISS interval of candles; ten minutes if none is given."""
        return self._number("interval", TEN_MINUTES)

    @property
    def start(self) -> int:
        """How many rows to pass over."""
        return self._number("start", 0)

    @property
    def history_limit(self) -> int:
        """How many end-of-day rows make a page: 100 at most."""
        return min(self._number("limit", HISTORY_PAGE), HISTORY_PAGE) or HISTORY_PAGE

    @property
    def begins_from(self) -> int:
        """The first naive second wanted."""
        return 0 if not self._get("from") else self._second("from")

    @property
    def begins_till(self) -> int:
        """The last naive second wanted; a date without a time means the whole day."""
        text = self._get("till")
        if not text:
            return 2**40
        return self._second("till") + (SECONDS_A_DAY - 1 if len(text) == 10 else 0)

    def _second(self, name: str) -> int:
        text = self._get(name)
        try:
            moment = dt.datetime.fromisoformat(text)
        except ValueError:
            wanted = "a date (2026-06-30) or a Moscow time (2026-06-30 10:00:00)"
            raise BadInput(f"{name}={text!r}: expected {wanted}") from None
        return to_seconds(moment.replace(tzinfo=None))

    def shows(self, block: str) -> bool:
        """Return whether *block* is to be in the answer."""
        return not self._only or block in self._only

    def columns(self, block: str) -> Sequence[str]:
        """Return the columns asked for of *block*; none means all."""
        return [name.strip() for name in self._get(f"{block}.columns").split(",") if name.strip()]
