"""The web process over a made market and a small lake, with a session of each role."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from psycopg import sql
from psycopg.conninfo import make_conninfo

from lakehouse.database.connection import connect
from lakehouse.database.migrate import migrate
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.market.candle import CANDLES
from tests.browser.running import publish_made_market, web_server
from tests.functions_api import make_users
from tests.sql_lake import FIRST, candle, write


@dataclass(frozen=True)
class Web:
    """A running web process: where it is, its database, and a session's token of each role."""

    url: str
    dsn: str = field(repr=False)
    tokens: dict[str, str] = field(repr=False)
    process_id: int


@contextmanager
def web_of_made_market(postgres: EmbeddedPostgres, folder: Path) -> Iterator[Web]:
    """Run the web process over a new database with the made market and a user of each role."""
    name = f"web_{uuid.uuid4().hex}"
    with connect(postgres.dsn) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    dsn = make_conninfo(postgres.dsn, dbname=name)
    migrate(dsn)
    publish_made_market(dsn, folder)
    write(folder, CANDLES, [candle("SBER", 300.0, FIRST)])
    tokens = make_users(dsn)
    with web_server(dsn, folder) as (url, process):
        yield Web(url, dsn, tokens, process.pid)
