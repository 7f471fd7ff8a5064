"""Bronze's object store and the tables: can they be written, are they whole, do they agree with what is recorded."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from deltalake.exceptions import DeltaError
from psycopg import Connection

from lakehouse.doctor.finding import Finding, Site, failed, ok, skipped, warning
from lakehouse.market.candle import GOLD, QUARANTINE, SILVER
from lakehouse.market.errors import LakehouseError
from lakehouse.market.table import Table
from lakehouse.storage.store import Store, open_store

_SAMPLE = 25
_PATIENCE_S = 5.0


def store(site: Site) -> Iterator[Finding]:
    """Bronze's store can be written, refuses what is there already, and forgets what is deleted."""
    if "://" not in site.settings.bronze_location and not site.data.exists():
        yield skipped("store", "there is no data folder yet")
        return
    bronze = _bronze(site)
    key = f"doctor/{uuid.uuid4().hex}"
    try:
        if not bronze.put(key, b"one"):
            yield failed("store", f"{bronze.url} says that a new object is there already", "look at what it is")
        elif bronze.put(key, b"other"):
            remedy = "use a store with conditional writes (S3, MinIO): two writers would overwrite each other"
            yield failed("store", f"{bronze.url} overwrites what must not be overwritten", remedy)
        else:
            yield ok("store", f"{bronze.url} can be written, and keeps what it has")
        bronze.delete([key])
        if bronze.exists(key):
            yield warning("store", f"{key} could not be deleted in {bronze.url}", "allow us to delete there")
    except (LakehouseError, OSError) as error:
        yield failed("store", " ".join(str(error).split()), "mend LAKEHOUSE_BRONZE_URL, LAKEHOUSE_S3_... or the folder")


def tables(site: Site) -> Iterator[Finding]:
    """Each Delta table can be read."""
    read = 0
    for table in (*SILVER, QUARANTINE, *GOLD):
        address = site.lake.at(table)
        try:
            if not address.exists():
                continue
            address.open().to_pyarrow_dataset().head(1)
            read += 1
        except (DeltaError, OSError, ValueError) as error:
            said = " ".join(str(error).split())[:300]
            yield failed("tables", f"{table.name} cannot be read: {said}", _rebuild(table))
    yield ok("tables", f"{read} can be read") if read else skipped("tables", "there are none yet")


def _rebuild(table: Table) -> str:
    return f"lakehouse rebuild {'gold' if table in GOLD else 'silver'}"


def versions(site: Site, conn: Connection[Any]) -> Iterator[Finding]:
    """No table is older than what was recorded of it."""
    recorded = dict(conn.execute("SELECT table_name, delta_version FROM lake.progress").fetchall())
    older = []
    for table in (*SILVER, QUARANTINE, *GOLD):
        address, known = site.lake.at(table), recorded.get(table.name)
        if known is None:
            continue
        try:
            version = address.open().version() if address.exists() else -1
        except (DeltaError, OSError):
            continue  # `tables` says it
        if version < known:
            older.append(table.name)
            there = f"at version {version}" if version >= 0 else "not there"
            message = f"{table.name} is {there}, and version {known} is recorded: it was deleted or restored"
            yield warning("versions", message, f"the next merge derives it anew; at once: {_rebuild(table)}")
    if not older:
        yield ok("versions", f"{len(recorded)} are recorded, and the tables are there")


def ledger(site: Site, conn: Connection[Any]) -> Iterator[Finding]:
    """Of what the ledger knows a sample lies in Bronze."""
    sample = "SELECT object_key FROM lake.bronze_object ORDER BY random() LIMIT %s"
    keys = [row[0] for row in conn.execute(sample, (_SAMPLE,))]
    bronze = _bronze(site)
    try:
        lost = [key for key in keys if not bronze.exists(key)]
    except (LakehouseError, OSError):
        yield skipped("ledger", "the store of Bronze does not answer")
        return
    if lost:
        remedy = "put them back from a backup, or forget them with: lakehouse rebuild ledger"
        yield failed("ledger", f"{len(lost)} of {len(keys)} objects looked for are not in Bronze: {lost[0]}", remedy)
    else:
        yield ok("ledger", f"{len(keys)} of its objects were looked for, and are in Bronze")


def _bronze(site: Site) -> Store:
    return open_store(site.settings.bronze_location, site.settings.s3_options, _PATIENCE_S)
