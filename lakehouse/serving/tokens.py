"""Continuation tokens: where a reader of pages is, in which version of the data, of which query."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
from dataclasses import dataclass

from lakehouse.market.errors import BadInput

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DIGEST_BYTES = 12
_NUMBER_BYTES = 8


@dataclass(frozen=True)
class Position:
    """The page before this one ended with the candle that begins at *begin_at*, in *data_version*."""

    data_version: int
    begin_at: dt.datetime


def encode_token(position: Position, query: str) -> str:
    """Return *position* in the pages of *query* as an opaque text."""
    micros = (position.begin_at - _EPOCH) // dt.timedelta(microseconds=1)
    numbers = position.data_version.to_bytes(_NUMBER_BYTES, "big") + micros.to_bytes(_NUMBER_BYTES, "big", signed=True)
    return base64.urlsafe_b64encode(numbers + _digest(numbers, query)).decode().rstrip("=")


def decode_token(token: str, query: str) -> Position:
    """Return the position in the pages of *query*; raise BadInput if the token was changed or is another query's."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    numbers, digest = raw[: 2 * _NUMBER_BYTES], raw[2 * _NUMBER_BYTES :]
    if len(digest) != _DIGEST_BYTES or digest != _digest(numbers, query):
        raise BadInput("the token does not continue this query: send it with the same parameters, or start without one")
    micros = int.from_bytes(numbers[_NUMBER_BYTES:], "big", signed=True)
    return Position(int.from_bytes(numbers[:_NUMBER_BYTES], "big"), _EPOCH + dt.timedelta(microseconds=micros))


def _digest(numbers: bytes, query: str) -> bytes:
    return hashlib.sha256(numbers + query.encode()).digest()[:_DIGEST_BYTES]
