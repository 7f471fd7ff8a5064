"""What counts as the answer of a statement's process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lakehouse.serving.lake_sql.process import Question, SqlFailed, Statement

HEAD = {"rows": 1, "reached": "", "seconds": 0.1}


class Told(Statement):
    """A statement whose process says *text* and aborts, as a library's threads may make it at its exit."""

    def __init__(self, text: str) -> None:
        super().__init__(Question("SELECT 1"), {})
        self._text = text

    def _start(self) -> subprocess.Popen[bytes]:
        program = f"import os, sys; sys.stdout.write({self._text!r}); sys.stdout.flush(); os.abort()"
        arguments, pipe = [sys.executable, "-c", program], subprocess.PIPE
        return subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)


def test_a_whole_answer_counts_however_its_process_ends() -> None:
    answer = Told(json.dumps({**HEAD, "bytes": 5}) + "\nab\ncd").run()
    assert (answer.body, answer.rows) == (b"ab\ncd", 1)


@pytest.mark.parametrize("text", ["", json.dumps(HEAD), json.dumps({**HEAD, "bytes": 5}) + "\nab\nc"])
def test_half_an_answer_is_none(text: str) -> None:
    with pytest.raises(SqlFailed, match="the process of the statement ended with SIGABRT"):
        Told(text).run()
