"""A worker's connection to the queue, which waits for a database that went away instead of ending the worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, LiteralString, TypeVar

import psycopg
from procrastinate import PsycopgConnector
from procrastinate.connector import Notify
from procrastinate.exceptions import ConnectorException
from procrastinate.sql import queries
from psycopg import AsyncConnection

from lakehouse.database.outage import DatabaseAway, is_outage, outage_of, waits
from lakehouse.database.watching import AsyncWatchedConnection

Result = TypeVar("Result")

# A worker that finds no database for so long ends, and says why; whoever started it may start it again
PATIENCE_S = 600.0
_ENDS_MESSAGE = (queries["finish_job"], queries["retry_job"])
# What was taken for us while the connection broke, and of which we never heard
_PUT_BACK: LiteralString = """
    UPDATE procrastinate_jobs SET status = 'todo', worker_id = NULL
    WHERE status = 'doing' AND worker_id = %(worker_id)s AND id <> ALL(%(held)s)
"""


async def _watch(dsn: str, conn: AsyncConnection[Any]) -> None:
    if isinstance(conn, AsyncWatchedConnection):
        conn.server = dsn


class SteadyConnector(PsycopgConnector):
    """
    Procrastinate's connector, which asks again when the server went away.

    Attributes:
        back_at: When the database last came back, on the monotonic clock.
        given_up: Why this worker cannot go on, once it cannot.
    """

    def __init__(self, dsn: str, connections: int, patience_s: float = PATIENCE_S) -> None:
        # The pool looks for the server itself, ever more seldom; so it gives up soon and is asked anew
        super().__init__(
            conninfo=dsn,
            min_size=1,
            max_size=connections,
            timeout=5,
            reconnect_timeout=4,
            connection_class=AsyncWatchedConnection,
            configure=partial(_watch, dsn),
        )
        self.back_at = float("-inf")
        self.given_up: DatabaseAway | None = None
        self._outage, self._patience_s = outage_of(dsn), patience_s
        self._held: set[int] = set()

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """Run *query*; one that ends a message may find that it had done so before the connection broke."""
        tried = 0

        async def ask() -> None:
            nonlocal tried
            tried += 1
            try:
                await super(SteadyConnector, self).execute_query_async(query, **arguments)
            except ConnectorException as error:
                has_ended = tried > 1 and isinstance(error.__cause__, psycopg.errors.RaiseException)
                if not (has_ended and query in _ENDS_MESSAGE):
                    raise

        await self._steadily(ask)
        if query in _ENDS_MESSAGE:
            self._held.discard(arguments["job_id"])

    async def execute_query_one_async(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        """Run *query* and return its row; a message that was taken for us in vain is put back first."""
        ask = partial(super().execute_query_one_async, query, **arguments)
        if query != queries["fetch_job"]:
            return await self._steadily(ask)
        put_back = partial(
            super().execute_query_async, _PUT_BACK, worker_id=arguments["worker_id"], held=list(self._held)
        )
        row: dict[str, Any] = await self._steadily(ask, put_back)
        if row["id"] is not None:
            self._held.add(row["id"])
        return row

    async def execute_query_all_async(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        """Run *query* and return its rows."""
        return await self._steadily(partial(super().execute_query_all_async, query, **arguments))

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        """Listen until cancelled."""
        await self._steadily(partial(super().listen_notify, on_notification, channels))

    async def _steadily(
        self, ask: Callable[[], Awaitable[Result]], before_again: Callable[[], Awaitable[None]] | None = None
    ) -> Result:
        was_away = False
        for wait_s in waits():
            asked_at = time.monotonic()
            try:
                if was_away and before_again:
                    await before_again()
                result = await ask()
            except (ConnectorException, psycopg.Error) as error:
                if not is_outage(error):
                    raise
                was_away = True
                if asked_at >= self._outage.ended_at:  # else others have seen its end since: it says nothing of now
                    self._endure(error)
            else:
                if was_away:
                    self._outage.end()
                    self.back_at = time.monotonic()
                return result
            await asyncio.sleep(wait_s)
        raise RuntimeError("waiting ended by itself")

    def _endure(self, error: Exception) -> None:
        try:
            self._outage.endure(error.__cause__ or error, self._patience_s)
        except DatabaseAway as away:
            self.given_up = away
            raise
