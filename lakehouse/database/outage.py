"""When the server goes away: what an error says of it, waiting until it is back, and a connection that survives it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
import structlog
from psycopg import Connection

from lakehouse.database.connection import Role, connect
from lakehouse.market.errors import LakehouseError

log = structlog.get_logger()

Result = TypeVar("Result")

# Longer than a restart with recovery takes; whoever waits holds nothing meanwhile.
OUTAGE_S = 120.0
_RETRY_S = (0.1, 1.0)
# What a server says that will soon take connections again, or another one of them (libpq gives no SQLSTATE for these)
_PASSING = (
    "starting up",
    "shutting down",
    "not yet accepting",
    "recovery mode",
    "too many clients",
    "slots are reserved",
)


class NotNow(LakehouseError):
    """Nothing is wrong with what was asked, but it cannot be done at present: it is to be put off, not failed."""


class DatabaseAway(NotNow):
    """The database has not answered for longer than one waits for it."""


def is_outage(error: BaseException | None) -> bool:
    """Return whether *error*, or one that caused it, says that the server went away or takes no connections."""
    while error is not None:
        if isinstance(error, DatabaseAway | psycopg.errors.IdleInTransactionSessionTimeout):
            return True
        if isinstance(error, psycopg.OperationalError) and _is_away(error):
            return True
        error = error.__cause__
    return False


def _is_away(error: psycopg.OperationalError) -> bool:
    if error.sqlstate is not None:
        return error.sqlstate[:2] == "08" or error.sqlstate[:3] == "57P" or error.sqlstate == "53300"
    text = str(error)
    # A server that refuses our name or password is there, and will refuse them again.
    return "FATAL" not in text or any(said in text for said in _PASSING)


def wait_for_database(dsn: str, patience_s: float = OUTAGE_S) -> None:
    """Return once the database takes connections; raise DatabaseAway after *patience_s*."""
    connection = SharedConnection(dsn, patience_s=patience_s)
    connection.run(lambda conn: conn.execute("SELECT 1"))
    connection.close()


class SharedConnection:
    """
    One connection for all threads of a process, one thread at a time.

    It is opened when first used, and again after an outage; that the server went away and came back is logged once.

    Args:
        on_open: What a new connection needs before it is used.
    """

    def __init__(
        self,
        dsn: str,
        role: Role | None = None,
        *,
        patience_s: float = OUTAGE_S,
        on_open: Callable[[Connection[Any]], object] = lambda conn: None,
    ) -> None:
        self._dsn, self._role, self._patience_s, self._on_open = dsn, role, patience_s, on_open
        self._lock = threading.Lock()
        self._conn: Connection[Any] | None = None
        self._away_since: float | None = None

    def run(self, work: Callable[[Connection[Any]], Result], patience_s: float | None = None) -> Result:
        """
        Return what *work* returns; when the server went away meanwhile, run it again from its start.

        *work* must bear that: whether a commit that was not answered had happened is not known.

        Raises:
            DatabaseAway: when the server has been away for longer than the patience, whoever noticed it first.
        """
        patience_s = self._patience_s if patience_s is None else patience_s
        wait_s = _RETRY_S[0]
        while True:
            with self._lock:
                try:
                    result = work(self._opened())
                except psycopg.Error as error:
                    if not is_outage(error):
                        raise
                    self._note_away(error, patience_s)
                else:
                    self._note_back()
                    return result
            time.sleep(wait_s)
            wait_s = min(wait_s * 1.5, _RETRY_S[1])

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._lock:
            self._close()

    def _opened(self) -> Connection[Any]:
        if self._conn is None or self._conn.closed:
            self._conn = connect(self._dsn, self._role)
            self._on_open(self._conn)
        return self._conn

    def _note_away(self, error: psycopg.Error, patience_s: float) -> None:
        self._close()
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            log.warning("database.away", waiting_s=self._patience_s, error=_one_line(error))
        if now - self._away_since >= patience_s:
            raise DatabaseAway(
                f"the database has not answered for {now - self._away_since:.0f} s ({_one_line(error)}): "
                "start it again; what waits for it goes on by itself"
            ) from error

    def _note_back(self) -> None:
        if self._away_since is not None:
            log.warning("database.back", away_s=round(time.monotonic() - self._away_since, 1))
            self._away_since = None

    def _close(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None


_shared: dict[tuple[int, str, Role | None], SharedConnection] = {}
_sharing = threading.Lock()


def shared(dsn: str, role: Role | None = None) -> SharedConnection:
    """Return this process's connection to *dsn* as *role*: always the same one."""
    key = (os.getpid(), dsn, role)
    with _sharing:
        return _shared.setdefault(key, SharedConnection(dsn, role))


def close_shared() -> None:
    """Close this process's shared connections, at its end."""
    with _sharing:
        mine = [_shared.pop(key) for key in list(_shared) if key[0] == os.getpid()]
    for connection in mine:
        connection.close()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
