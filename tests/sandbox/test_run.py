"""One run from end to end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lakehouse.sandbox.document import Figure, TableItem, Text
from lakehouse.sandbox.host import Limits, Sandbox
from tests.sandboxes import PATIENT, arrow_file, printed, running_runner


def test_what_a_program_shows_comes_back_in_order(sandbox: Sandbox) -> None:
    """Text, a table, a figure and the last value stand where each was made."""
    code = "print('rows', len(df))\nshow(df.head(2))\nshow(px.line(df, x='begin_at', y='close'))\nsorted(dfs)"
    outcome = sandbox.run(code, arrow_file(1000), user="anna", limits=PATIENT)
    assert outcome.status == "done", outcome
    assert [type(item) for item in outcome.items] == [Text, TableItem, Figure, Text]
    assert printed(outcome) == "rows 1000\n['GAZP', 'SBER']\n"


def test_an_error_shows_the_analysts_own_lines(sandbox: Sandbox) -> None:
    """No line of the sandbox or of a library stands in the traceback."""
    outcome = sandbox.run("def half(x):\n    return x / 0\n\nprint(1)\nhalf(2)", b"", user="anna", limits=PATIENT)
    assert outcome.status == "error", outcome
    assert printed(outcome) == "1\n"
    assert outcome.error == (
        "Traceback (most recent call last):\n"
        '  File "<analysis>", line 5, in <module>\n    half(2)\n'
        '  File "<analysis>", line 2, in half\n    return x / 0\n           ~~^~~\n'
        "ZeroDivisionError: division by zero\n"
    )


def test_a_run_that_takes_too_long_tells_what_it_had(sandbox: Sandbox) -> None:
    """The wall clock ends it, and what was printed until then is shown."""
    outcome = sandbox.run("print('before')\nimport time\ntime.sleep(600)", b"", user="anna", limits=Limits(wall_s=3))
    assert (outcome.status, printed(outcome)) == ("timeout", "before\n")
    assert outcome.message == "the run took longer than 3 s and was ended: take fewer rows"


def test_runs_of_two_runners_are_two_users(sandbox: Sandbox, tmp_path: Path) -> None:
    """Limits count per user: what a run of one platform takes is not taken from a run of another on this machine."""
    if os.geteuid() != 0:
        pytest.skip("without root all runs are the user of the runner")
    program = "import os\nprint(os.getuid())"
    with running_runner(tmp_path) as other:
        boxes = [sandbox, sandbox, other.sandbox, other.sandbox]
        users = [printed(each.run(program, b"", user="anna", limits=PATIENT)) for each in boxes]
    assert len(set(users)) == len(users)
