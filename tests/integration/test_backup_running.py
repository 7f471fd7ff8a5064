"""A backup while a platform works, and a restore elsewhere: the same hashes, and everything goes on from there."""

from __future__ import annotations

import contextlib
import datetime as dt
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lakehouse.backup.repository import Repository
from lakehouse.database.connection import connect
from lakehouse.silver.lake import Lake
from lakehouse.storage.store import open_store
from tests.backed_up import command, shown_hash
from tests.killing import SlowExchange, hashes, until
from tests.up_process import UpProcess

pytestmark = [pytest.mark.postgres, pytest.mark.spark]
_MERGING = "SELECT EXISTS (SELECT FROM lake.step_run WHERE step = 'silver' AND finished_at IS NULL)"
_UNMERGED = "SELECT count(*) FROM lake.bronze_object WHERE merged_at IS NULL"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody can enter."""
    with tempfile.TemporaryDirectory(prefix="lakehouse-backup-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextlib.contextmanager
def platform(data: Path, market: SlowExchange) -> Iterator[UpProcess]:
    """Run a platform on a folder; nothing of it is left behind."""
    up = UpProcess(data, market.url)
    up.start()
    try:
        yield up
    finally:
        family = up.family()
        up.end()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def revise(market: SlowExchange, up: UpProcess, volume: int) -> int:
    """Let the exchange revise a minute of every third day, and ask for all of it again; return the job."""
    for row in market.candles[1][::240]:
        row[5] += volume
    market.now += dt.timedelta(hours=1)
    return up.ingest(reread=True)


def content(up: UpProcess) -> tuple[str, ...]:
    """Return the hashes of Silver, of Gold and of what readers see."""
    return (*hashes(Lake(str(up.data))), shown_hash(up.dsn))


def test_a_platform_that_is_backed_up_at_work_goes_on_elsewhere(place: Path, market: SlowExchange) -> None:
    """
    Backed up quiet, then in the middle of a merge: either comes back in one piece, elsewhere.

    The quiet one in the hashes of then; that of the merge ends, once its platform runs, in those in which the first
    one ended. An increment there brings what the exchange says since.
    """
    target, data = place / "target", place / "data"
    with platform(data, market) as up:
        assert up.finished(up.ingest()).state == "done"
        quiet = content(up)
        assert command("backup", target, "--data", data).returncode == 0
        job_id = revise(market, up, 1)
        with connect(up.dsn) as conn:
            until(lambda: conn.execute(_MERGING).fetchone() == (True,), 120)
            done = command("backup", target, "--data", data)
            assert (done.returncode, done.stderr) == (0, "")
        assert up.finished(job_id).state == "done"
        revised = content(up)
    assert revised != quiet
    first, second = Repository(open_store(str(target))).ids()
    manifests = [Repository(open_store(str(target))).manifest(each) for each in (first, second)]
    assert manifests[1].objects > manifests[0].objects
    assert manifests[1].new_files < manifests[1].files - len(manifests[1].tables)
    done = command("restore", target, "--data", place / "quiet", "--id", first)
    assert done.returncode == 0, done.stderr
    assert hashes(Lake(str(place / "quiet"))) == quiet[:2]
    done = command("restore", target, "--data", place / "busy")
    assert done.returncode == 0, done.stderr
    with platform(place / "busy", market) as there:
        found = there.finished(job_id)
        assert found.state == "done", found
        with connect(there.dsn) as conn:
            until(lambda: conn.execute(_UNMERGED).fetchone() == (0,), 60)
        assert content(there) == revised
        with connect(there.dsn) as conn:
            assert [name for (name,) in conn.execute("SELECT name FROM lake.app_user")] == ["admin"]
        market.candles[1][0][5] += 7
        market.now += dt.timedelta(hours=1)
        assert there.finished(there.ingest(reread=True)).state == "done"
        assert content(there) != revised
        with connect(there.dsn, "lakehouse_read") as conn:
            row = conn.execute(
                "SELECT volume FROM gold.fact_candle WHERE timeframe = '1m' ORDER BY begin_at LIMIT 1"
            ).fetchone()
        assert row == (market.candles[1][0][5],)
