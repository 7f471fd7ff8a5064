"""How files are shared out between the processes of `make test`."""

from __future__ import annotations

from tests.components import ROOT
from tests.together import SHARING


def test_files_that_are_kept_together_are_there() -> None:
    """One that was renamed would be run anywhere, and start anew what the others share."""
    assert [file for files in SHARING for file in files if not (ROOT / file).is_file()] == []
