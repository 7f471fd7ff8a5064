"""Who runs now and who waits: one run per user at a time, so many at once, first come first served."""

from __future__ import annotations

import contextlib
import os
import threading

_LONGEST = 100


class Busy(Exception):
    """The run is not taken; the message is for the analyst."""


class Ticket:
    """
    One run, waiting or running.

    Attributes:
        user: Whose it is.
        wake: A descriptor that can be read when the place may have changed, or the run is to stop.
        is_stopped: Whether its user asked to stop it.
    """

    def __init__(self, user: str) -> None:
        self.user = user
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
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._tickets: list[Ticket] = []
        self._running: set[Ticket] = set()
        self._lock = threading.Lock()

    def join(self, user: str) -> Ticket:
        """Return a new ticket at the end of the queue; raise Busy if the user has one, or too many wait."""
        with self._lock:
            if any(ticket.user == user for ticket in (*self._tickets, *self._running)):
                raise Busy("you have a run already, one at a time: wait for it, or stop it")
            if len(self._tickets) >= _LONGEST:
                raise Busy(f"{_LONGEST} runs wait already: try again in a few minutes")
            ticket = Ticket(user)
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
