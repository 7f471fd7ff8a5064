"""When the server goes away: what an error says of it, waiting until it is back, and a connection that survives it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import psycopg
import structlog
from psycopg import Connection

from lakehouse.database.connection import Role, connect
from lakehouse.market.errors import NotNow as NotNow

log = structlog.get_logger()

Result = TypeVar("Result")

# Longer than a restart with recovery takes; whoever waits holds nothing meanwhile.
OUTAGE_S = 120.0
_RETRY_S = (0.1, 1.0)
_WHY_S = 3
# What a server says that will soon take connections again, or another one of them (libpq gives no SQLSTATE for these)
_PASSING = (
    "starting up",
    "shutting down",
    "not yet accepting",
    "recovery mode",
    "too many clients",
    "slots are reserved",
)


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


class Outage:
    """One database's being away, as one process sees it: from the first who noticed it to the first who got through."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.ended_at = float("-inf")
        self._lock = threading.Lock()

    def endure(self, error: BaseException, patience_s: float) -> None:
        """Note that *error* says so, the first time in the log; raise DatabaseAway after *patience_s*."""
        now = time.monotonic()
        with self._lock:
            if self.since is None:
                self.since = now
                log.warning("database.away", error=_one_line(error))
            away_s = now - self.since
        if away_s >= patience_s:
            raise DatabaseAway(
                f"the database has not answered for {away_s:.0f} s ({_one_line(error)}): "
                "start it again; what waits for it goes on by itself"
            ) from error

    def end(self) -> None:
        """Note that the database answers, in the log if it was away."""
        with self._lock:
            if self.since is not None:
                log.warning("database.back", away_s=round(time.monotonic() - self.since, 1))
                self.since, self.ended_at = None, time.monotonic()


def outage_of(dsn: str) -> Outage:
    """Return what this process knows of the database *dsn* being away."""
    with _sharing:
        return _outages.setdefault((os.getpid(), dsn), Outage())


def connect_patiently(dsn: str, role: Role | None = None, patience_s: float = OUTAGE_S) -> Connection[Any]:
    """Open a connection once the database takes one; raise DatabaseAway after *patience_s*."""
    outage = outage_of(dsn)
    for wait_s in waits():
        try:
            conn = connect(dsn, role)
        except psycopg.OperationalError as error:
            if not is_outage(error):
                raise
            outage.endure(error, patience_s)
            time.sleep(wait_s)
        else:
            outage.end()
            return conn
    raise RuntimeError("waiting ended by itself")


def why_away(dsn: str) -> str:
    """Return why the database takes no connection now, in one line, within seconds; empty if it takes one."""
    try:
        psycopg.connect(dsn, connect_timeout=_WHY_S).close()
    except psycopg.OperationalError as error:
        return _one_line(error)
    return ""


def waits() -> Iterator[float]:
    """Yield the seconds between two looks for a database that is away, for ever."""
    wait_s = _RETRY_S[0]
    while True:
        yield wait_s
        wait_s = min(wait_s * 1.5, _RETRY_S[1])


class SharedConnection:
    """
    One connection for all threads of a process, one thread at a time.

    It is opened when first used, and again after an outage.

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
        self._outage = outage_of(dsn)
        self._lock = threading.Lock()
        self._conn: Connection[Any] | None = None
        self._opened_at = 0.0

    def run(self, work: Callable[[Connection[Any]], Result], patience_s: float | None = None) -> Result:
        """
        Return what *work* returns; when the server went away meanwhile, run it again from its start.

        *work* must bear that: whether a commit that was not answered had happened is not known.

        Raises:
            DatabaseAway: when the server has been away for longer than the patience, whoever noticed it first.
        """
        patience_s = self._patience_s if patience_s is None else patience_s
        for wait_s in waits():
            with self._lock:
                try:
                    result = work(self._opened())
                except psycopg.Error as error:
                    if not is_outage(error):
                        raise
                    is_of_before = self._conn is not None and self._opened_at < self._outage.ended_at
                    self._close()
                    if not is_of_before:  # else it was not used since an outage that others have seen the end of
                        self._outage.endure(error, patience_s)
                else:
                    self._note_back()
                    return result
            time.sleep(wait_s)
        raise RuntimeError("waiting ended by itself")

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._lock:
            self._close()

    def _opened(self) -> Connection[Any]:
        if self._conn is None or self._conn.closed:
            self._conn = connect(self._dsn, self._role)
            self._opened_at = time.monotonic()
            self._on_open(self._conn)
        return self._conn

    def _note_back(self) -> None:
        # A connection of before says nothing: the server may end one of them and leave the others
        if self._outage.since is not None and self._opened_at > self._outage.since:
            self._outage.end()

    def _close(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None


_outages: dict[tuple[int, str], Outage] = {}
_shared: dict[tuple[int, str, Role | None], SharedConnection] = {}
_sharing = threading.RLock()


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
