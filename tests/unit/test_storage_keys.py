"""Segments of keys."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lakehouse.storage.keys import segment, unsegment


@given(st.text())
def test_a_segment_gives_its_text_back(text: str) -> None:
    """Any text can be a segment, and comes back exactly."""
    assert unsegment(segment(text)) == text


@given(st.text())
def test_a_segment_holds_no_separator(text: str) -> None:
    """A segment never adds a level to a key, and is plain ASCII."""
    assert "/" not in segment(text)
    assert segment(text).isascii()


def test_what_needs_no_encoding_stays() -> None:
    """A SECID of the exchange reads in the key as the exchange writes it."""
    assert segment("SBER") == "SBER"
    assert segment("RU000A0JX0J2") == "RU000A0JX0J2"
    assert segment("USD/RUB_TOM") == "USD%2FRUB_TOM"
