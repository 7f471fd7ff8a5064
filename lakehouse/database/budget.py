"""
One polite budget for the requests of all workers of all processes.

Slots stand one interval apart, without burst (GCRA in the one row of lake.request_budget, by the database's clock).
A worker first waits for one of the few leases, which bound the requests in flight and expire if it dies, and takes the
next slot in the same short transaction; then it waits for its slot without holding anything. A slot that was not used
within its interval is dropped: a late worker takes another.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import Connection

from lakehouse.database.connection import connect

_LEASE_S = 60
_POLL_S = (0.01, 0.04)  # between two looks for a free lease
# A slot further ahead than this was not queued for: the database's clock went back
_LONGEST_QUEUE_S, _LONGEST_QUEUE_SLOTS = 300, 100


class Unlimited:
    """No budget: for the simulator."""

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Let the request go out at once."""
        yield


class Budget:
    """
    At most *rate_per_s* requests a second and *in_flight* at a time, of all who use the database *dsn*.

    It opens one connection when it is first used, which is closed with it.
    """

    def __init__(self, dsn: str, rate_per_s: float, in_flight: int) -> None:
        if rate_per_s <= 0 or in_flight < 1:
            raise ValueError(f"a budget needs a rate and a request in flight, was {rate_per_s} and {in_flight}")
        self._dsn = dsn
        self._interval_s = 1 / rate_per_s
        self._in_flight = in_flight
        self._ledger: _Ledger | None = None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait until one request may go out; it counts as in flight until the block ends, for 60 s at most."""
        ledger = await self._open()
        lease = uuid.uuid4()
        try:
            await self._wait_for_slot(ledger, lease)
            yield
        finally:
            await asyncio.to_thread(ledger.release, lease)

    async def _open(self) -> _Ledger:
        async with self._opening:
            if self._ledger is None or self._ledger.is_closed:
                self._ledger = await asyncio.to_thread(_Ledger, self._dsn, self._interval_s, self._in_flight)
            return self._ledger

    async def _wait_for_slot(self, ledger: _Ledger, lease: uuid.UUID) -> None:
        # Both ends are narrowed by what we do not know of the database's clock
        margin_s = min(ledger.clock_error_s, self._interval_s / 4)
        while True:
            slot_at = await asyncio.to_thread(ledger.reserve, lease)
            if slot_at is None:
                await asyncio.sleep(random.uniform(*_POLL_S))
                continue
            await asyncio.sleep(max(0, slot_at + margin_s - time.monotonic()))
            if time.monotonic() < slot_at + self._interval_s - margin_s:
                return


class _Ledger:
    """The rows in PostgreSQL; times are of this process's monotonic clock, in seconds."""

    def __init__(self, dsn: str, interval_s: float, in_flight: int) -> None:
        self._lock = threading.Lock()
        self._conn = connect(dsn)
        weakref.finalize(self, self._conn.close)
        # A process that stops in mid-transaction must not stop all others
        self._conn.execute("SET idle_in_transaction_session_timeout = '5s'")
        self._ahead_s, self.clock_error_s = min(
            (_compare_clocks(self._conn) for _ in range(4)), key=lambda pair: pair[1]
        )
        longest_queue_s = max(_LONGEST_QUEUE_S, _LONGEST_QUEUE_SLOTS * interval_s)
        self._values = {"interval": interval_s, "in_flight": in_flight, "lease_s": _LEASE_S, "queue_s": longest_queue_s}

    @property
    def is_closed(self) -> bool:
        return self._conn.closed

    def reserve(self, lease: uuid.UUID) -> float | None:
        """Take *lease* and the next slot; return when that begins, None while all leases are out."""
        with self._lock, self._conn.transaction():
            # Locked first: the counting of leases below must see what the one before us did
            self._conn.execute("SELECT FROM lake.request_budget FOR UPDATE")
            row = self._conn.execute(_RESERVE, {**self._values, "lease": lease}).fetchone()
        return row[0] - self._ahead_s if row else None

    def release(self, lease: uuid.UUID) -> None:
        """Give *lease* back."""
        with self._lock:
            self._conn.execute("DELETE FROM lake.request_lease WHERE lease_id = %s", (lease,))


_RESERVE = """
    WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS at),
    others AS (
        SELECT count(*) AS n FROM lake.request_lease, clock WHERE expires_at > clock.at AND lease_id <> %(lease)s
    ),
    expired AS (
        DELETE FROM lake.request_lease USING clock WHERE expires_at <= clock.at AND lease_id <> %(lease)s
    ),
    slot AS (
        UPDATE lake.request_budget SET next_slot_at = make_interval(secs => %(interval)s) + greatest(
            CASE WHEN next_slot_at < clock.at + make_interval(secs => %(queue_s)s) THEN next_slot_at END, clock.at)
        FROM clock, others WHERE others.n < %(in_flight)s
        RETURNING next_slot_at - make_interval(secs => %(interval)s) AS at
    )
    INSERT INTO lake.request_lease (lease_id, expires_at)
        SELECT %(lease)s, at + make_interval(secs => %(lease_s)s) FROM slot
    ON CONFLICT (lease_id) DO UPDATE SET expires_at = excluded.expires_at
    RETURNING extract(epoch FROM expires_at - make_interval(secs => %(lease_s)s))::float8
"""


def _compare_clocks(conn: Connection[Any]) -> tuple[float, float]:
    """Return by how much the database's clock is ahead of our monotonic one, and how wrong that may be, in seconds."""
    before = time.monotonic()
    row = conn.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    after = time.monotonic()
    return (row[0] if row else 0.0) - (before + after) / 2, (after - before) / 2
