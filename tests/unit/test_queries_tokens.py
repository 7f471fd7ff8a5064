"""Continuation tokens and what a query for candles refuses."""

from __future__ import annotations

import base64
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.market.errors import BadInput
from lakehouse.serving.queries import _check
from lakehouse.serving.tokens import Position, decode_token, encode_token

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
instants = st.integers(0, 4 * 10**15).map(lambda micros: EPOCH + dt.timedelta(microseconds=micros))


@given(st.integers(0, 2**62), instants, st.text())
def test_a_token_comes_back(version: int, begin_at: dt.datetime, query: str) -> None:
    """A position survives its token, to the microsecond, in letters that a URL carries."""
    position = Position(version, begin_at)
    token = encode_token(position, query)
    assert decode_token(token, query) == position
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.integers(0, 27), st.integers(1, 255))
def test_a_changed_token_is_refused(at: int, difference: int) -> None:
    """Whichever byte is changed, the token says that it does not continue the query."""
    token = encode_token(Position(7, dt.datetime(2024, 1, 1, tzinfo=dt.UTC)), "SBER")
    raw = bytearray(base64.urlsafe_b64decode(token + "=="))
    raw[at] ^= difference
    with pytest.raises(BadInput, match="the token does not continue this query"):
        decode_token(base64.urlsafe_b64encode(raw).decode().rstrip("="), "SBER")


@pytest.mark.parametrize("token", ["", "x", "%%%", "AAAA", "тикер", "A" * 500])
def test_what_is_no_token_is_refused(token: str) -> None:
    """Anything else than a token is refused in the same words."""
    with pytest.raises(BadInput, match="the token does not continue this query"):
        decode_token(token, "SBER")


def test_a_token_is_of_one_query() -> None:
    """The token of one ticker, timeframe or range does not continue another."""
    token = encode_token(Position(7, dt.datetime(2024, 1, 1, tzinfo=dt.UTC)), "SBER|1d")
    with pytest.raises(BadInput, match="send it with the same parameters, or start without one"):
        decode_token(token, "SBER|1m")


DAY = dt.date(2024, 1, 2)


@pytest.mark.parametrize(
    ("from_", "till", "adjust", "limit", "message"),
    [
        (DAY, DAY, "dividends", 1, "adjust 'dividends' is not one of none, split"),
        (DAY, DAY, "split", 0, "limit 0 is not between 1 and 10,000"),
        (DAY, DAY, "split", 10_001, "limit 10001 is not between 1 and 10,000"),
        (DAY, dt.date(2024, 1, 1), "split", 1, "till 2024-01-01 lies before from 2024-01-02"),
        (dt.date(1, 1, 1), DAY, "split", 1, "from 0001-01-01 does not lie between 1900-01-01 and 2999-12-31"),
        (DAY, dt.date(9999, 12, 31), "split", 1, "till 9999-12-31 does not lie between 1900-01-01 and 2999-12-31"),
    ],
)
def test_parameters_without_sense_are_refused(
    from_: dt.date, till: dt.date, adjust: str, limit: int, message: str
) -> None:
    """Each refusal names what was asked and what can be."""
    with pytest.raises(BadInput, match=message):
        _check(from_, till, adjust, limit)
