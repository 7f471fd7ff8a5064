"""
Whether the platform lives, can serve, and does all it should: a look that costs little.

Reasons are for everybody, logged in or not: they name no file, no user and no secret.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.rows import dict_row

from lakehouse.jobs import schedules
from lakehouse.market.errors import LakehouseError
from lakehouse.sandbox.host import Sandbox
from lakehouse.settings import Settings
from lakehouse.storage.space import NEARLY_FULL, free_bytes
from lakehouse.storage.store import open_store

WORKER_SILENT_S = 60.0
LATE = dt.timedelta(minutes=15)
_LOOKED_S = 10.0
_STORE_PATIENCE_S = 1.0


@dataclass(frozen=True)
class Reason:
    """Why something is not as it should be: a code for programs, and words."""

    code: str
    message: str


@dataclass(frozen=True)
class Health:
    """
    How the platform is.

    Attributes:
        reasons: Why it is not well; empty if it is.
        is_ready: Whether it can answer for data.
        data_version: Of what readers see; None while that cannot be known.
    """

    reasons: tuple[Reason, ...]
    is_ready: bool
    source: str
    data_version: int | None = None

    @property
    def status(self) -> str:
        """Return ok, degraded (it serves, but not all is well) or unavailable."""
        return "unavailable" if not self.is_ready else "degraded" if self.reasons else "ok"

    def document(self) -> dict[str, Any]:
        """Return it as the API says it."""
        return {
            "status": self.status,
            "live": True,
            "ready": self.is_ready,
            "reasons": [vars(reason) for reason in self.reasons],
            "source": self.source,
            "data_version": self.data_version,
        }


def away(settings: Settings) -> Health:
    """Return how the platform is without its database."""
    message = "the database is away: `lakehouse doctor`, and the log of the web process, say why"
    return Health((Reason("database_away", message),), False, settings.source)


def unprepared(settings: Settings) -> Health:
    """Return how the platform is on a database that holds no schema of this version, or not for us."""
    message = "the database is not prepared for this version: `lakehouse migrate`, or a start of the platform, does it"
    return Health((Reason("database_not_prepared", message),), False, settings.source)


def look(settings: Settings, conn: Connection[Any]) -> Health:
    """Return how the platform is, its database being there."""
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_LOOK).fetchone() or {}
    reasons = [
        *_workers(settings, row["heard"] or {}),
        *_exchange(row["paused_since"], row["paused_until"]),
        *_dead_letters(row["dead"]),
        *_late(settings, conn),
        *_disk(settings),
        *_looked_at("store", lambda: _store(settings)),
        *_looked_at("sandbox", lambda: _sandbox(settings)),
    ]
    return Health(tuple(reasons), True, settings.source, row["data_version"])


def expected_queues(settings: Settings) -> tuple[str, ...]:
    """Return the queues that a worker of ours serves; where functions are woken, those serve the other."""
    return ("spark",) if settings.queue_prefix else ("io", "spark")


def _workers(settings: Settings, silent_s: dict[str, float]) -> list[Reason]:
    found = []
    for queue in expected_queues(settings):
        silent = silent_s.get(queue)
        if silent is None or silent > WORKER_SILENT_S:
            since = "yet" if silent is None else f"for {silent:.0f} s"
            found.append(Reason("no_worker", f"no worker of the queue {queue} was heard {since}: what is queued waits"))
    return found


def _exchange(since: dt.datetime | None, until: dt.datetime | None) -> list[Reason]:
    if since is None or until is None:
        return []
    return [
        Reason(
            "exchange_paused",
            f"the exchange does not answer since {since:%Y-%m-%d %H:%M} UTC; it is asked again at {until:%H:%M} UTC",
        )
    ]


def _dead_letters(dead: int) -> list[Reason]:
    return [Reason("dead_letters", f"dead letters: {dead}; `lakehouse jobs` says why")] if dead else []


def _late(settings: Settings, conn: Connection[Any]) -> list[Reason]:
    late = schedules.late(conn, LATE, is_real_time=settings.source == "exchange")
    return [Reason("schedule_late", f"the schedule {name} was due at {due:%Y-%m-%d %H:%M} UTC") for name, due in late]


def _disk(settings: Settings) -> list[Reason]:
    # Functions on AWS have no data folder
    if not settings.data_dir.exists() or free_bytes(settings.data_dir) >= NEARLY_FULL:
        return []
    return [Reason("disk_nearly_full", f"the data folder's disk has less than {NEARLY_FULL >> 20} MB free")]


def _store(settings: Settings) -> list[Reason]:
    store = open_store(settings.bronze_location, settings.s3_options, _STORE_PATIENCE_S)
    try:
        store.exists("source.json")
    except (LakehouseError, OSError) as error:
        kind = "refuses us" if type(error).__name__ == "StoreRefused" else "does not answer"
        return [Reason("store_away", f"the object store of Bronze {kind}: nothing can land")]
    return []


def _sandbox(settings: Settings) -> list[Reason]:
    if settings.sandbox == "off" or settings.sandbox_socket is None:
        return []
    reason = Sandbox(settings.sandbox_socket).why_off()
    return [] if reason is None else [Reason("sandbox_off", "analysts cannot run Python: the page Analysis says why")]


_looks: dict[str, tuple[float, list[Reason]]] = {}
_looking = {"store": threading.Lock(), "sandbox": threading.Lock()}


def _looked_at(name: str, look_at: Callable[[], list[Reason]]) -> list[Reason]:
    """Return what was seen in the last seconds, else look: one at a time does, however many ask."""
    at, found = _looks.get(name, (float("-inf"), []))
    if time.monotonic() - at > _LOOKED_S and _looking[name].acquire(blocking=False):
        try:
            found = look_at()
            _looks[name] = (time.monotonic(), found)
        finally:
            _looking[name].release()
    return found


_LOOK: LiteralString = """
    SELECT p.data_version, b.since AS paused_since, b.until AS paused_until,
        (SELECT count(*) FROM procrastinate_jobs WHERE status = 'failed') AS dead,
        (SELECT jsonb_object_agg(queue, extract(epoch FROM now() - heard_at)) FROM lake.worker_heard) AS heard
    FROM (SELECT 1) AS one LEFT JOIN gold.publication p ON true LEFT JOIN lake.breaker b ON true
"""
