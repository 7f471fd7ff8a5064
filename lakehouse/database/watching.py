"""
A server that takes bytes and answers nothing: stopped by a signal, or on a disk that hangs.

TCP is well then, so a statement would wait for ever. Who waits for long asks the server for another connection: one
that gives none is taken for away, one that gives it may go on with its long statement.
"""

from __future__ import annotations

import time
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.abc import PQGen

RV = TypeVar("RV")

_INTERVAL_S = 0.1  # psycopg's own
_ANSWERS_S = 5
_MOST_SILENT_S = 60.0


class Frozen(psycopg.OperationalError):
    """The server has answered nothing for long, and gives no other connection."""


class WatchedConnection(Connection[Any]):
    """
    A connection on which nothing waits for a frozen server.

    Attributes:
        server: Where to ask whether the server lives, with its password; until it is set nothing is watched.
        silent_s: How long nothing may come before it is asked; twice as long after each answer.
    """

    server: str = ""
    silent_s: float = 10.0

    def wait(self, gen: PQGen[RV], interval: float = _INTERVAL_S, timeout: float | None = None) -> RV:
        """Wait for *gen*; raise Frozen, and close the connection, when the server answers nobody."""
        if not self.server:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(_watched(gen, self.silent_s, self.server), interval, timeout)
        except Frozen:
            self.pgconn.finish()
            raise


class AsyncWatchedConnection(AsyncConnection[Any]):
    """As WatchedConnection."""

    server: str = ""
    silent_s: float = 10.0

    async def wait(  # psycopg's own signature
        self,
        gen: PQGen[RV],
        interval: float = _INTERVAL_S,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> RV:
        """Wait for *gen*; raise Frozen, and close the connection, when the server answers nobody."""
        if not self.server:
            return await super().wait(gen, interval, timeout)
        try:
            return await super().wait(_watched(gen, self.silent_s, self.server), interval, timeout)
        except Frozen:
            self.pgconn.finish()
            raise


def _watched(gen: PQGen[RV], silent_s: float, server: str) -> PQGen[RV]:
    """Go on with *gen*, and look after the server while nothing is ready."""
    since = time.monotonic()
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready:
                since = time.monotonic()
            elif time.monotonic() - since > silent_s:
                _check(server, time.monotonic() - since)
                since, silent_s = time.monotonic(), min(2 * silent_s, _MOST_SILENT_S)
            wanted = gen.send(ready)
    except StopIteration as end:
        value: RV = end.value
        return value


def _check(server: str, silent_s: float) -> None:
    try:
        psycopg.connect(server, connect_timeout=_ANSWERS_S).close()
    except psycopg.OperationalError as error:
        if "FATAL" in str(error):  # it answers, though it says no
            return
        raise Frozen(f"the server has answered nothing for {silent_s:.0f} s, and takes no connection") from error
