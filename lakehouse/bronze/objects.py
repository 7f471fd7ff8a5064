"""
A Bronze object: the HTTP exchanges of one window, verbatim, and a trailer that says what they prove.

gzip (mtime 0) of JSON lines: per exchange ``{"url", "status", "headers", "fetched_at", "body" | "body_base64"}``, with
``"proof": true`` where the rows are no part of the window, ``"overlap": n`` where the first n repeat the page before,
and a last line ``{"trailer": {...}}``. Rows are named ``key#line.row``: line of the exchange from 1, row of its block
from 0.
"""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from lakehouse.bronze.finality import Finality, finality
from lakehouse.bronze.window import Series, Window, format_from
from lakehouse.market.errors import LakehouseError
from lakehouse.market.sessions import Calendar
from lakehouse.storage.keys import segment

# Level 1 is four times as fast as the default and a sixth larger.
_GZIP_LEVEL = 1


# A window of 20 pages unpacks to some 2 MB, the largest table of reference to some 10. What is larger was not written
# by us, and may be made to fill the memory
MAX_BYTES = 64 << 20
MAX_UNPACKED = 256 << 20
FETCHED, UPLOADED = 0, -1
RANKS = (FETCHED, UPLOADED)
_UNREADABLE = (EOFError, OSError, ValueError, KeyError, TypeError, AttributeError, zlib.error)


class BronzeCorrupt(LakehouseError):
    """The bytes of a Bronze object are not what was written."""


@dataclass(frozen=True)
class Exchange:
    """
    A request and its answer.

    Attributes:
        fetched_at: The answer's ``Date``.
        body: As received.
        is_proof: Whether it was asked only to prove the window's end: its rows are no part of the window.
        overlap: Rows at its beginning that the exchange before holds, too: asked again to prove that none is between.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    fetched_at: dt.datetime
    body: bytes
    is_proof: bool = False
    overlap: int = 0


@dataclass(frozen=True)
class Trailer:
    """
    What an object proves.

    Attributes:
        fetched_at: The exchange's time at the first answer.
        end_proof: Why nothing follows the last row.
        complete: Whether absence from the object means absence at the exchange.
        state: ``complete``, ``no trades`` or ``missing``: what the final dates of the window are.
        last: Key of the last row, as the exchange writes it; empty without rows.
        anchor: The last final row, to be compared when the series is continued; None without one.
        finality: What of the window was final when it was read, by the calendar of that day.
        rank: 0 of what the exchange was asked for, -1 of an uploaded file: it says nothing where something of rank 0
            speaks.
        origin: Key of the uploaded file that the rows are from; empty if the exchange gave them to us.
    """

    window: Window
    fetched_at: dt.datetime
    rows: int
    pages: int
    end_proof: str
    complete: bool
    state: str = "complete"
    last: str = ""
    anchor: Mapping[str, Any] | None = None
    finality: Finality | None = None
    rank: int = 0
    origin: str = ""

    @property
    def settled(self) -> Finality:
        """What was final; where no calendar was at hand, by the days of the week."""
        return self.finality or finality(Calendar(), self.window.series, self.fetched_at)


@dataclass(frozen=True)
class BronzeObject:
    """A decoded object."""

    exchanges: Sequence[Exchange]
    trailer: Trailer


def encode_object(exchanges: Iterable[Exchange], trailer: Trailer, prefix: str = "iss") -> tuple[str, bytes]:
    """Return the key and the bytes of an object; equal contents give equal keys."""
    lines = b"\n".join([*map(_exchange_line, exchanges), orjson.dumps({"trailer": _trailer_fields(trailer)}), b""])
    name = f"{trailer.fetched_at:%Y%m%dT%H%M%SZ}-{hashlib.sha256(lines).hexdigest()[:16]}.jsonl.gz"
    return f"{object_folder(trailer.window, prefix)}/{name}", gzip.compress(lines, _GZIP_LEVEL, mtime=0)


def decode_object(body: bytes) -> BronzeObject:
    """Return the object of *body*; raise BronzeCorrupt if it is cut, or its last line is no trailer."""
    try:
        *lines, last = _unpacked(body).removesuffix(b"\n").split(b"\n")
        trailer = _trailer(orjson.loads(last)["trailer"])
        return BronzeObject([_exchange(orjson.loads(line)) for line in lines], trailer)
    except _UNREADABLE as error:
        raise BronzeCorrupt(
            f"a Bronze object of {len(body)} bytes cannot be read ({type(error).__name__}: {error}): expected "
            "gzip JSON lines that end in a trailer; restore it from a copy, or remove it and fetch its window again"
        ) from error


def trailer_under(key: str, body: bytes) -> Trailer:
    """Return what *body* proves; raise BronzeCorrupt also if it is not the object that *key* names."""
    trailer, digest = _trailer_and_hash(body)
    folder, _, name = key.rpartition("/")
    if folder != object_folder(trailer.window) or not name.endswith(f"-{digest}.jsonl.gz"):
        raise BronzeCorrupt(
            f"what lies under {key} is another object, of {trailer.window} with the hash {digest}: "
            "restore it from a copy, or remove it and fetch its window again"
        )
    return trailer


def _trailer_and_hash(body: bytes) -> tuple[Trailer, str]:
    try:
        lines = _unpacked(body)
        rest = lines.rstrip(b"\n")
        trailer = _trailer(orjson.loads(rest[rest.rfind(b"\n") + 1 :])["trailer"])
    except _UNREADABLE as error:
        raise BronzeCorrupt(
            f"the trailer of a Bronze object of {len(body)} bytes cannot be read ({type(error).__name__}: {error}); "
            "restore the object from a copy, or remove it and fetch its window again"
        ) from error
    return trailer, hashlib.sha256(lines).hexdigest()[:16]


def _unpacked(body: bytes) -> bytes:
    """Return what *body* unpacks to, never more than MAX_UNPACKED of it."""
    stream = zlib.decompressobj(wbits=31)  # gzip
    lines = stream.decompress(body, MAX_UNPACKED)
    if stream.unconsumed_tail:
        raise ValueError(f"it unpacks to more than {MAX_UNPACKED >> 20} MiB")
    if not stream.eof:
        raise EOFError("it is cut off")
    if stream.unused_data:
        raise ValueError("more bytes follow its end")
    return lines


def object_folder(window: Window, prefix: str = "iss") -> str:
    """Return the folder of keys in which all objects of *window* lie."""
    series = window.series
    parts = (series.family, series.engine, series.market, series.board, series.secid, series.timeframe)
    span = f"{format_from(window.from_at)}_{window.till}"
    return "/".join([prefix, *(segment(part) if part else "-" for part in parts), span])


def _exchange_line(exchange: Exchange) -> bytes:
    line = {
        "url": exchange.url,
        "status": exchange.status,
        "headers": dict(exchange.headers),
        "fetched_at": exchange.fetched_at.isoformat(),
        **({"proof": True} if exchange.is_proof else {}),
        **({"overlap": exchange.overlap} if exchange.overlap else {}),
    }
    try:
        return orjson.dumps({**line, "body": exchange.body.decode()})
    except UnicodeDecodeError:
        return orjson.dumps({**line, "body_base64": base64.b64encode(exchange.body).decode()})


def _exchange(line: Mapping[str, Any]) -> Exchange:
    body = line["body"].encode() if "body" in line else base64.b64decode(line["body_base64"])
    fetched_at = dt.datetime.fromisoformat(line["fetched_at"])
    told = (line["url"], line["status"], line["headers"], fetched_at, body)
    return Exchange(*told, is_proof=line.get("proof", False), overlap=line.get("overlap", 0))


def _trailer_fields(trailer: Trailer) -> dict[str, Any]:
    series = trailer.window.series
    return {
        "family": series.family,
        "engine": series.engine,
        "market": series.market,
        "board": series.board,
        "secid": series.secid,
        "timeframe": series.timeframe,
        "from": trailer.window.from_at.isoformat(),
        "till": trailer.window.till.isoformat(),
        "fetched_at": trailer.fetched_at.isoformat(),
        "rows": trailer.rows,
        "pages": trailer.pages,
        "end_proof": trailer.end_proof,
        "complete": trailer.complete,
        "state": trailer.state,
        "last": trailer.last,
        "anchor": trailer.anchor,
        # Dates and instants are written as ISO 8601
        "finality": None if trailer.finality is None else vars(trailer.finality),
        **({"rank": trailer.rank, "origin": trailer.origin} if trailer.origin else {}),
    }


def _trailer(fields: Mapping[str, Any]) -> Trailer:
    series = Series(*(fields[name] for name in ("family", "engine", "market", "board", "secid", "timeframe")))
    _check_types(fields)
    window = Window(series, dt.datetime.fromisoformat(fields["from"]), dt.date.fromisoformat(fields["till"]))
    return Trailer(
        window,
        dt.datetime.fromisoformat(fields["fetched_at"]),
        fields["rows"],
        fields["pages"],
        fields["end_proof"],
        fields["complete"],
        fields["state"],
        fields["last"],
        fields["anchor"],
        _finality(fields.get("finality")),
        fields.get("rank", 0),
        fields.get("origin", ""),
    )


def _check_types(fields: Mapping[str, Any]) -> None:
    """Raise TypeError for a value that the ledger could not take."""
    for name, kind in (("rows", int), ("pages", int), ("complete", bool), ("end_proof", str), ("state", str)):
        if not isinstance(fields[name], kind):
            raise TypeError(f"{name} is no {kind.__name__}")
    for name in ("family", "engine", "market", "board", "secid", "timeframe"):
        if not (isinstance(fields[name], str) and fields[name].isprintable()):
            raise TypeError(f"{name} is no text")
    if fields.get("rank", 0) not in RANKS or not isinstance(fields.get("origin", ""), str):
        raise TypeError(f"rank is {fields.get('rank')!r}, its origin {fields.get('origin')!r}")


def _finality(fields: Mapping[str, str] | None) -> Finality | None:
    if fields is None:
        return None
    final_till, over_till = (dt.date.fromisoformat(fields[name]) for name in ("final_till", "over_till"))
    final_at, again_at = (dt.datetime.fromisoformat(fields[name]) for name in ("final_at", "again_at"))
    return Finality(final_till, over_till, final_at, again_at)
