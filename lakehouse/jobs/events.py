"""
What the news of an object starts. News may be doubled, late, out of order or false: the store is asked, not believed.

Every store's event ends here: a folder's message after landing, MinIO's webhook, S3's call of a function.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog
from psycopg import Connection

from lakehouse.bronze.ledger import PREFIX, Junk, look_at, record_landed
from lakehouse.bronze.upload_file import UPLOADS
from lakehouse.bronze.uploads import IMPORTED, import_file
from lakehouse.jobs.queue import enqueue
from lakehouse.storage.events import is_key, is_plain
from lakehouse.storage.store import Store

log = structlog.get_logger()


def hear(conn: Connection[Any], store: Store, keys: Iterable[str]) -> int:
    """Take the news of *keys*; return how many are of objects of ours."""
    return sum((file_uploaded if key.startswith(UPLOADS) else object_landed)(conn, store, key) for key in keys)


def object_landed(conn: Connection[Any], store: Store, key: str) -> bool:
    """
    Record an object of Bronze that the ledger does not know, and poke the merge if this one is not merged.

    The merge takes everything that is unmerged, so one waiting message stands for any number of objects.

    Returns:
        Whether there is such an object.

    Raises:
        StoreUnavailable: if the store does not answer: the news is to be sent again.
    """
    if not (key.startswith(PREFIX) and is_key(key)):
        return False
    row = conn.execute("SELECT merged_at IS NULL FROM lake.bronze_object WHERE object_key = %s", (key,)).fetchone()
    if row == (False,):
        return True
    found = None if row else look_at(store, key)
    if isinstance(found, Junk):
        log.warning("jobs.event_of_no_object", key=key, error=found.reason)
        return False
    if found:
        record_landed(conn, key, found)
    # After the commit: a merge that waits already stands for this one, and may be begun before it would see the object
    enqueue(conn, "merge", {}, only_one=True)
    log.debug("jobs.object_landed", key=key)
    return True


def file_uploaded(conn: Connection[Any], store: Store, key: str) -> bool:
    """
    Import a file under uploads/, or write down why that cannot be, and poke the merge if there is something to merge.

    Returns:
        Whether there is such a file.

    Raises:
        StoreUnavailable: if the store does not answer: the news is to be sent again.
    """
    if not (key.startswith(UPLOADS) and is_plain(key)):
        return False
    try:
        found = import_file(conn, store, key)
    except FileNotFoundError as error:
        log.warning("jobs.event_of_no_object", key=key, error=str(error))
        return False
    if found.state == IMPORTED and found.merged_at is None:
        enqueue(conn, "merge", {}, only_one=True)
    return True
