"""
A statement in a process of its own, which can be stopped: what engine it runs on is that process's matter.

Imports no engine and no Arrow: the functions stand on this.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
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


class SqlRefused(BadInput):
    """A statement that is not run as written; the message begins with the place where one can be named."""


class SqlFailed(LakehouseError):
    """A statement that was run and gave no answer: too long, too large, or there is no data."""


class SqlStopped(LakehouseError):
    """A statement that was stopped by who asked it."""


@dataclass(frozen=True)
class Question:
    """
    A statement and its limits.

    Attributes:
        at: Version of the one table named, or an ISO time (UTC unless it says otherwise); None reads the newest.
        row_limit: Most rows returned.
        timeout_s: Seconds after which the process is killed.
        form: Of the answer: an Arrow stream, or the text of `forms`.
        answer_bytes: Most bytes of rows, as Arrow holds them.
    """

    statement: str
    at: str | None = None
    row_limit: int = ROW_LIMIT
    timeout_s: float = TIMEOUT_S
    form: Literal["arrow", "json", "csv"] = "arrow"
    answer_bytes: int = ANSWER_BYTES

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
        head, _, body = self._answer().partition(b"\n")
        said = json.loads(head)
        if "error" in said:
            raise (SqlRefused if said["kind"] == "refused" else SqlFailed)(said["error"])
        return Answer(body, said["rows"], said["reached"], said["seconds"])

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._is_stopped = True
        self._kill()

    def _answer(self) -> bytes:
        process = self._process = self._start()
        lifeline, process.stdin = process.stdin, None  # stays open while we live: the child ends with it
        try:
            if lifeline is not None:
                with contextlib.suppress(BrokenPipeError):  # it ended already: what it said is read below
                    lifeline.write(self._request)
                    lifeline.flush()
            if self._is_stopped:
                self._kill()
            answer, said = process.communicate(timeout=self.question.timeout_s)
        except subprocess.TimeoutExpired:
            raise SqlFailed(
                f"the statement took longer than {self.question.timeout_s:g} s and was stopped: narrow it with WHERE"
            ) from None
        finally:
            self._kill()
            process.communicate()
            if lifeline is not None:
                lifeline.close()
        if self._is_stopped:
            raise SqlStopped("the statement was stopped")
        # One that has answered may still abort: the threads of deltalake and Arrow do not always survive the exit
        if not _is_whole(answer):
            raise SqlFailed(_how_it_ended(process.returncode, said))
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            start_new_session=True,
        )

    def _kill(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it started as well: Spark's JVM


def _is_whole(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\n")
    return bool(separator) and json.loads(head).get("bytes", 0) == len(body)


def _how_it_ended(code: int, said: bytes) -> str:
    reason = signal.Signals(-code).name if code < 0 else f"code {code}"
    last = said.decode(errors="replace").strip().splitlines()[-1:]
    return f"the process of the statement ended with {reason}" + "".join(f": {line[:300]}" for line in last)
