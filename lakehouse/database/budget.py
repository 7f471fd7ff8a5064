"""
One polite budget for the requests of all workers of all processes.

Slots stand one interval apart, without burst (GCRA in the one row of lake.request_budget, by the database's clock).
A worker first needs one of the few leases, which bound the requests in flight, and gets it and the next slot in the
same short transaction; then it waits for its slot without holding anything. Workers of one process that ask at once
share that transaction. A slot that was not used early in its interval is dropped: a late worker takes another.
A lease ends with the connection of its process, and in any case when it expires.

When the database goes away, nobody asks: who wants a slot waits until it is back, within bounds. The slots of before
stand in their row, and each process takes its leases over to its new connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from psycopg import Connection

from lakehouse.database.clocks import Clocks
from lakehouse.database.outage import OUTAGE_S, DatabaseAway, SharedConnection

_LEASE_S = 60
# A server that was started again cannot tell whose processes live: for so long they may take their leases over
_TAKE_OVER_S = 5
# The first part of a slot: what is let go at its end still arrives within the next one, where the exchange counts
_USABLE, _SHORTEST_S = 0.4, 0.005
_AT_ONCE = 16  # slots reserved by one update, at most
_POLL_S = (0.01, 0.04)  # between two looks for a free lease
# A slot further ahead than this was not queued for: the database's clock went back
_LONGEST_QUEUE_S, _LONGEST_QUEUE_SLOTS = 300, 100


Ready = Callable[[], Awaitable[bool]]


class Unlimited:
    """No budget: for the simulator."""

    @asynccontextmanager
    async def slot(self, ready: Ready | None = None) -> AsyncIterator[bool]:
        """Let the request go out at once; yields what *ready* says."""
        yield ready is None or await ready()


class Budget:
    """
    At most *rate_per_s* requests a second and *in_flight* at a time, of all who use the database *dsn*.

    The equal budgets of a process share one connection, which is opened when one is first used, and closed with the
    last of them. Asking raises DatabaseAway when the database was away for longer than *patience_s*.
    """

    def __init__(self, dsn: str, rate_per_s: float, in_flight: int, patience_s: float = OUTAGE_S) -> None:
        if rate_per_s <= 0 or in_flight < 1:
            raise ValueError(f"a budget needs a rate and a request in flight, was {rate_per_s} and {in_flight}")
        self._dsn = dsn
        self._interval_s = 1 / rate_per_s
        self._in_flight = in_flight
        self._patience_s = patience_s
        self._ledger: _Ledger | None = None

    @asynccontextmanager
    async def slot(self, ready: Ready | None = None) -> AsyncIterator[bool]:
        """
        Wait until one request may go out; it counts as in flight until the block ends, for 60 s at most.

        *ready* is asked before the slot's own time, which nothing may take up; if it says no, so does the slot.
        """
        ledger = self._opened()
        lease = uuid.uuid4()
        try:
            yield await _wait_for_slot(ledger, lease, ready)
        finally:
            await asyncio.to_thread(ledger.release, lease)

    def _opened(self) -> _Ledger:
        if self._ledger is None:
            self._ledger = _shared_ledger(self._dsn, self._interval_s, self._in_flight, self._patience_s)
        return self._ledger


@dataclass(frozen=True)
class _Slot:
    """When a request may go out: from *opens* until *closes*, on this process's monotonic clock."""

    opens: float
    closes: float


async def _wait_for_slot(ledger: _Ledger, lease: uuid.UUID, ready: Ready | None) -> bool:
    while True:
        reserving = asyncio.create_task(asyncio.to_thread(ledger.reserve, lease))
        try:
            slot = await asyncio.shield(reserving)
        except asyncio.CancelledError:
            await asyncio.wait([reserving])  # or the lease would be taken after it was given back
            raise
        if slot is None:
            await asyncio.sleep(random.uniform(*_POLL_S))
            continue
        if ready and not await ready():
            return False
        await asyncio.sleep(max(0, slot.opens - time.monotonic()))
        if time.monotonic() < slot.closes:
            return True


class _Ledger:
    """The rows in PostgreSQL, through one connection that any thread may use."""

    def __init__(self, dsn: str, interval_s: float, in_flight: int, patience_s: float) -> None:
        self._asked: deque[tuple[uuid.UUID, Future[_Slot | None]]] = deque()
        self._lock = threading.Lock()
        self._held: set[uuid.UUID] = set()
        self._clocks = Clocks()
        self._shared = SharedConnection(dsn, patience_s=patience_s, on_open=partial(_take_over, self._held))
        weakref.finalize(self, self._shared.close)
        self._usable_s = min(interval_s, max(_USABLE * interval_s, _SHORTEST_S))
        longest_queue_s = max(_LONGEST_QUEUE_S, _LONGEST_QUEUE_SLOTS * interval_s)
        self._values = {
            "interval": interval_s,
            "in_flight": in_flight,
            "lease_s": _LEASE_S,
            "queue_s": longest_queue_s,
            "take_over_s": _TAKE_OVER_S,
        }

    def reserve(self, lease: uuid.UUID) -> _Slot | None:
        """Take *lease* and the next slot; return that slot, None while all leases are out."""
        answer: Future[_Slot | None] = Future()
        self._asked.append((lease, answer))
        with self._lock:  # who comes first answers for all that ask by then
            while not answer.done():
                self._answer([self._asked.popleft() for _ in range(min(len(self._asked), _AT_ONCE))])
        return answer.result()

    def release(self, lease: uuid.UUID) -> None:
        """Give *lease* back."""
        self._held.discard(lease)
        # While the database is away it is not waited for: a lease that nobody takes over ends with its connection
        with contextlib.suppress(DatabaseAway):
            self._shared.run(
                lambda conn: conn.execute("DELETE FROM lake.request_lease WHERE lease_id = %s", (lease,)), patience_s=0
            )

    def _answer(self, asked: list[tuple[uuid.UUID, Future[_Slot | None]]]) -> None:
        leases = [lease for lease, _ in asked]
        try:
            slot_by_lease = self._shared.run(lambda conn: self._reserve(conn, leases))
        except (psycopg.Error, DatabaseAway) as error:
            for _, answer in asked:
                answer.set_exception(error)
            return
        for lease, answer in asked:
            answer.set_result(slot_by_lease.get(lease))

    def _reserve(self, conn: Connection[Any], leases: list[uuid.UUID]) -> dict[uuid.UUID, _Slot]:
        with conn.transaction():
            # Locked first: the counting of leases below must see what the one before us did
            conn.execute("SELECT FROM lake.request_budget FOR UPDATE")
            before = time.monotonic()
            rows = conn.execute(_RESERVE, {**self._values, "leases": leases}).fetchall()
            after = time.monotonic()
        self._held.update(lease for lease, _, _ in rows)
        for _, asked_at, _ in rows[:1]:
            self._clocks.compare(before, asked_at, after)
        return {lease: self._slot(at) for lease, _, at in rows}

    def _slot(self, at: float) -> _Slot:
        earliest, latest = self._clocks.ours(at)
        return _Slot(latest, max(earliest + self._usable_s, latest + self._usable_s / 2))


def _take_over(held: set[uuid.UUID], conn: Connection[Any]) -> None:
    # A process that stops in mid-transaction must not stop all others
    conn.execute("SET idle_in_transaction_session_timeout = '5s'")
    conn.execute(
        """
        INSERT INTO lake.request_lease (lease_id, expires_at, backend_pid)
            SELECT held.lease_id, clock_timestamp() + make_interval(secs => %s), pg_backend_pid()
            FROM unnest(%s::uuid[]) AS held (lease_id)
        ON CONFLICT (lease_id) DO UPDATE SET backend_pid = excluded.backend_pid
        """,
        (_LEASE_S, list(held)),
    )


_ledgers: weakref.WeakValueDictionary[tuple[object, ...], _Ledger] = weakref.WeakValueDictionary()
_opening = threading.Lock()


def _shared_ledger(dsn: str, interval_s: float, in_flight: int, patience_s: float) -> _Ledger:
    key = (os.getpid(), dsn, interval_s, in_flight, patience_s)
    with _opening:
        ledger = _ledgers.get(key)
        if ledger is None:
            ledger = _ledgers[key] = _Ledger(dsn, interval_s, in_flight, patience_s)
        return ledger


_RESERVE = """
    WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS at),
    over AS (
        DELETE FROM lake.request_lease l USING clock
        WHERE lease_id <> ALL(%(leases)s) AND (
            expires_at <= clock.at
            OR backend_pid IS NOT NULL AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.backend_pid)
                AND clock.at > make_interval(secs => %(take_over_s)s) + (
                    SELECT greatest(pg_postmaster_start_time(), max(backend_start)) FROM pg_stat_activity
                    WHERE backend_type = 'checkpointer'))
        RETURNING lease_id
    ),
    others AS (
        SELECT count(*) AS n FROM lake.request_lease
        WHERE lease_id <> ALL(%(leases)s) AND lease_id NOT IN (SELECT lease_id FROM over)
    ),
    granted AS (
        SELECT lease_id, number FROM others, unnest(%(leases)s::uuid[]) WITH ORDINALITY AS asked (lease_id, number)
        WHERE number <= %(in_flight)s - others.n
    ),
    slots AS (
        UPDATE lake.request_budget SET slots_given = slots_given + granted.n,
            next_slot_at = make_interval(secs => %(interval)s * granted.n) + greatest(
            CASE WHEN next_slot_at < clock.at + make_interval(secs => %(queue_s)s) THEN next_slot_at END, clock.at)
        FROM clock, (SELECT count(*) AS n FROM granted) AS granted WHERE granted.n > 0
        RETURNING next_slot_at - make_interval(secs => %(interval)s * granted.n) AS first_at
    ),
    given AS (
        SELECT lease_id, first_at + make_interval(secs => %(interval)s * (number - 1)) AS at FROM granted, slots
    ),
    written AS (
        INSERT INTO lake.request_lease (lease_id, expires_at, backend_pid)
            SELECT lease_id, at + make_interval(secs => %(lease_s)s), pg_backend_pid() FROM given
        ON CONFLICT (lease_id) DO UPDATE SET expires_at = excluded.expires_at, backend_pid = excluded.backend_pid
    )
    SELECT lease_id, extract(epoch FROM clock.at)::float8, extract(epoch FROM given.at)::float8 FROM given, clock
"""
