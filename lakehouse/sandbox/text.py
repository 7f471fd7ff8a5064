"""
Text of a stranger's program, made fit for a page, a terminal, a file and the database.

What is taken out: terminal escapes, control characters (but new line and tab), what is invisible or turns the direction
of writing, halves of surrogate pairs. Text of figures loses, besides, what Plotly or a browser could take for markup,
an address or a style: lookalikes stand there instead, so that a person reads the same.
"""

from __future__ import annotations

import html
import re

_NEW_LINE = re.compile("\r\n?|[\u2028\u2029\x85]")
# CSI and OSC sequences in 7 and 8 bits, then every other escape with its letter
_ESCAPE = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]?"
    "|(?:\x1b[\\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\\\|\x9c)?"
    "|\x1b[ -/]*[0-~]?"
)
# Unicode's categories Cc (but \n and \t), Cf and Cs
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e"
    "\u2060-\u2064\u2066-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]"
)

# What most texts of figures are: words, numbers, dates
_PLAIN = re.compile(r"[A-Za-z0-9_ ,.%+\-]*|[0-9T:.+\- ]*")
_TAG = re.compile(r"</?(?:b|i|sub|sup|extra)>|<br ?/?>")
_SLASHES = re.compile(r"/{2,}")
_SCHEME = re.compile(
    r"\b(https?|wss?|ftps?|file|filesystem|blob|data|javascript|vbscript|mailto|about|view-source)(\s*):", re.IGNORECASE
)
_CALL = re.compile(r"(url|image|image-set|src|expression)(\s*)\(", re.IGNORECASE)
_IMPORT = re.compile(r"@(import|charset|namespace|font-face)", re.IGNORECASE)
_TEMPLATE = re.compile(r"%\{[^}]*+(?:\}|\Z)")
_WIDE = re.compile(r"[0-9]{3,}")
_UNESCAPES = 5


def clean(text: str) -> str:
    """Return *text* without what a page or a terminal would obey instead of show; lines end with a line feed."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSEEN.sub("", _ESCAPE.sub("", _NEW_LINE.sub("\n", text)))


def cut(text: str, most: int) -> str:
    """Return *text*, cut to *most* characters, of which the last says so."""
    return text if len(text) <= most else text[: most - 1] + "…"


def cut_bytes(text: str, most: int) -> str:
    """Return the longest beginning of *text* that UTF-8 writes in *most* bytes."""
    encoded = text.encode()
    return text if len(encoded) <= most else encoded[:most].decode(errors="ignore")


def figure_text(text: str) -> str:
    """
    Return *text* for a figure: ``<b>``, ``<i>``, ``<sub>``, ``<sup>``, ``<br>`` and ``<extra>`` are its only markup.

    Nothing in it is a link, an address, an entity, an escape of CSS, or a call of one.
    """
    if _PLAIN.fullmatch(text):
        return text
    text = _without_entities(clean(text)).replace("\n", " ").replace("\t", " ").replace("\\", "∖")
    text = _with_known_tags(text)
    text = _SLASHES.sub(lambda match: "∕" * len(match.group()), text)
    text = _SCHEME.sub(r"\1\2∶", text)
    text = _CALL.sub(r"\1\2（", text)
    text = _IMPORT.sub(r"＠\1", text)
    return _TEMPLATE.sub(lambda match: narrow_format(match.group()), text)


def narrow_format(text: str) -> str:
    """Return a number's format without a width of hundreds and more: Plotly would write that many characters."""
    return _WIDE.sub("", text)


def _without_entities(text: str) -> str:
    for _ in range(_UNESCAPES):
        if "&" not in text:
            return text
        plain = clean(html.unescape(text))
        if plain == text:
            return text
        text = plain
    return text.replace("&", "＆")


def _with_known_tags(text: str) -> str:
    if "<" not in text:
        return text
    parts, at = [], 0
    for match in _TAG.finditer(text):
        parts += [text[at : match.start()].replace("<", "‹"), match.group()]
        at = match.end()
    return "".join((*parts, text[at:].replace("<", "‹")))
