"""What services write does not fill the disk, and what they said last is found in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.up import service
from lakehouse.up.service import Service


@pytest.fixture
def talker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service whose log is large beyond a thousand bytes."""
    monkeypatch.setattr(service, "LOG_BYTES", 1000)
    return Service("talker", [], tmp_path / "talker.log")


def test_a_log_that_became_large_is_the_one_before(talker: Service) -> None:
    """What is written meanwhile, by the same open file, begins the next one; the one before that is gone."""
    before = talker.log.with_suffix(".log.1")
    with talker.log.open("ab", buffering=0) as output:
        for number in range(3):
            output.write(b"%d" % number * 1001)
            talker.rotate_log()
            assert (before.read_bytes(), talker.log.read_bytes()) == (b"%d" % number * 1001, b"")
        output.write(b"small\n")
        talker.rotate_log()
    assert talker.log.read_bytes() == b"small\n"
    assert talker.last_words() == f"small (see {talker.log})"


def test_a_log_stays_where_there_is_no_place_for_another(talker: Service) -> None:
    """Nothing of it is lost, and the service is not disturbed."""
    talker.log.write_bytes(b"x" * 1001)
    talker.log.with_suffix(".log.1").mkdir()
    talker.rotate_log()
    assert talker.log.stat().st_size == 1001


def test_the_last_words_of_a_long_log_are_found(talker: Service) -> None:
    """Without reading all of it."""
    talker.log.write_bytes(b"x" * (1 << 20) + b"\nError: the end\n")
    assert talker.last_words() == f"the end (see {talker.log})"
