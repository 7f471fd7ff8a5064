"""
Milliseconds of a run in the sandbox, beside a bare Python process that does the same.

Each task is timed from the caller's side: with the frame handed in, until its result is there. The bare process starts
Python, loads what the task needs, reads the same Arrow file from the disk and prints its result:

    python -m benchmarks.sandbox [--rounds 20]
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from lakehouse.market.errors import LakehouseError
from lakehouse.sandbox.host import Sandbox

SMALL, LARGE = 20_000, 1_000_000
BARE_ROUNDS = 5
# Task by name: rows, the analyst's program, what the bare process does beside loading pandas
TASKS = {
    "scalar": (SMALL, "print(df.close.mean())", ""),
    "group by": (SMALL, "df.groupby('secid', observed=True).close.agg(['mean', 'std'])", ""),
    "scatter figure": (SMALL, "px.scatter(df, x='begin_at', y='close')", "import plotly.express as px"),
    "hand over 1,000,000 rows": (LARGE, "print(len(df))", ""),
}
_BARE = """
import sys
import pandas as pd, pyarrow as pa, pyarrow.ipc
{loads}
df = pa.ipc.open_file(pa.memory_map(sys.argv[1])).read_all().to_pandas()
result = ({last})
print(result.to_json() if hasattr(result, "to_json") else result)
"""


def main() -> None:
    options = argparse.ArgumentParser(description="Milliseconds of a run, beside a bare Python process.")
    options.add_argument("--rounds", type=int, default=20, help="runs of each task in the sandbox")
    rounds = options.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as name, _sandbox(Path(name)) as sandbox:
        print(f"{'':26} {'sandbox, median':>16} {'worst':>8} {'bare process':>14} {'times':>7}")
        for task, (rows, code, loads) in TASKS.items():
            frames = _frames(rows)
            path = Path(name) / "frame.arrow"
            path.write_bytes(frames)
            last = code.removeprefix("print(").removesuffix(")") if code.startswith("print(") else code
            program = _BARE.format(loads=loads, last=last)
            warm = [_ms(partial(_run, sandbox, code, frames)) for _ in range(rounds)]
            bare = [_ms(partial(_bare, program, path)) for _ in range(BARE_ROUNDS)]
            median, cold = statistics.median(warm), statistics.median(bare)
            print(f"{task:26} {median:13.0f} ms {max(warm):5.0f} ms {cold:11.0f} ms {cold / median:6.1f}x")


def _run(sandbox: Sandbox, code: str, frames: bytes) -> None:
    outcome = sandbox.run(code, frames, user="bench")
    if outcome.status != "done":
        raise LakehouseError(f"a run ended as {outcome.status}: {outcome.message} {outcome.error}")


def _bare(program: str, path: Path) -> None:
    subprocess.run([sys.executable, "-I", "-c", program, str(path)], check=True, stdout=subprocess.PIPE)


def _ms(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


@contextlib.contextmanager
def _sandbox(folder: Path) -> Iterator[Sandbox]:
    socket = folder / "sandbox.sock"
    command = [sys.executable, "-m", "lakehouse.sandbox.runner", "--socket", str(socket)]
    runner = subprocess.Popen(command, stdin=subprocess.PIPE, env={"PATH": "/usr/bin:/bin"}, start_new_session=True)
    try:
        sandbox = Sandbox(socket)
        until = time.monotonic() + 120
        while (reason := sandbox.why_off()) is not None:
            if time.monotonic() > until or not ("is starting" in reason or "does not answer" in reason):
                raise LakehouseError(reason)
            time.sleep(0.1)
        yield sandbox
    finally:
        runner.terminate()
        runner.wait(10)


def _frames(rows: int) -> bytes:
    """Return candles of made prices as an Arrow file, as the pages hand them in."""
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.001, rows)))
    columns = {
        "secid": pd.Categorical(np.array(["SBER", "GAZP", "LKOH", "MOEX"])[np.arange(rows) * 4 // rows]),
        "begin_at": pd.Timestamp("2024-01-03", tz="UTC") + pd.to_timedelta(np.arange(rows), unit="min"),
        **{name: close * factor for name, factor in (("open", 1), ("high", 1.001), ("low", 0.999), ("close", 1))},
        "value": rng.uniform(1e6, 2e6, rows),
        "volume": rng.uniform(1e3, 2e3, rows),
    }
    table = pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)
    return bytes(sink.getvalue())


if __name__ == "__main__":
    main()
