"""
A statement in a process of its own, which can be stopped: what engine it runs on is that process's matter.

Imports no engine and no Arrow: the functions stand on this.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lakehouse.market.errors import BadInput, LakehouseError

TIMEOUT_S = 60.0
ROW_LIMIT = 10_000
ANSWER_BYTES = 256 << 20
DUCKDB = "lakehouse.serving.lake_sql.duckdb_child"
SPARK = "lakehouse.serving.lake_sql.spark_child"
# Nothing else of the environment reaches the process: it may hold secrets
_PASSED_ON = (
    "HOME", "JAVA_HOME", "LAKEHOUSE_CACHE_DIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "SSL_CERT_DIR",
    "SSL_CERT_FILE", "TMPDIR", "TZ", "XDG_CACHE_HOME",
)  # fmt: skip
_ARROW = {"ARROW_DEFAULT_MEMORY_POOL": "system"}  # others reserve a GiB at their start, which counts as data
_ENDS_S = 5
_READ_BYTES = 1 << 16
_SAID_BYTES = 1 << 12


class SqlRefused(BadInput):
    """A statement that is not run as written; the message begins with the place where one can be named."""


class SqlFailed(LakehouseError):
    """A statement that was run and gave no answer: too long, too large, or there is no data."""


class SqlStopped(LakehouseError):
    """A statement that was stopped by who asked it."""


def too_large(answer_bytes: int) -> str:
    """Return what is said of an answer beyond its limit."""
    return f"the answer is larger than {answer_bytes >> 20} MiB: narrow it with WHERE or LIMIT"


@dataclass(frozen=True)
class Question:
    """
    A statement and its limits.

    Attributes:
        at: Version of the one table named, an ISO time (UTC unless it says otherwise), or a date: the end of that day
            in Moscow. None reads the newest.
        row_limit: Most rows returned.
        timeout_s: Seconds after which the process is killed.
        form: Of the answer: an Arrow stream, or the text of `forms`.
        answer_bytes: Most bytes of rows as Arrow holds them, and of their text.
        hidden: Names of tables that are not there for who asks.
    """

    statement: str
    at: str | None = None
    row_limit: int = ROW_LIMIT
    timeout_s: float = TIMEOUT_S
    form: Literal["arrow", "json", "csv"] = "arrow"
    answer_bytes: int = ANSWER_BYTES
    hidden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no engine should see."""
        if not self.statement.isascii() and any("\ud800" <= character <= "\udfff" for character in self.statement):
            raise SqlRefused("the statement is not UTF-8 text")
        if "\0" in self.statement:
            raise SqlRefused("the statement holds the character U+0000")


@dataclass(frozen=True)
class Answer:
    """
    What a statement gave: rows in the form asked for.

    Attributes:
        reached: Which limit cut the rows off, for people; empty if none did.
    """

    body: bytes = field(repr=False)
    rows: int
    reached: str
    seconds: float


class Statement:
    """A question to a lake, answered once."""

    def __init__(
        self, question: Question, lake: Mapping[str, Any], module: str = DUCKDB, engine: Mapping[str, str] | None = None
    ) -> None:
        """All goes to *module*'s process by a pipe: a lake may hold secrets."""
        self.question = question
        self._request = json.dumps({**asdict(question), "lake": lake, "engine": engine}).encode() + b"\n"
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    def run(self) -> Answer:
        """
        Run the statement and wait for its answer.

        Raises:
            SqlRefused: if the statement is not run as written.
            SqlFailed: if it took too long or too much memory, or what it names does not exist yet.
            SqlStopped: if `stop` was called, from another thread.
        """
        head, body = self._answer()
        if "error" in head:
            raise (SqlRefused if head["kind"] == "refused" else SqlFailed)(head["error"])
        return Answer(body, head["rows"], head["reached"], head["seconds"])

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._is_stopped = True
        self._kill()

    def _answer(self) -> tuple[dict[str, Any], bytes]:
        process = self._process = self._start()
        lifeline, process.stdin = process.stdin, None  # stays open while we live: the child ends with it
        try:
            if lifeline is not None:
                with contextlib.suppress(BrokenPipeError):  # it ended already: what it said is read below
                    lifeline.write(self._request)
                    lifeline.flush()
            if self._is_stopped:
                self._kill()
            answer, said = self._read(process)
            with contextlib.suppress(subprocess.TimeoutExpired):  # it is about to end: what it ends with is its own
                process.wait(_ENDS_S)
        finally:
            self._kill()
            process.communicate()
            if lifeline is not None:
                with contextlib.suppress(BrokenPipeError):  # it never read what was asked
                    lifeline.close()
        if self._is_stopped:
            raise SqlStopped("the statement was stopped")
        # One that has answered may still abort: the threads of deltalake and Arrow do not always survive the exit
        head, separator, body = answer.partition(b"\n")
        told = json.loads(head) if separator else {}
        if not separator or told.get("bytes", 0) != len(body):
            raise SqlFailed(_how_it_ended(process.returncode, said))
        return told, body

    def _read(self, process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
        """Return the answer and the end of what else was said; no process makes us hold more than it may answer."""
        until = time.monotonic() + self.question.timeout_s
        answer, said, size = [], b"", 0
        with selectors.DefaultSelector() as pipes:
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipes.register(pipe, selectors.EVENT_READ)
            while pipes.get_map():
                ready = pipes.select(max(until - time.monotonic(), 0))
                if not ready:
                    raise SqlFailed(
                        f"the statement took longer than {self.question.timeout_s:g} s and was stopped: narrow it"
                        " with WHERE"
                    )
                for key, _ in ready:
                    part = os.read(key.fd, _READ_BYTES)
                    if not part:
                        pipes.unregister(key.fileobj)
                    elif key.fileobj is process.stderr:
                        said = (said + part)[-_SAID_BYTES:]
                    else:
                        answer.append(part)
                        size += len(part)
                if size > 2 * self.question.answer_bytes:  # Arrow's own form adds to its rows
                    raise SqlFailed(too_large(self.question.answer_bytes))
        return b"".join(answer), said

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _ARROW,
            start_new_session=True,
        )

    def _kill(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it started as well: Spark's JVM


def _how_it_ended(code: int, said: bytes) -> str:
    reason = signal.Signals(-code).name if code < 0 else f"code {code}"
    last = said.decode(errors="replace").strip().splitlines()[-1:]
    return f"the process of the statement ended with {reason}" + "".join(f": {line[:300]}" for line in last)
