"""Calls to a running simulator, as any HTTP client makes them."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

BOARD = "/engines/stock/markets/shares/boards/TQBR/securities"
MARKET = "/engines/stock/markets/shares/securities"


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    content_type: str
    date: str
    text: str

    @property
    def document(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.text)

    def rows(self, block: str) -> list[dict[str, Any]]:
        """Return the rows of a block of a compact answer as objects."""
        found = self.document[block]
        return [dict(zip(found["columns"], row, strict=True)) for row in found["data"]]


def call(url: str, **query: object) -> Reply:
    """Ask for *url*; a parameter such as ``iss.meta`` is given as *iss_meta*, and ``from`` as *from_*."""
    named = {re.sub("^(iss|candles)_", r"\1.", name.rstrip("_")): value for name, value in query.items()}
    return _send(urllib.request.Request(f"{url}?{urllib.parse.urlencode(named)}" if named else url))


def control(base_url: str, method: str, name: str, body: object = None) -> Reply:
    """Send a control request; *base_url* is that of ISS, *body* is JSON or bytes."""
    raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    url = f"{base_url.removesuffix('/iss')}/_simulator/{name}"
    return _send(urllib.request.Request(url, data=raw, method=method))


def _send(request: urllib.request.Request) -> Reply:
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return _reply(answer)
    except urllib.error.HTTPError as error:
        return _reply(error)


def _reply(answer: Any) -> Reply:
    headers = answer.headers
    return Reply(answer.status, headers["Content-Type"], headers["Date"], answer.read().decode())
