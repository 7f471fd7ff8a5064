"""Services are started, started again when they die, and given up when that does not help."""

from __future__ import annotations

import contextlib
import datetime as dt
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lakehouse.storage.space import NEARLY_FULL, free_bytes, human_size
from lakehouse.up.service import Service, ServiceFailed

_POLL_S = 0.1
# The platform stops in less than 5 s: services first, then the database, which takes 2 s (database/runner.py).
_STOP_S = 1.5
_LONGEST_WAIT_S = 30.0
_CALM_S = 300.0
GIVEN_UP_DEATHS = 5
GIVEN_UP_WITHIN_S = 120.0
_DISK_LOOKED_AT_S = 1.0
# Told once each: nearly full, and less than a segment of PostgreSQL's log, without which it serves nobody
_LOW = (NEARLY_FULL, 16 << 20)
_ROTATED_S = 60.0


def restart_delay_s(deaths: Sequence[float]) -> float | None:
    """
    Return how long to wait before a service that died at *deaths* (seconds, oldest first) is started again.

    1 s, then twice as long after each further death, up to 30 s; five minutes without one begin anew. None: it died 5
    times within 2 minutes, and is given up.
    """
    last = deaths[-1]
    if sum(last - at <= GIVEN_UP_WITHIN_S for at in deaths) >= GIVEN_UP_DEATHS:
        return None
    in_a_row = 1
    for earlier, later in zip(reversed(deaths[:-1]), reversed(deaths), strict=False):
        if later - earlier > _CALM_S:
            break
        in_a_row += 1
    return min(_LONGEST_WAIT_S, 2.0 ** (in_a_row - 1))


class Supervisor:
    """
    Runs services until told to stop.

    Args:
        data: The data folder; what happens is written to ``logs/supervisor.log`` in it.
        say: Tells a line to who sits at the terminal.
        mourn: Called with a service that died, before it is started again.
    """

    def __init__(self, data: Path, say: Callable[[str], None], mourn: Callable[[Service], None]) -> None:
        self._data, self._say, self._mourn = data, say, mourn
        self.services: list[Service] = []
        self._deaths: dict[str, list[float]] = {}
        self._restart_at: dict[str, float] = {}
        self._failure: ServiceFailed | None = None
        self._low: list[int] = []
        self._ends = threading.Event()
        self._spawning = threading.Lock()
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self, service: Service) -> str:
        """Start a service for the first time; return what it said when it was ready."""
        if service.log.exists():
            service.log.replace(service.log.with_suffix(".log.1"))
        self.services.append(service)
        service.spawn()
        return service.await_ready()

    def watch(self) -> None:
        """Begin to start services again when they die; the first start of each must have been made."""
        self._watcher.start()

    def check(self) -> None:
        """Raise ServiceFailed if a service was given up, or died before all were started."""
        if self._failure:
            raise self._failure
        if not self._watcher.is_alive() and not self._ends.is_set():
            for service in self.services:
                if service.has_ended():
                    raise ServiceFailed(f"{service.name} ended with {service.ending()}: {service.last_words()}")

    def stop(self) -> None:
        """Stop the services, the database last, and whatever they started."""
        self._ends.set()
        with self._spawning:
            others = [service for service in self.services if service.name != "postgres"]
            database = [service for service in self.services if service.name == "postgres"]
        _end(others, _STOP_S)
        _end(database, 3.0)
        if self._watcher.is_alive():
            self._watcher.join(_STOP_S)

    def _watch(self) -> None:
        rotated = looked = time.monotonic()
        while not self._ends.wait(_POLL_S) and not self._failure:
            if time.monotonic() - rotated > _ROTATED_S:
                rotated = time.monotonic()
                for service in self.services:
                    service.rotate_log()
            if time.monotonic() - looked > _DISK_LOOKED_AT_S:
                looked = time.monotonic()
                self._look_at_disk()
            for service in self.services:
                if service.has_ended():
                    self._note_death(service)
                elif service.process is None and time.monotonic() >= self._restart_at[service.name]:
                    self._start_again(service)
                if service.name == "postgres" and service.process is None:
                    break  # the others need it first

    def _note_death(self, service: Service) -> None:
        if self._ends.is_set():
            return
        how, words = service.ending(), service.last_words()
        service.bury()
        deaths = self._deaths.setdefault(service.name, [])
        deaths.append(time.monotonic())
        delay_s = restart_delay_s(deaths)
        if delay_s is None and service.is_spared:
            delay_s = _LONGEST_WAIT_S
        if delay_s is None:
            self._failure = ServiceFailed(
                f"{service.name} died {GIVEN_UP_DEATHS} times within {GIVEN_UP_WITHIN_S:.0f} s, the last time with "
                f"{how}: {words}{self._room()}; the platform stops: start it again when the cause is mended, "
                "it goes on where it was"
            )
            self._log(str(self._failure))
            return
        self._restart_at[service.name] = time.monotonic() + delay_s
        self._tell(f"{service.name} ended with {how}: {words}{self._room()}; it is started again in {delay_s:.0f} s")
        self._mourn(service)

    def _start_again(self, service: Service) -> None:
        with self._spawning:
            if self._ends.is_set():
                return
            try:
                service.spawn()
            except OSError as error:
                self._restart_at[service.name] = time.monotonic() + _LONGEST_WAIT_S
                self._tell(f"{service.name} cannot be started: {error}{self._room()}")
                return
        with contextlib.suppress(ServiceFailed):  # it has ended, which the next round finds
            service.await_ready()
            self._log(f"{service.name} runs again")

    def _look_at_disk(self) -> None:
        """Tell it when the disk gets full: a service may live on without being able to do anything, and say nothing."""
        with contextlib.suppress(OSError):
            free = free_bytes(self._data)
            low = [level for level in _LOW if free < level or (level in self._low and free < 2 * level)]
            if set(low) - set(self._low):
                self._tell(self._only(free))
            elif self._low and not low:
                self._tell(f"{self._data} has room again: {human_size(free)} free")
            self._low = low

    def _room(self) -> str:
        free = free_bytes(self._data)
        return f"; {self._only(free)}" if free < NEARLY_FULL else ""

    def _only(self, free: int) -> str:
        return f"{self._data} has only {human_size(free)} free: make room there"

    def _tell(self, line: str) -> None:
        self._log(line)
        self._say(line)

    def _log(self, line: str) -> None:
        with contextlib.suppress(OSError), (self._data / "logs" / "supervisor.log").open("a", encoding="utf-8") as log:
            log.write(f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ} {line}\n")


def _end(services: Sequence[Service], within_s: float) -> None:
    for service in services:
        service.send(signal.SIGTERM)
    until = time.monotonic() + within_s
    while time.monotonic() < until and not all(service.process is None or service.has_ended() for service in services):
        time.sleep(0.02)
    for service in services:
        service.bury()
