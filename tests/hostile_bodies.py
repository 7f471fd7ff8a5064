"""Bodies that no operation takes: what is no JSON, no object, of a wrong type, too large, or no field's value."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_JSON = b"Content-Type: application/json"
_BOMB = gzip.compress(b"[" * (4 << 20))
_DEEP = 20_000


@dataclass(frozen=True)
class HostileBody:
    """
    A body, and how it is sent.

    Attributes:
        headers: Its type is among them; empty for the type that the operation takes.
    """

    name: str
    body: bytes
    headers: tuple[bytes, ...] = ()


ANYWHERE = (
    HostileBody("an open brace", b"{"),
    HostileBody("a list", b"[]"),
    HostileBody("null", b"null"),
    HostileBody("a text", b'"SBER"'),
    HostileBody("a number", b"7"),
    HostileBody("a number beyond all", b'{"a": 1e400}'),
    HostileBody("a number of many digits", b'{"a": ' + b"9" * 10_000 + b"}"),
    HostileBody("not a number", b'{"a": NaN}'),
    HostileBody("infinity", b'{"a": -Infinity}'),
    HostileBody("deep lists", b"[" * _DEEP),
    HostileBody("deep objects", b'{"a":' * _DEEP + b"1" + b"}" * _DEEP),
    HostileBody("a name twice", b'{"a": 1, "a": 2}'),
    HostileBody("NUL as a value", b'{"a": "\\u0000"}'),
    HostileBody("NUL behind", b"{}\0"),
    HostileBody("NUL within", b'{"a": "\0"}'),
    HostileBody("half a surrogate pair", b'{"\\ud800": "\\udfff"}'),
    HostileBody("bytes that are no text", b"\xff\xfe\xfd"),
    HostileBody("UTF-16", '{"a": 1}'.encode("utf-16")),
    HostileBody("a byte order mark", b"\xef\xbb\xbf{}"),
    HostileBody("two objects", b"{} {}"),
    HostileBody("a comma too many", b'{"a": 1,}'),
    HostileBody("a comment", b"{/* nothing */}"),
    HostileBody("single quotes", b"{'a': 1}"),
    HostileBody("a prototype", b'{"__proto__": {"role": "admin"}}'),
    HostileBody("an operator", b'{"$where": "1 == 1"}'),
    HostileBody("many names", json.dumps(dict.fromkeys(map(str, range(20_000)))).encode()),
    HostileBody("a long text", b'{"a": "' + b"x" * 900_000 + b'"}'),
    HostileBody("more than is taken", b"x" * (2 << 20)),
    HostileBody(
        "more than is taken, its length unsaid",
        b"200000\r\n" + b"x" * 0x200000 + b"\r\n0\r\n\r\n",
        (_JSON, b"Transfer-Encoding: chunked"),
    ),
    HostileBody("a bomb of gzip", _BOMB, (_JSON, b"Content-Encoding: gzip")),
    HostileBody("XML", b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///x">]><a>&b;</a>', (b"Content-Type: text/xml",)),
    HostileBody("a form", b"user=admin&password=x", (b"Content-Type: application/x-www-form-urlencoded",)),
    HostileBody(
        "half a multipart",
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.json"\r\n\r\n{"a"',
        (b"Content-Type: multipart/form-data; boundary=b",),
    ),
    HostileBody("a type that is none", b"{}", (b"Content-Type: \xff\xfe",)),
)


def in_fields(granted: dict[str, Any], *, takes_more: bool) -> Iterator[HostileBody]:
    """Yield bodies like one that is granted, each with one field of no type that any field has, or with one more."""
    for name in granted:
        for value in ({"a": 1}, [[1]], -1.5):
            yield HostileBody(f"{name} = {value}", json.dumps({**granted, name: value}).encode())
    if not takes_more:
        yield HostileBody("a field too many", json.dumps({**granted, "is_admin": True}).encode())
