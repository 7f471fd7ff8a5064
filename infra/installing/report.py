"""What set-up tells the person who waits for it, and how it runs other programs."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lakehouse.cache import cache_dir


class SetupFailed(Exception):
    """Set-up cannot go on; the message is one line that ends with the remedy."""


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is being done, and how long it took once it is done."""
    print(f"  {what} ...", flush=True)
    started = time.monotonic()
    yield
    print(f"  {what}: done in {time.monotonic() - started:.1f} s", flush=True)


def run(
    command: Sequence[str | Path], remedy: str, env: Mapping[str, str] | None = None, folder: Path | None = None
) -> None:
    """
    Run *command* (in *folder*, else where we are); its output is kept in the cache's setup.log.

    Raises:
        SetupFailed: with its last telling line and *remedy*, if it cannot be run or fails.
    """
    name = Path(command[0]).name
    log = cache_dir() / "setup.log"
    try:
        ran = subprocess.run(
            command,
            env={**os.environ, **(env or {})},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise SetupFailed(f"{name} does not run ({error}); {remedy}") from error
    keep_log(log, command, ran.stdout)
    if ran.returncode != 0:
        raise SetupFailed(f"{name} failed: {telling_line(ran.stdout)}; {remedy} (all it said: {log})")


def telling_line(output: str) -> str:
    """Return the line of a failed program's *output* that says why: its first error, else its last line."""
    lines = [line.strip(" :×│╰─▶├\t") for line in output.splitlines()]
    lines = [line for line in lines if " " in line]
    told = [line for line in lines if line.lower().startswith("error")]
    hinted = [line for line in lines if "error" in line.lower() or "failed" in line.lower()]
    return (told or hinted or lines[-1:] or ["it said nothing"])[0][:300]


def keep_log(log: Path, command: Sequence[str | Path], output: str) -> None:
    """Append what *command* said to *log*."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(map(str, command))}\n{output}\n")
