"""A small platform without Spark to be backed up: objects in Bronze and in the ledger, a published Gold, a user."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict

from lakehouse.access.roles import Role, User
from lakehouse.access.users import create_user
from lakehouse.backup.manifest import Manifest
from lakehouse.backup.repository import Repository
from lakehouse.backup.restore import Destination, Restored, restore
from lakehouse.backup.take import Source, take
from lakehouse.bronze.reconcile import reconcile
from lakehouse.cli import lakehouse
from lakehouse.database.connection import connect
from lakehouse.market.candle import FACT_CANDLE
from lakehouse.serving.publish import publish_gold
from lakehouse.silver.content_hash import content_hash
from lakehouse.silver.lake import Lake
from lakehouse.storage.stamp import KEY, encoded
from lakehouse.storage.store import Store, open_store
from tests.bronze_objects import candle, candles_object
from tests.gold_lake import SBER, GoldLake, fact, instrument
from tests.killing import copied_database
from tests.up_process import COMMAND

STAMP = {"source": "simulator", "seed": 7}
PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Small:
    """The platform: its database, its data folder, and where its objects and tables are."""

    dsn: str
    folder: Path
    gold: GoldLake
    bronze: Store

    @property
    def source(self) -> Source:
        return Source(self.dsn, self.bronze, self.gold.lake, STAMP)

    def land(self, day: int, **changed: Any) -> str:
        """Land an object of one day's minute and record it; return its key."""
        date = dt.date(2024, 3, day)
        described, body = candles_object([candle(f"{date} 10:00:00", **changed)], from_=date, till=date)
        self.bronze.put(described.object_key, body)
        with connect(self.dsn) as conn:
            reconcile(conn, self.bronze)
        return described.object_key

    def publish(self) -> None:
        publish_gold(self.dsn, self.gold.lake)


def small_platform(dsn: str, folder: Path) -> Small:
    """Make one, with three objects and eight published facts."""
    folder.mkdir()
    (folder / KEY).write_bytes(encoded(STAMP))
    made = Small(dsn, folder, GoldLake(folder), open_store(str(folder / "bronze")))
    for day in (4, 5, 6):
        made.land(day)
    made.bronze.put("uploads/history/stock/shares/a.json", b"{}")
    made.gold.create([fact(SBER, 0)], [instrument(SBER, "SBER")])
    for day in range(1, 8):
        made.gold.put(fact(SBER, day))
    made.publish()
    with connect(dsn) as conn:
        create_user(conn, "anna", PASSWORD, "analyst")
    return made


@contextmanager
def copied(made: Small, server_dsn: str, folder: Path) -> Iterator[Small]:
    """Give a copy of a platform that nobody is connected to, its data in *folder*; its database is dropped then."""
    shutil.copytree(made.folder, folder)
    with copied_database(server_dsn, str(conninfo_to_dict(made.dsn)["dbname"])) as dsn:
        yield Small(dsn, folder, GoldLake(folder), open_store(str(folder / "bronze")))


def back_up(small: Small, target: Store) -> Manifest:
    return take(small.source, Repository(target))


def put_back(target: Store, folder: Path, dsn: str, backup_id: str | None = None) -> tuple[Small, Restored]:
    """Restore a backup, the newest by default, into a folder and an empty database."""
    repository = Repository(target)
    manifest = repository.manifest(backup_id or repository.ids()[-1])
    place = Small(dsn, folder, GoldLake(folder), open_store(str(folder / "bronze")))
    destination = Destination(place.bronze, Lake(str(folder)), [open_store(str(folder))])
    return place, restore(repository, manifest, destination, lambda: nullcontext(dsn), User(0, "test", Role.ADMIN))


def gold_hash(small: Small) -> str:
    return content_hash([(small.gold.lake.at(FACT_CANDLE), FACT_CANDLE, False)])


def shown_hash(dsn: str) -> str:
    """Return a hash of the candles that readers see, to the bit."""
    with connect(dsn, "lakehouse_read") as conn:
        row = conn.execute(
            """
            SELECT md5(coalesce(string_agg(f::text, E'\\n' ORDER BY instrument_id, timeframe, begin_at), ''))
            FROM gold.fact_candle f
            """
        ).fetchone()
    return str(row[0]) if row else ""


def command(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``lakehouse`` with *arguments*; settings of its own only."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=900, env={**own, **environment}
    )


def said_here(*arguments: str | Path, **environment: str) -> str:
    """Run ``lakehouse`` in this process, where it starts at once; return what it printed, or its error."""
    own = {name: None for name in os.environ if name.startswith("LAKEHOUSE_")}
    done = CliRunner().invoke(lakehouse, [*map(str, arguments)], env={**own, **environment})
    return str(done.exception) if done.exception else done.output


def settings_of(small: Small) -> Mapping[str, str]:
    """Return the environment of commands about it."""
    return {"LAKEHOUSE_DATA_DIR": str(small.folder), "LAKEHOUSE_DATABASE_URL": small.dsn}
