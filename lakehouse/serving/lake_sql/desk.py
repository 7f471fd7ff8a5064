"""Who runs how many statements at a time in this process, and stopping them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lakehouse.market.errors import BadInput, LakehouseError
from lakehouse.serving.lake_sql.process import Answer, Statement

AT_ONCE = 4  # of 2 GiB and two threads each, at most
PER_USER = 2


class TooManyStatements(LakehouseError):
    """There is no room for one more at present; *is_own*: by the asking user's own statements."""

    def __init__(self, message: str, *, is_own: bool) -> None:
        super().__init__(message)
        self.is_own = is_own


class SqlDesk:
    """The statements that run; for many threads."""

    def __init__(self, at_once: int = AT_ONCE, per_user: int = PER_USER) -> None:
        self._at_once = at_once
        self._per_user = per_user
        self._running: dict[tuple[str, str], Statement] = {}
        self._lock = threading.Lock()

    def run(self, user: str, name: str, statement: Statement) -> Answer:
        """
        Run a statement of *user*, who may stop it by its *name*.

        Raises:
            TooManyStatements: at once, nothing waits.
            BadInput: if the user runs one of that name already.
            SqlRefused, SqlFailed, SqlStopped: see `Statement.run`.
        """
        with self._place(user, name, statement):
            return statement.run()

    def stop(self, user: str, name: str) -> bool:
        """Stop the statement that *user* runs under *name*; whether there is one."""
        with self._lock:
            statement = self._running.get((user, name))
        if statement is not None:
            statement.stop()
        return statement is not None

    @contextmanager
    def _place(self, user: str, name: str, statement: Statement) -> Iterator[None]:
        with self._lock:
            own = sum(1 for running, _ in self._running if running == user)
            if (user, name) in self._running:
                raise BadInput(f"a statement with the id {name} runs already: choose another id")
            if own >= self._per_user:
                raise TooManyStatements(
                    f"{own} statements of {user} run already, which is the most: stop one, or wait for one to end",
                    is_own=True,
                )
            if len(self._running) >= self._at_once:
                raise TooManyStatements(
                    f"{self._at_once} statements run already, which is the most: try again in some seconds",
                    is_own=False,
                )
            self._running[user, name] = statement
        try:
            yield
        finally:
            with self._lock:
                del self._running[user, name]
