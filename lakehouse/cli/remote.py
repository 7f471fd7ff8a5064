"""The demo's own calls: what it asks of the API, and as whom."""

from __future__ import annotations

import datetime as dt
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection

from lakehouse.access import audit
from lakehouse.access.roles import Role
from lakehouse.access.sessions import mint
from lakehouse.access.users import list_users
from lakehouse.cli.options import operator
from lakehouse.market.errors import LakehouseError
from lakehouse.market.timeframe import Timeframe
from lakehouse.ports import direct
from lakehouse.simulator.demo import demo_from, demo_request
from lakehouse.simulator.exchange import MadeExchange
from lakehouse.simulator.recorded import RecordedExchange
from lakehouse.up import Plan

_LIFETIME = dt.timedelta(minutes=10)


@dataclass(frozen=True)
class Api:
    """The platform's functions over HTTP."""

    url: str
    token: str = field(repr=False)
    trusted: ssl.SSLContext | None = None

    def post(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        """Send *document*; return the answer; raise LakehouseError with what the API says when it refuses."""
        body = json.dumps(document).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, body, headers)
        try:
            with direct(self.trusted).open(request, timeout=60) as answer:
                parsed: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            raise LakehouseError(f"{path} answered {error.code}: {_detail(error.read())}") from error
        return parsed


def _detail(body: bytes) -> str:
    """Return what a problem says (RFC 9457); of another answer all of it."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")


def minted_token(conn: Connection[Any]) -> str:
    """Return the token of a session of a few minutes of an admin, for the platform's own first call."""
    admin = next(user for user in list_users(conn) if user.role is Role.ADMIN)
    with conn.transaction():
        audit.record(conn, operator(), "login", admin.name, {"for": "the demo's own calls"}, "done", "")
        return mint(conn, admin, _LIFETIME)


def demo_ingests(plan: Plan) -> list[dict[str, Any]]:
    """Return the ingests that load the demo's market, one for each timeframe: days of all, minutes of some."""
    exchange = RecordedExchange(plan.recorded) if plan.recorded else MadeExchange(plan.seed)
    begins = demo_from(exchange)
    secids: dict[Timeframe, list[str]] = {}
    for secid, timeframes in demo_request(exchange):
        for timeframe in timeframes:
            secids.setdefault(timeframe, []).append(secid)
    return [
        {"instruments": secids[timeframe], "timeframes": [timeframe], "from": _iso(begins.get(timeframe))}
        for timeframe in secids
    ]


def _iso(date: dt.date | None) -> str | None:
    return date.isoformat() if date else None
