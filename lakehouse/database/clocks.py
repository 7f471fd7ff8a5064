"""How the database's clock and ours differ."""

from __future__ import annotations

from collections import deque

_COMPARED_S = 10


class Clocks:
    """
    The database's clock against this process's monotonic one, as narrowly as some seconds of answers tell.

    A single answer may have taken long on its way. What contradicts the others is a new beginning: a clock was set, or
    ours stood still while a laptop slept.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float, float]] = deque()

    def compare(self, before: float, theirs: float, after: float) -> None:
        """Note that theirs showed *theirs* between *before* and *after* of ours."""
        self._seen.append((after, before - theirs, after - theirs))
        while self._seen[0][0] < after - _COMPARED_S:
            self._seen.popleft()
        least, most = self._bounds()
        if least > most:
            self._seen = deque([self._seen[-1]])

    def ours(self, theirs: float) -> tuple[float, float]:
        """Return between which times of ours theirs shows *theirs*."""
        least, most = self._bounds()
        return theirs + least, theirs + most

    def _bounds(self) -> tuple[float, float]:
        return max(least for _, least, _ in self._seen), min(most for _, _, most in self._seen)
