"""A run from the page: its data, the record before it, the sandbox, the record after it. One per user at a time."""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from gradio_app.session import Pool
from lakehouse.access import runs
from lakehouse.access.analyses import parse_code
from lakehouse.access.roles import User
from lakehouse.market.errors import BadInput, NotNow
from lakehouse.sandbox.document import Item
from lakehouse.sandbox.host import Limits, Outcome, Sandbox
from lakehouse.serving.frames import Frame, Selection, data_version, load_frame

_KEPT_BYTES = 256 << 20  # of frames read before
_AT_ONCE = 32  # runs that wait or run; the sandbox has a queue of its own
_READING_AT_ONCE = 2  # each holds a connection of the pages' pool for seconds


@dataclass(frozen=True)
class Finished:
    """A run that has ended: what came of it, and which data it was handed."""

    outcome: Outcome
    selection: Selection
    rows: int


@dataclass
class Running:
    """A run under way, as its page follows it."""

    user: User
    told: Callable[[str], None]
    is_stopped: bool = False
    run_id: uuid.UUID | None = None
    result: Future[Finished] = field(default_factory=Future)


class Runs:
    """All runs of this web process."""

    def __init__(self, pool: Pool, sandbox: Sandbox) -> None:
        self.pool = pool
        self.sandbox = sandbox
        self._running: dict[str, Running] = {}
        self._lock = threading.Lock()
        self._frames = _Frames(pool)
        self._threads = ThreadPoolExecutor(_AT_ONCE, "sandbox-run")

    def start(
        self,
        user: User,
        address: str,
        code: object,
        selection: Selection,
        limits: Limits,
        told: Callable[[str], None] = lambda _: None,
    ) -> Running:
        """
        Begin a run and return at once; *told* is called with each thing that happens until it ends, in another thread.

        Raises:
            BadInput: for code that cannot be run, or while another run of this user is under way.
            NotNow: when the sandbox is off, or too many runs are waiting.
        """
        program = parse_code(code)
        if why := self.sandbox.why_off():
            raise NotNow(f"the sandbox is off: {why}")
        running = Running(user, told)
        with self._lock:
            if user.name in self._running:
                raise BadInput("a run of yours is under way: wait for it, or stop it first")
            if len(self._running) >= _AT_ONCE:
                raise NotNow(f"{_AT_ONCE} runs are waiting: try again in a minute")
            self._running[user.name] = running
        self._threads.submit(self._run, running, address, program, selection, limits)
        return running

    def stop(self, user: User) -> bool:
        """Stop a user's run; False when none is under way."""
        running = self.of(user)
        if running is None:
            return False
        running.is_stopped = True
        self.sandbox.stop(user.name)
        return True

    def of(self, user: User) -> Running | None:
        """Return a user's run that is under way."""
        with self._lock:
            return self._running.get(user.name)

    def under_way(self) -> set[uuid.UUID]:
        """Return the numbers of all runs of this process that are under way."""
        with self._lock:
            return {running.run_id for running in self._running.values() if running.run_id}

    def close(self) -> None:
        """Stop all runs: the web process ends."""
        with self._lock:
            users = [running.user for running in self._running.values()]
        for user in users:
            self.stop(user)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, running: Running, address: str, code: str, selection: Selection, limits: Limits) -> None:
        try:
            finished = self._recorded_run(running, address, code, selection, limits)
        except BaseException as error:
            self._end(running)
            running.result.set_exception(error)
        else:
            self._end(running)
            running.result.set_result(finished)

    def _end(self, running: Running) -> None:
        with self._lock:
            del self._running[running.user.name]

    def _recorded_run(
        self, running: Running, address: str, code: str, selection: Selection, limits: Limits
    ) -> Finished:
        running.told("Reading the data")
        frame = self._frames.load(selection)
        if running.is_stopped:
            raise NotNow("stopped before the program began")
        beginning = runs.Beginning(
            code, selection.document(), frame.data_version, frame.rows, frame.arrow.size, frame.sha256, asdict(limits)
        )
        with self.pool.connection() as conn:
            running.run_id = runs.record_beginning(conn, running.user, address, beginning)

        def on_place(place: int) -> None:
            running.told(f"Place {place} in the queue" if place else "Running")
            if running.is_stopped:  # asked for before the sandbox knew of this run
                self.sandbox.stop(running.user.name)

        outcome = self.sandbox.run(
            code, memoryview(frame.arrow), user=running.user.name, limits=limits, on_place=on_place
        )
        with self.pool.connection() as conn:
            runs.record_end(conn, running.run_id, _end_of(outcome))
        return Finished(outcome, selection, frame.rows)


class _Frames:
    """The frames read last, while the data they were read from is the newest."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._kept: OrderedDict[tuple[Selection, int], Frame] = OrderedDict()
        self._lock = threading.Lock()
        self._reading = threading.Semaphore(_READING_AT_ONCE)

    def load(self, selection: Selection) -> Frame:
        with self._reading, self._pool.connection() as conn:
            key = (selection, data_version(conn))
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
            frame = load_frame(conn, selection)
        with self._lock:
            self._kept[selection, frame.data_version] = frame
            while len(self._kept) > 1 and sum(kept.arrow.size for kept in self._kept.values()) > _KEPT_BYTES:
                self._kept.popitem(last=False)
        return frame


def item_document(item: Item) -> dict[str, Any]:
    """Return an item of a result as JSON has it."""
    return {"kind": type(item).__name__.removesuffix("Item").lower(), **vars(item)}


def _end_of(outcome: Outcome) -> runs.End:
    shown = json.dumps([item_document(item) for item in outcome.items], ensure_ascii=False, sort_keys=True).encode()
    return runs.End(
        status=outcome.status,
        message=outcome.message,
        error=outcome.error,
        wall_s=outcome.wall_s,
        cpu_s=outcome.cpu_s,
        peak_bytes=outcome.peak_bytes,
        items=len(outcome.items),
        result_bytes=len(shown),
        result_sha256=hashlib.sha256(shown).hexdigest(),
        is_truncated=outcome.is_truncated,
    )
