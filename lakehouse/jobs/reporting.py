"""What a worker tells of its fetching while it goes on; picklable, so it may run on another machine."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import Connection

from lakehouse.bronze.context import FetchContext
from lakehouse.bronze.fetch import Cancelled
from lakehouse.database.outage import shared
from lakehouse.jobs.queue import enqueue

_REPORT_EVERY_S = 0.3


def announcing(context: FetchContext) -> FetchContext:
    """Return *context* with every object that lands told to the queue."""
    return replace(context, on_landed=AnnounceLanded(context.dsn, tells_itself="://" in context.store_url))


@dataclass(frozen=True)
class AnnounceLanded:
    """
    Tells the queue of a new object: for a folder as an object store's event would, for an object store by the merge.

    A store of objects has events of its own (*tells_itself*), which may not be set up: the merge takes either for both.
    """

    dsn: str
    tells_itself: bool = False

    def __call__(self, object_key: str) -> None:
        shared(self.dsn, "lakehouse_app").run(lambda conn: self._tell(conn, object_key))

    def _tell(self, conn: Connection[Any], object_key: str) -> None:
        if self.tells_itself:
            enqueue(conn, "merge", {}, only_one=True)
        else:
            enqueue(conn, "landed", {"object_key": object_key})


@dataclass
class WindowProgress:
    """
    Writes a window's pages and rows down while it is read, and stops it when its job is cancelled.

    What was written never gets less, also when the window is read again from its start.
    """

    dsn: str
    window_id: int
    _next_at: float = field(default=0.0, compare=False)

    def __call__(self, pages: int, rows: int) -> None:
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + _REPORT_EVERY_S
        if shared(self.dsn, "lakehouse_app").run(
            lambda conn: conn.execute(_WRITE, (pages, rows, self.window_id)).fetchone()
        ) == (True,):
            raise Cancelled(f"window {self.window_id} was cancelled")

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_next_at": 0.0}  # another machine's monotonic clock is another


_WRITE = """
    UPDATE lake.job_window w SET pages = greatest(w.pages, %s), rows = greatest(w.rows, %s), updated_at = now()
    FROM lake.job j WHERE w.window_id = %s AND j.job_id = w.job_id RETURNING j.cancel_requested
"""
