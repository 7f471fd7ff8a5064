"""``lakehouse rebuild``: what refuses it says a command, and that command can be carried out."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lakehouse.cli import lakehouse
from lakehouse.serving.publish import publish_gold
from tests.gold_lake import GoldLake, instrument, random_facts

pytestmark = pytest.mark.postgres
CARDS = [instrument(1, "SBER"), instrument(2, "GMKN"), instrument(3, "T", secids="TCSG,T")]
# The worker for Spark with a step that needs none; the merge that follows has nothing to do
WORKER = """
import sys
from lakehouse.jobs import merging
from lakehouse.jobs.consumer import consume
from lakehouse.silver.lake import Lake
place = merging.Lakeside(None, sys.argv[1], "", Lake(sys.argv[2]))
consume(sys.argv[1], "spark", {"rebuild": lambda it: merging.rebuild(place, **it), "merge": lambda _: None})
"""


@contextmanager
def worker(dsn: str, gold: GoldLake) -> Iterator[None]:
    """Let a worker publish *gold* while the block runs."""
    running = subprocess.Popen(
        [sys.executable, "-c", WORKER, dsn, gold.lake.url], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        running.kill()
        running.communicate()


def run(dsn: str, command: str) -> Result:
    """Run a command as an operator types it."""
    name, *arguments = shlex.split(command)
    assert name == "lakehouse"
    return CliRunner().invoke(lakehouse, arguments, env={"LAKEHOUSE_DATABASE_URL": dsn})


def test_a_refused_rebuild_says_why_and_its_remedy_works(dsn: str, tmp_path: Path) -> None:
    """A Gold that lost rows is not shown, also when asked for; by the command that the error names it is."""
    whole, smaller = GoldLake(tmp_path / "whole"), GoldLake(tmp_path / "smaller")
    whole.create(random_facts(1, 3, 40), CARDS)
    smaller.create(random_facts(1, 3, 10), CARDS)
    publish_gold(dsn, whole.lake)
    with worker(dsn, smaller):
        refused = run(dsn, "lakehouse rebuild serving")
        assert refused.exit_code == 1
        assert "would shrink from 120 to 30 rows" in str(refused.exception)
        assert "lakehouse rebuild serving --accept-shrinkage" in str(refused.exception)
        done = run(dsn, "lakehouse rebuild serving --accept-shrinkage")
    assert (done.exit_code, done.stdout.partition(" in ")[0]) == (0, "serving: rebuilt")
    assert publish_gold(dsn, smaller.lake).rows == 30


@pytest.mark.parametrize("station", ["ledger", "silver", "gold"])
def test_only_what_readers_see_can_shrink(dsn: str, station: str) -> None:
    """Of another station the option would be without meaning: wrong usage."""
    refused = run(dsn, f"lakehouse rebuild {station} --accept-shrinkage")
    assert refused.exit_code == 2
    assert "--accept-shrinkage is for serving" in refused.stderr
