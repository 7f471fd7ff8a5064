"""
What lies in the store and nobody heard of: objects that are not recorded, after a crash or lost news, and uploads.

Costs a listing (S3: a request for a thousand objects) and, for each object or upload not known, one read of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import psycopg
import structlog
from psycopg import Connection

from lakehouse.bronze.ledger import PREFIX, Junk, look_through, record_landed
from lakehouse.bronze.uploads import import_missed
from lakehouse.market.errors import LakehouseError
from lakehouse.storage.store import Store

log = structlog.get_logger()


@dataclass
class Reconciled:
    """
    What was found in the store: keys.

    Attributes:
        recorded: Objects that the ledger did not know, recorded now.
        junk: Files that are no objects; they are left where they are.
        lost: Objects that the ledger knows and the store does not hold.
        uploads: Files under uploads/ that nobody had looked at: imported now, or refused.
    """

    recorded: list[str] = field(default_factory=list)
    junk: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)


def reconcile(conn: Connection, store: Store) -> Reconciled:
    """
    Record the objects of *store* that the ledger does not know; what is no object is logged and passed over.

    Whoever lands an object meanwhile records it too, which changes nothing.
    """
    known = {key for (key,) in conn.execute("SELECT object_key FROM lake.bronze_object")}
    found, held = Reconciled(), set(store.list(PREFIX))
    for each in look_through(store, sorted(held - known)):
        if isinstance(each, Junk):
            found.junk.append(each.key)
            log.error(
                "bronze.junk_file", key=each.key, error=each.reason, remedy="move it out of Bronze; it is not read"
            )
            continue
        key, trailer = each
        try:
            record_landed(conn, key, trailer)
        except (LakehouseError, psycopg.OperationalError):  # of the database
            raise
        except Exception as error:  # nobody thought of it: the others are recorded all the same
            log.exception("bronze.object_not_recorded", key=key, error=str(error))
            continue
        found.recorded.append(key)
        log.warning("bronze.object_recorded_late", key=key, rows=trailer.rows)
    found.uploads = [each.upload_key for each in import_missed(conn, store)]
    found.lost = sorted(_still_known(conn, known - held))
    if found.lost:
        log.error(
            "bronze.objects_lost",
            count=len(found.lost),
            first=found.lost[0],
            remedy="put them back from a copy, or forget them with: lakehouse rebuild ledger",
        )
    return found


def _still_known(conn: Connection, keys: set[str]) -> set[str]:
    """Return those of *keys* that the ledger still knows: it may have been rebuilt during the listing."""
    rows = conn.execute("SELECT object_key FROM lake.bronze_object WHERE object_key = ANY(%s)", [list(keys)])
    return {key for (key,) in rows}
