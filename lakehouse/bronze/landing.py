"""Putting an object into Bronze: first the store, then the ledger, then the news."""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from psycopg import Connection

from lakehouse.bronze.context import FetchContext
from lakehouse.bronze.ledger import record_landed
from lakehouse.bronze.objects import Exchange, Trailer, encode_object
from lakehouse.bronze.window import Window
from lakehouse.iss.answer import Answer

log = structlog.get_logger()


def land(context: FetchContext, conn: Connection, exchanges: Iterable[Exchange], trailer: Trailer) -> str:
    """
    Land the HTTP exchanges of a window; return the object's key.

    A crash between store and ledger leaves an object that `ledger.rebuild` and the reconciliation of events find.
    """
    key, body = encode_object(exchanges, trailer)
    context.store().put(key, body)
    record_landed(conn, key, trailer)
    if context.on_landed:
        context.on_landed(key)
    log.info("bronze.object_landed", key=key, rows=trailer.rows, pages=trailer.pages, state=trailer.state)
    return key


def keep_rejected(context: FetchContext, window: Window, answer: Answer) -> str:
    """Keep an answer that nobody understands under ``rejected/``; return its key. It is not in the ledger."""
    trailer = Trailer(window, answer.fetched_at, rows=0, pages=1, end_proof="", complete=False, state="rejected")
    key, body = encode_object([exchange_of(answer)], trailer, prefix="rejected")
    context.store().put(key, body)
    return key


def exchange_of(answer: Answer, is_proof: bool = False, overlap: int = 0) -> Exchange:
    """Return what Bronze keeps of an answer."""
    return Exchange(answer.url, answer.status, answer.headers, answer.fetched_at, answer.body, is_proof, overlap)
