"""Who runs now and who waits: one run per user at a time, so many at once, first come first served."""

from __future__ import annotations

import contextlib
import os
import threading

_LONGEST = 100
MOST_BYTES = 1 << 30


class Busy(Exception):
    """The run is not taken; the message is for the analyst."""


class Ticket:
    """
    One run, waiting or running.

    Attributes:
        user: Whose it is.
        size: Bytes of its data, which lie in memory.
        wake: A descriptor that can be read when the place may have changed, or the run is to stop.
        is_stopped: Whether its user asked to stop it.
    """

    def __init__(self, user: str, size: int = 0) -> None:
        self.user = user
        self.size = size
        self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.is_stopped = False

    def poke(self) -> None:
        """Make `wake` readable."""
        os.eventfd_write(self.wake, 1)

    def woke(self) -> None:
        """Take note of what `wake` said."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.wake)


class Queue:
    """
    The runs that wait and that run.

    Args:
        slots: How many run at once.
        most_bytes: Of data that lie in memory for all of them; one alone may have more.
    """

    def __init__(self, slots: int, most_bytes: int = MOST_BYTES) -> None:
        self._slots = slots
        self._most_bytes = most_bytes
        self._tickets: list[Ticket] = []
        self._running: set[Ticket] = set()
        self._lock = threading.Lock()

    def join(self, user: str, size: int = 0) -> Ticket:
        """
        Return a new ticket at the end of the queue.

        Args:
            size: Bytes of memory that its data hold until it leaves.

        Raises:
            Busy: if the user has one, too many wait, or the data of all would take too much memory.
        """
        with self._lock:
            if any(ticket.user == user for ticket in (*self._tickets, *self._running)):
                raise Busy("you have a run already, one at a time: wait for it, or stop it")
            if len(self._tickets) >= _LONGEST:
                raise Busy(f"{_LONGEST} runs wait already: try again in a few minutes")
            held = sum(ticket.size for ticket in (*self._tickets, *self._running))
            if held and held + size > self._most_bytes:
                raise Busy("the data of the runs that wait fill the memory there is for them: try again in a minute")
            ticket = Ticket(user, size)
            self._tickets.append(ticket)
            return ticket

    def place(self, ticket: Ticket) -> int:
        """Return the ticket's place, 1 being next; 0 when it runs, which begins by this call when its turn has come."""
        with self._lock:
            if ticket in self._running:
                return 0
            place = self._tickets.index(ticket) + 1
            if place == 1 and len(self._running) < self._slots:
                self._running.add(self._tickets.pop(0))
                self._poke()
                return 0
            return place

    def leave(self, ticket: Ticket) -> None:
        """End a run or stop waiting; the others move up."""
        with self._lock:
            self._running.discard(ticket)
            if ticket in self._tickets:
                self._tickets.remove(ticket)
            os.close(ticket.wake)
            self._poke()

    def stop(self, user: str) -> bool:
        """Have the user's run stopped; return whether there was one."""
        with self._lock:
            for ticket in (*self._tickets, *self._running):
                if ticket.user == user:
                    ticket.is_stopped = True
                    ticket.poke()
                    return True
            return False

    def _poke(self) -> None:
        for ticket in self._tickets:
            ticket.poke()
