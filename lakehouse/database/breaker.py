"""
Whether the exchange answers at all: one circuit breaker for the workers of all processes.

It is one row, lake.breaker, by the database's clock. Attempts in vain are counted there and an answer clears them. Who
has reason to doubt asks the exchange one plain question (iss/client.py): no answer opens the breaker. While it is
open nobody asks; then one worker puts the plain question again, and the others wait for what he finds.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from psycopg import Connection
from psycopg.rows import class_row

from lakehouse.database.outage import NotNow, shared
from lakehouse.market.moscow import to_moscow

log = structlog.get_logger()

Result = TypeVar("Result")


@dataclass(frozen=True)
class Pause:
    """How long nobody asks: *first_s*, then twice as long each time up to *longest_s*."""

    first_s: float = 30
    longest_s: float = 900


@dataclass(frozen=True)
class BreakerState:
    """
    What is known of the exchange.

    Attributes:
        since: When it was found not to answer; None while it is closed.
        until: When it is asked again.
        is_due: Whether it is open, and one may find out now.
        failures: Attempts in vain since the last answer, of all workers.
        wait_s: Seconds until it is asked again.
    """

    is_open: bool
    is_due: bool
    since: dt.datetime | None
    until: dt.datetime | None
    reason: str | None
    failures: int
    wait_s: float

    @property
    def paused(self) -> dict[str, Any] | None:
        """What jobs wait for: since, until and reason; None while the exchange answers."""
        return {"since": self.since, "until": self.until, "reason": self.reason} if self.is_open else None

    def __str__(self) -> str:
        if self.since is None or self.until is None:
            return "The exchange answers"
        since, until = to_moscow(self.since), to_moscow(self.until)
        form = "%H:%M" if since.date() == until.date() else "%Y-%m-%d %H:%M"
        return (
            f"The exchange does not answer since {since:{form}} ({self.reason}): "
            f"asking again at {until:{form}} Moscow time"
        )


class BreakerOpen(NotNow):
    """Nobody asks the exchange at present; *wait_s* seconds from now one may find out whether it is back."""

    def __init__(self, message: str, wait_s: float = 0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def state(conn: Connection[Any]) -> BreakerState:
    """Return what is known of the exchange."""
    with conn.cursor(row_factory=class_row(BreakerState)) as cursor:
        found = cursor.execute(_STATE).fetchone()
    if found is None:
        raise RuntimeError("lake.breaker has no row: it was deleted by hand; INSERT INTO lake.breaker DEFAULT VALUES")
    return found


def close(conn: Connection[Any]) -> bool:
    """Let everybody ask again; return whether the breaker was open."""
    row = conn.execute(_CLOSE).fetchone()
    return bool(row and row[0])


class NeverOpen:
    """No breaker: for a single request by hand, and for tests of what the exchange does wrong."""

    async def lets_ask(self) -> bool:
        """Let everybody ask."""
        return True

    async def answered(self) -> None:
        """Note nothing."""

    async def failed(self) -> int:
        """Note nothing; there is never reason to doubt."""
        return 0

    async def claim_question(self, lease_s: float) -> bool:
        """Refuse the plain question."""
        return False

    async def is_answering(self) -> bool:
        """Say that it answers."""
        return True

    async def stay_away(self, reason: str, at_least_s: float) -> BreakerOpen:
        """Return the error, though nothing was opened."""
        return BreakerOpen(f"The exchange does not answer ({reason})")


class Breaker:
    """The breaker of all who use the database *dsn*, as the workers of one process see it."""

    def __init__(self, dsn: str, pause: Pause) -> None:
        self._dsn, self._pause = dsn, pause

    async def lets_ask(self) -> bool:
        """Return whether the breaker is closed, or was a moment ago."""
        key = (os.getpid(), self._dsn)
        if time.monotonic() - _seen_closed.get(key, float("-inf")) < _MOMENT_S:
            return True
        is_closed = not (await self._run(state)).is_open
        if is_closed:
            _seen_closed[key] = time.monotonic()
        return is_closed

    async def answered(self) -> None:
        """Note an answer: it closes the breaker, and what failed before counts no more."""
        if await self._run(close):
            log.warning("iss.exchange_answers_again")

    async def failed(self) -> int:
        """Note an attempt in vain; return how many there were since the last answer, of all workers."""
        row = await self._run(lambda conn: conn.execute(_FAILED).fetchone())
        return int(row[0]) if row else 0

    async def claim_question(self, lease_s: float) -> bool:
        """
        Return whether it is ours to ask the plain question, for *lease_s* at most.

        False while another worker does, and when there was an answer meanwhile.

        Raises:
            BreakerOpen: while nobody may ask.
        """
        if await self._run(lambda conn: conn.execute(_CLAIM, (lease_s,)).fetchone()):
            return True
        found = await self._run(state)
        if found.is_open and not found.is_due:
            raise BreakerOpen(str(found), found.wait_s)
        return False

    async def is_answering(self) -> bool:
        """Return whether the last that anybody knows is an answer."""
        found = await self._run(state)
        return not found.is_open and found.failures == 0

    async def stay_away(self, reason: str, at_least_s: float) -> BreakerOpen:
        """Open the breaker, for longer than the last time; return the error to raise."""
        longest_s = self._pause.longest_s
        values = {"first_s": self._pause.first_s, "longest_s": longest_s, "at_least_s": min(at_least_s, longest_s)}
        await self._run(lambda conn: conn.execute(_OPEN, {**values, "reason": reason}))
        _seen_closed.pop((os.getpid(), self._dsn), None)
        found = await self._run(state)
        log.warning("iss.exchange_does_not_answer", reason=reason, wait_s=round(found.wait_s, 1))
        return BreakerOpen(str(found), found.wait_s)

    async def _run(self, work: Callable[[Connection[Any]], Result]) -> Result:
        return await asyncio.to_thread(shared(self._dsn, "lakehouse_app").run, work)


# When this process last saw it closed: a look for every request would cost more than it tells
_MOMENT_S = 0.25
_seen_closed: dict[tuple[int, str], float] = {}

_STATE = """
    SELECT since IS NOT NULL AS is_open, until <= clock.at IS TRUE AS is_due, since, until, reason, failures,
        coalesce(greatest(extract(epoch FROM until - clock.at), 0), 0)::float8 AS wait_s
    FROM lake.breaker, (SELECT clock_timestamp() AS at) AS clock
"""
# The inner SELECT sees the row as it was
_CLOSE = """
    UPDATE lake.breaker SET failures = 0, since = NULL, until = NULL, openings = 0, reason = NULL, asking_until = NULL
    WHERE failures > 0 OR since IS NOT NULL OR asking_until IS NOT NULL
    RETURNING (SELECT since IS NOT NULL FROM lake.breaker)
"""
_FAILED = "UPDATE lake.breaker SET failures = failures + 1 RETURNING failures"
_CLAIM = """
    UPDATE lake.breaker SET asking_until = clock_timestamp() + make_interval(secs => %s)
    WHERE (since IS NOT NULL OR failures > 0)
        AND coalesce(until <= clock_timestamp(), true) AND coalesce(asking_until <= clock_timestamp(), true)
    RETURNING true
"""
_OPEN = """
    UPDATE lake.breaker SET since = coalesce(since, clock_timestamp()), openings = least(openings + 1, 20),
        until = clock_timestamp() + make_interval(secs => greatest(
            least(%(first_s)s * power(2, openings), %(longest_s)s), %(at_least_s)s)),
        reason = %(reason)s, asking_until = NULL
"""
