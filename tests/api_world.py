"""A little of everything that the API can be asked for, and of each operation a request that it grants an admin."""

from __future__ import annotations

import datetime as dt
import json
import secrets
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest
from psycopg import Connection
from psycopg.types.json import Jsonb

from lakehouse.access import sessions, tokens
from lakehouse.access.users import create_user, user_named
from lakehouse.database.connection import connect
from lakehouse.database.runner import EmbeddedPostgres
from tests.api_web import Web, web_of_made_market
from tests.bronze_objects import candle
from tests.uploaded import candles_json

PASSWORD = "a long password"
STORE_TOKEN = "the-store-s-own-token"
PAGE = candles_json([candle("2012-03-01 00:00:00")])
PAGE_OF = {"family": "candles", "board": "TQBR", "secid": "SBER", "timeframe": "1d"}


@dataclass(frozen=True)
class Granted:
    """
    A request that an operation grants.

    Attributes:
        path: What stands in the path.
        query: Parameters.
        token: Whose; an admin's by default, empty for nobody's.
    """

    path: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None
    token: str | None = None


@dataclass(frozen=True)
class World:
    """The web process, and its database to make things in."""

    web: Web
    conn: Connection[Any]

    def granted(self, operation_id: str) -> Granted:
        """Return a request that the operation grants, after making what it needs."""
        made = _GRANTED[operation_id]
        return made(self) if callable(made) else made

    def token(self, role: str) -> str:
        """Return the token of a session of its own: it may end."""
        return sessions.mint(self.conn, user_named(self.conn, role), dt.timedelta(hours=1))

    def ask(self, method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
        """Ask as the admin; return what was answered."""
        headers = {"Authorization": f"Bearer {self.web.tokens['admin']}", "Content-Type": content_type}
        request = urllib.request.Request(f"{self.web.url}/api{path}", body, headers, method=method)
        with urllib.request.urlopen(request, timeout=300) as answer:
            return bytes(answer.read())


@contextmanager
def api_world(postgres: EmbeddedPostgres, folder: Path) -> Iterator[World]:
    """Run the web process over a database with a little of everything."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LAKEHOUSE_STORAGE_TOKEN", STORE_TOKEN)
        with web_of_made_market(postgres, folder) as web, connect(web.dsn) as conn:
            conn.execute(
                "INSERT INTO lake.quarantine VALUES ('iss/x#1.0', 'silver.candles', 'stock', 'shares', 'TQBR', 'SBER',"
                " '1d', 'high below low', '{}', '2026-01-05 10:00Z')"
            )
            conn.execute("INSERT INTO lake.quarantine_count VALUES ('silver.candles', 'high below low', 1)")
            conn.execute(
                "INSERT INTO lake.volume_gap (engine, market, board, secid, timeframe, trade_date, state, measure,"
                " day_volume, intraday_volume, object_key) VALUES ('stock', 'shares', 'TQBR', 'SBER', '1m',"
                " '2026-01-05', 'differs', 'volume', 1000, 900, 'iss/x')"
            )
            conn.execute(
                "INSERT INTO lake.price_jump SELECT instrument_id, '2026-01-04 21:00Z', '2026-01-05', secid,"
                " '2026-01-04', 2747, 340.8, 1, 1, 8 FROM gold.dim_instrument WHERE secid = 'SBER'"
            )
            yield World(web, conn)


def _job(world: World, state: str = "done") -> Granted:
    report = {"errors": [{"secid": "XXXX", "message": "XXXX: unknown"}]} if state == "failed" else {}
    row = world.conn.execute(
        "INSERT INTO lake.job (kind, state, requested_by, params, report, started_at, planned_at) VALUES"
        " ('ingest', %s, 'anna', %s, %s, now(), now()) RETURNING job_id",
        (state, Jsonb({"instruments": ["SBER", "XXXX"], "timeframes": ["1d"]}), Jsonb(report)),
    ).fetchone()
    assert row is not None
    return Granted(path={"job_id": str(row[0])})


def _user(world: World, body: Any = None) -> Granted:
    name = f"u{secrets.token_hex(8)}"
    create_user(world.conn, name, PASSWORD, "viewer")
    return Granted(path={"name": name}, body=body)


def _own_password(world: World) -> Granted:
    name = _user(world).path["name"]
    return Granted(body={"present": PASSWORD, "new": "another long password"}, token=world.token(name))


def _session(world: World) -> Granted:
    world.token("viewer")
    return Granted(path={"session_id": sessions.list_sessions(world.conn, "viewer")[0].session_id})


def _token(world: World) -> Granted:
    made = tokens.make_token(world.conn, user_named(world.conn, "viewer"), "a program")
    return Granted(path={"token_id": str(made.info.token_id)})


def _statement(world: World) -> Granted:
    """Begin a statement that does not end by itself, and wait until it can be stopped."""
    name = uuid.uuid4().hex
    endless = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 3"
    body = json.dumps({"statement": endless, "id": name}).encode()
    begun = threading.Thread(target=lambda: _ignoring_stop(lambda: world.ask("POST", "/v1/sql", body)), daemon=True)
    before = len(psutil.Process(world.web.process_id).children())
    begun.start()
    until = time.monotonic() + 300
    while len(psutil.Process(world.web.process_id).children()) == before:
        assert time.monotonic() < until, "the statement did not begin"
        time.sleep(0.05)
    return Granted(path={"statement_id": name})


def _ignoring_stop(ask: Callable[[], bytes]) -> None:
    with suppress(urllib.error.HTTPError):
        ask()


def _upload(world: World) -> Granted:
    query = urlencode({**PAGE_OF, "name": f"{secrets.token_hex(8)}.json"})
    made = json.loads(world.ask("POST", f"/v1/uploads?{query}", PAGE, "application/octet-stream"))
    return Granted(body={"upload_key": made["upload_key"]})


_GRANTED: dict[str, Granted | Callable[[World], Granted]] = {
    "read_openapi": Granted(token=""),
    "read_health": Granted(token=""),
    "login": Granted(body={"user": "viewer", "password": PASSWORD}, token=""),
    "logout": lambda world: Granted(token=world.token("viewer")),
    "change_password": _own_password,
    "read_sessions": Granted(query={"of": "all"}),
    "end_session": _session,
    "read_tokens": Granted(query={"of": "all"}),
    "make_token": Granted(body={"name": "a program", "role": "viewer", "days": 1, "is_read_only": True}),
    "revoke_token": _token,
    "read_users": Granted(),
    "add_user": Granted(body={"user": "new", "password": PASSWORD, "role": "analyst"}),
    "change_role": lambda world: _user(world, {"role": "analyst"}),
    "remove_user": _user,
    "set_password": lambda world: _user(world, {"password": PASSWORD}),
    "read_audit": Granted(query={"limit": "5"}),
    "read_instruments": Granted(query={"q": "SBER"}),
    "read_candles": Granted(query={"secid": "SBER", "timeframe": "1d", "from": "2026-01-01", "limit": "50"}),
    "read_schema": Granted(),
    "run_statement": Granted(body={"statement": "SELECT * FROM silver.candles"}),
    "stop_statement": _statement,
    "ingest": Granted(body={"instruments": ["SBER"], "timeframes": ["1d"], "from": "2026-01-01"}),
    "read_jobs": lambda world: (_job(world), Granted())[1],
    "read_job": _job,
    "cancel": lambda world: _job(world, "running"),
    "retry": lambda world: _job(world, "failed"),
    "redrive": Granted(),
    "read_schedules": Granted(),
    "change_schedule": Granted(path={"name": "care"}, body={"at": "05:45", "weekday": "Monday", "is_on": False}),
    "take_upload": Granted(query={**PAGE_OF, "name": "page.json"}, body=PAGE),
    "list_uploads": lambda world: (_upload(world), Granted())[1],
    "accept_upload": _upload,
    "hear_store": Granted(body={"Records": []}, token=STORE_TOKEN),
    "read_quarantine": Granted(query={"table": "silver.candles", "secid": "SBER"}),
    "read_quality": Granted(),
}
