"""What the exchange answered."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    """
    An answer of the exchange.

    Attributes:
        fetched_at: The ``Date`` header, UTC: the exchange's clock, which is the only one that decides about data.
        body: Bytes as received, transfer encodings undone.
        document: The body, parsed.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    fetched_at: dt.datetime
    body: bytes
    document: Any = field(repr=False, compare=False)
