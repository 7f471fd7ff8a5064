"""Many runs of many users at once, some of them hostile: nothing of any is left."""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from lakehouse.sandbox.host import Limits, Sandbox
from tests.attacks import PRELUDE
from tests.killing import until
from tests.sandboxes import PATIENT, RunningRunner, arrow_file, printed, running_runner, runs_of
from tests.seeds import seeds

RUNS = seeds(80, 1000)
USERS = 8
HOSTILE = (
    "while True: pass",
    "bytearray(8 << 30)",
    "x = []\nwhile True: x.append(bytearray(1 << 20))",
    "import ctypes\nctypes.string_at(1)",
    "import os\nos._exit(3)",
    "import os\nos.closerange(0, 64)",
    "import signal\nsignal.signal(15, signal.SIG_IGN)\nwhile True: pass",
    "while True: print('x' * 1000)",
    PRELUDE + "while True: os.write(pipe(), b'x' * 65536)",
    "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9,)).start()",
    "import os\nwhile True: os.fork()",
)
SMALL = Limits(wall_s=0.5, cpu_s=1.0, memory_bytes=256 << 20)


@pytest.mark.torture
def test_nothing_is_left_of_a_storm_of_runs(tmp_path: Path) -> None:
    """
    Honest runs are all right beside hostile ones.

    No process, thread, descriptor or memory stays; at most cores - 1 runs, which are niced, go on at once.
    """
    frames = arrow_file(2000)
    with running_runner(tmp_path) as runner, ThreadPoolExecutor(USERS) as pool:
        for _ in range(20):  # what is made once is made
            runner.sandbox.run("print(1)", frames, user="first", limits=PATIENT)
        until(lambda: not runs_of(runner.process.pid), 120)
        before = _quiet(runner)
        with _Watch(runner.process.pid) as watch:
            counts = list(pool.map(lambda number: _user(runner.sandbox, number, frames), range(USERS)))
        assert sum(counts) == RUNS // USERS * USERS
        until(lambda: not runs_of(runner.process.pid), 120)
        after = _quiet(runner)
        assert after[:3] == before[:3]
        assert after[3] - before[3] < 64 << 20, (before, after)
    assert 1 <= watch.most <= max(1, (os.cpu_count() or 1) - 1)


class _Watch:
    """Counts the runs that go on at a time, and how important they are."""

    def __init__(self, runner: int) -> None:
        self.most = 0
        self._runner = runner
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ends.wait(0.005):
            # Those that still run after all were listed ran at the same time
            at_once = [run for run in runs_of(self._runner) if run.is_running()]
            self.most = max(self.most, len(at_once))


def _user(sandbox: Sandbox, number: int, frames: bytes) -> int:
    rng = random.Random(number)
    for turn in range(RUNS // USERS):
        if rng.random() < 0.1:
            outcome = sandbox.run(rng.choice(HOSTILE), b"", user=f"user {number}", limits=SMALL)
            assert outcome.status not in ("done",) or outcome.message is not None or outcome.is_truncated, outcome
        else:
            mine = number * 1000 + turn
            code = f"print({mine}, len(df), df.close.mean() > 0)"
            outcome = sandbox.run(code, frames, user=f"user {number}", limits=PATIENT)
            assert (outcome.status, printed(outcome)) == ("done", f"{mine} 2000 True\n"), outcome
    return RUNS // USERS


def _quiet(runner: RunningRunner) -> tuple[int, int, int, int]:
    """Return the family's processes, threads, descriptors and memory (bytes), once each request's thread has ended."""
    family = [psutil.Process(runner.process.pid)]
    family += family[0].children(recursive=True)
    until(lambda: sum(process.num_threads() for process in family) == len(family) + 1, 120)  # the lifeline's is one
    descriptors = sum(process.num_fds() for process in family)
    return len(family), len(family) + 1, descriptors, sum(process.memory_info().rss for process in family)
