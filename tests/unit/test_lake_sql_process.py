"""What counts as the answer of a statement's process."""

from __future__ import annotations

import json
import subprocess
import sys

import psutil
import pytest

from lakehouse.serving.lake_sql.process import Question, SqlFailed, Statement

HEAD = {"rows": 1, "reached": "", "seconds": 0.1}


class Told(Statement):
    """A statement whose process says *text* and aborts, as a library's threads may make it at its exit."""

    def __init__(self, text: str) -> None:
        super().__init__(Question("SELECT 1", answer_bytes=1 << 20), {})
        self.program = f"import os, sys; sys.stdout.write({text!r}); sys.stdout.flush(); os.abort()"

    def _start(self) -> subprocess.Popen[bytes]:
        arguments, pipe = [sys.executable, "-c", self.program], subprocess.PIPE
        return subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)


def test_a_whole_answer_counts_however_its_process_ends() -> None:
    answer = Told(json.dumps({**HEAD, "bytes": 5}) + "\nab\ncd").run()
    assert (answer.body, answer.rows) == (b"ab\ncd", 1)


@pytest.mark.parametrize("text", ["", json.dumps(HEAD), json.dumps({**HEAD, "bytes": 5}) + "\nab\nc"])
def test_half_an_answer_is_none(text: str) -> None:
    with pytest.raises(SqlFailed, match="the process of the statement ended with SIGABRT"):
        Told(text).run()


def test_a_process_that_ended_before_it_was_asked_tells_how() -> None:
    """Nobody reads the statement then."""

    class Ended(Told):
        def _start(self) -> subprocess.Popen[bytes]:
            process = super()._start()
            process.wait()
            return process

    with pytest.raises(SqlFailed, match="the process of the statement ended with SIGABRT"):
        Ended("").run()


@pytest.mark.parametrize("pipe", [1, 2])
def test_a_process_that_never_ends_its_answer_is_ended(pipe: int) -> None:
    """What is held of an answer is bounded here as well, whatever its process believes; so is what it says beside."""
    endless = Told("")
    endless.program = f"import os, sys\nfor _ in range(64): os.write({pipe}, b'x' * (1 << 20))\nos.abort()"
    before = psutil.Process().memory_info().rss
    with pytest.raises(SqlFailed, match="larger than 1 MiB: narrow it" if pipe == 1 else "SIGABRT: x{300}$"):
        endless.run()
    assert psutil.Process().memory_info().rss - before < 16 << 20
