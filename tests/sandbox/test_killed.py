"""Runner, fork server and host are killed at any moment: it is told what happened, and the next run works."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from lakehouse.sandbox.host import Outcome, Sandbox
from lakehouse.up.service import Service
from lakehouse.up.supervisor import Supervisor
from tests.components import require
from tests.killing import until
from tests.sandboxes import PATIENT, printed, runs_of, why_off_at_last
from tests.seeds import seeds

SLEEP = "print('began')\nimport time\ntime.sleep(600)"
BUSY = "print('began')\nwhile True: pass"


class Supervised:
    """A runner under the platform's own supervisor."""

    def __init__(self, folder: Path) -> None:
        (folder / "logs").mkdir()
        self.said: list[str] = []
        socket = folder / "sandbox.sock"
        arguments = ["lakehouse.sandbox.runner", "--socket", str(socket)]
        self.service = Service("sandbox", arguments, folder / "logs" / "sandbox.log", {}, is_bare=True, is_spared=True)
        self.supervisor = Supervisor(folder, self.said.append, lambda _: None)
        self.supervisor.start(self.service)
        self.supervisor.watch()
        self.sandbox = Sandbox(socket)

    def runner(self) -> psutil.Process:
        return psutil.Process(self.sandbox.status()["pid"])

    def begun(self, user: str, code: str = SLEEP) -> Future[Outcome]:
        """Start a run in the background; return once it has begun."""
        begins = threading.Event()
        pool = ThreadPoolExecutor(1)

        def on_place(place: int) -> None:
            if place == 0:
                begins.set()

        try:
            future = pool.submit(self.sandbox.run, code, b"", user=user, limits=PATIENT, on_place=on_place)
            assert begins.wait(120), future.result(1)
            return future
        finally:
            pool.shutdown(wait=False)


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    held = Supervised(tmp_path_factory.mktemp("supervised"))
    try:
        if reason := why_off_at_last(held.sandbox):
            require("the sandbox", reason)
        yield held
    finally:
        held.supervisor.stop()


def test_a_killed_runner_is_started_again(supervised: Supervised) -> None:
    """The run is told as cut short, its processes are gone, the page's reason names the log, the next run works."""
    family = [supervised.runner(), *supervised.runner().children(recursive=True)]
    run = supervised.begun("anna")
    family += supervised.runner().children(recursive=True)
    family[0].kill()
    outcome = run.result(120)
    assert outcome.status == "died"
    assert outcome.message == "the sandbox's process ended while this ran, and with it the run: run it again"
    reason = supervised.sandbox.why_off() or ""
    assert "the sandbox's process does not answer" in reason or "is starting" in reason
    assert why_off_at_last(supervised.sandbox) is None
    assert not psutil.wait_procs(family, 120)[1]
    assert any("sandbox ended with SIGKILL" in line for line in supervised.said)
    assert printed(supervised.sandbox.run("print(1)", b"", user="anna", limits=PATIENT)) == "1\n"


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(seeds(4, 60)))
def test_a_killed_fork_server_is_started_again(supervised: Supervised, seed: int) -> None:
    """At whatever moment of a run it is killed, by whichever of its processes."""
    rng = random.Random(seed)
    run = supervised.begun("anna")
    time.sleep(rng.uniform(0, 0.1))
    family = supervised.runner().children(recursive=True)
    runs = runs_of(supervised.runner().pid)
    rng.choice(family).kill()
    outcome = run.result(120)
    assert not psutil.wait_procs(runs, 120)[1]
    assert (outcome.status, outcome.message) == (
        "died",
        "the run's process died: a library crashed, it had more than 64 threads, or the sandbox was restarted;"
        " run it again",
    )
    assert printed(supervised.sandbox.run("print(1)", b"", user="anna", limits=PATIENT)) == "1\n"


def test_a_killed_host_takes_its_run_along(supervised: Supervised) -> None:
    """Nobody waits for it any more: its process is ended, and the user can run again."""
    program = (
        "import sys; from pathlib import Path; from lakehouse.sandbox.host import Limits, Sandbox\n"
        f"sandbox = Sandbox(Path({str(supervised.sandbox.path)!r}))\n"
        f"sandbox.run({SLEEP!r}, b'', user='boris', limits=Limits(wall_s=100),\n"
        "    on_place=lambda place: print(place, flush=True))"
    )
    host = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    while host.stdout.readline().strip() != "0":
        pass
    runner = supervised.runner().pid
    until(lambda: bool(runs_of(runner)), 120)
    host.send_signal(signal.SIGKILL)
    host.wait()
    host.stdout.close()
    until(lambda: not runs_of(runner), 120)
    assert printed(supervised.sandbox.run("print(1)", b"", user="boris", limits=PATIENT)) == "1\n"


def test_a_run_that_is_stopped_tells_what_it_had(supervised: Supervised) -> None:
    """The user stops it, whether it runs or waits; nobody else's run is touched."""
    slots = max(1, (psutil.cpu_count() or 1) - 1)
    running = [supervised.begun(f"user {number}", SLEEP if number else BUSY) for number in range(slots)]
    places: list[int] = []
    waits = threading.Event()
    with ThreadPoolExecutor(1) as pool:

        def on_place(place: int) -> None:
            places.append(place)
            waits.set()

        waiting = pool.submit(supervised.sandbox.run, "print(1)", b"", user="vera", on_place=on_place)
        assert waits.wait(120)
        assert supervised.sandbox.stop("vera")
        stopped = waiting.result(120)
    assert (stopped.status, places) == ("stopped", [1])
    refused = supervised.sandbox.run("print(1)", b"", user="user 0")
    assert (refused.status, refused.message) == (
        "refused",
        "you have a run already, one at a time: wait for it, or stop it",
    )
    until(lambda: any(run.cpu_times().user > 0.5 for run in runs_of(supervised.runner().pid)), 120)  # it has begun
    assert supervised.sandbox.stop("user 0")
    outcome = running[0].result(120)
    assert (outcome.status, printed(outcome), outcome.message) == ("stopped", "began\n", "the run was stopped")
    assert all(not run.done() for run in running[1:])
    for number in range(1, slots):
        supervised.sandbox.stop(f"user {number}")
    assert not supervised.sandbox.stop("nobody")
