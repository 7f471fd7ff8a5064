"""What a worker needs to fetch: addresses and the budget, as plain values that can be sent to another machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection

from lakehouse.database.breaker import Breaker, Pause
from lakehouse.database.budget import Budget, Unlimited
from lakehouse.database.counters import tally
from lakehouse.database.outage import connect_patiently
from lakehouse.iss.client import IssClient, Patience
from lakehouse.market.errors import NotNow
from lakehouse.storage.store import Store, open_store

# A worker whose time ends begins nothing in its last minute, and waits for no answer in the last half of that: what was
# read must still land, and what was not be given back.
HAND_BACK_S, HANG_UP_S = 60.0, 30.0


class TimeIsUp(NotNow):
    """The worker's time is nearly over: another goes on."""


def endless() -> float:
    """Tell the time left of a worker whose time does not end."""
    return math.inf


@dataclass(frozen=True)
class FetchContext:
    """
    Where to ask, where to land, how fast.

    Attributes:
        iss_url: The exchange's API, such as ``https://iss.moex.com/iss``.
        dsn: The database with ledger and budget.
        store_url: Bronze: a folder, or ``s3://bucket/prefix`` with *store_options*.
        rate_per_s: Requests per second of all processes together; 0 lifts the budget.
        in_flight: Requests at a time of all processes together, and windows at a time of one.
        on_landed: Called with the key of every object that landed; picklable.
        time_left_s: Tells the seconds until this worker is ended; picklable where it goes to another machine.
        pause: How long all processes stay away from an exchange that does not answer; None: each window fails.
    """

    iss_url: str
    dsn: str = field(repr=False)  # holds a password
    store_url: str
    rate_per_s: float = 5
    in_flight: int = 4
    on_landed: Callable[[str], None] | None = None
    patience: Patience = field(default_factory=Patience)
    pause: Pause | None = None
    store_options: Mapping[str, str] = field(default_factory=dict, repr=False)  # holds a secret
    time_left_s: Callable[[], float] = endless

    def check_time(self) -> None:
        """Raise TimeIsUp when nothing more is to be begun."""
        if (left_s := self.time_left_s()) < HAND_BACK_S:
            raise TimeIsUp(f"{left_s:.0f} s are left of this worker's time")

    def client(self) -> IssClient:
        """Return a client that asks within the budget."""
        budget = Budget(self.dsn, self.rate_per_s, self.in_flight) if self.rate_per_s else Unlimited()
        breaker = Breaker(self.dsn, self.pause) if self.pause else None
        return IssClient(self.iss_url, budget, self.patience, breaker, tally(self.dsn))

    def connect(self) -> Connection[Any]:
        """Return a connection to the ledger, once the database takes one."""
        return connect_patiently(self.dsn, "lakehouse_app")

    def store(self) -> Store:
        """Return the store of Bronze."""
        return open_store(self.store_url, self.store_options)
