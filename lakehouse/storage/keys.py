"""Names of objects: segments joined by slashes, each percent-encoded."""

from __future__ import annotations

from urllib.parse import quote, unquote


def segment(text: str) -> str:
    """Return *text* as one segment of a key: letters, digits and ``-_.~`` stay, the rest is percent-encoded."""
    return quote(text, safe="")


def unsegment(text: str) -> str:
    """Return the text that ``segment`` encoded."""
    return unquote(text)
