"""Runners that tests start, and frames to hand in."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa

from lakehouse.sandbox.document import Text
from lakehouse.sandbox.host import Limits, Outcome, Sandbox
from tests.components import require

RUNNER = (sys.executable, "-m", "lakehouse.sandbox.runner")
RUN_NICENESS = 10
PATIENT = Limits(wall_s=100, cpu_s=60)  # for what must get to its end on a busy machine too
_READY_S = 400.0


@dataclass(frozen=True)
class RunningRunner:
    """A runner, the client of its socket, and what it logs."""

    sandbox: Sandbox
    process: subprocess.Popen[bytes]
    log: Path
    socket: Path


@contextmanager
def running_runner(folder: Path, command: Sequence[str] = RUNNER) -> Iterator[RunningRunner]:
    """Run a runner until the block ends; it may be off, but for a machine without what it needs the test is skipped."""
    with started_runner(folder, command) as runner:
        if reason := why_off_at_last(runner.sandbox):
            require("the sandbox", reason)
        yield runner


@contextmanager
def started_runner(folder: Path, command: Sequence[str] = RUNNER) -> Iterator[RunningRunner]:
    """Run a runner until the block ends, without waiting for what it finds out about the machine."""
    socket, log = folder / "sandbox.sock", folder / "sandbox.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, "--socket", str(socket)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={"PATH": "/usr/bin:/bin"},
            start_new_session=True,
        )
    sandbox = Sandbox(socket)
    try:
        yield RunningRunner(sandbox, process, log, socket)
    finally:
        process.terminate()
        process.wait(60)
        if process.stdin:
            process.stdin.close()


def why_off_at_last(sandbox: Sandbox) -> str | None:
    """Return why a sandbox that has just been started is off, None if it is on."""
    until = time.monotonic() + _READY_S
    while True:
        reason = sandbox.why_off()
        is_final = reason is None or not ("is starting" in reason or "does not answer" in reason)
        if is_final or time.monotonic() > until:
            return reason
        time.sleep(0.05)


def runs_of(runner: int) -> list[psutil.Process]:
    """Return the processes of programs that a runner has at work, by its pid: they alone are niced."""
    return [child for child in psutil.Process(runner).children(recursive=True) if _is_run(child)]


def _is_run(process: psutil.Process) -> bool:
    try:
        return bool(process.nice() == RUN_NICENESS and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def arrow_file(rows: int, secids: Sequence[str] = ("SBER", "GAZP")) -> bytes:
    """Return candles of made prices, one minute apart, as the platform hands them in."""
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.001, rows)))
    frame = pd.DataFrame(
        {
            "secid": pd.Categorical(np.array(secids)[np.arange(rows) * len(secids) // max(rows, 1)]),
            "begin_at": pd.Timestamp("2024-01-03 07:00", tz="UTC") + pd.to_timedelta(np.arange(rows), unit="min"),
            "open": close,
            "high": close * 1.001,
            "low": close * 0.999,
            "close": close,
            "value": rng.uniform(1e6, 2e6, rows),
            "volume": rng.uniform(1e3, 2e3, rows),
        }
    )
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)
    return bytes(sink.getvalue())


def printed(outcome: Outcome) -> str:
    """Return what a run printed."""
    return "".join(item.text for item in outcome.items if isinstance(item, Text))
