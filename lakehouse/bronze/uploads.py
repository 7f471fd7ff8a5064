"""
Uploaded files become objects of Bronze, or are refused; either is written down in lake.upload, and the file stays.

An object of an upload ranks below all that was fetched: it fills gaps. Accepting it lands its rows once more, as known
since the acceptance: these revise what is there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, LiteralString

import psycopg
import structlog
from psycopg import Connection
from psycopg.rows import class_row

from lakehouse.bronze.ledger import later_than_known, record_landed
from lakehouse.bronze.objects import FETCHED, decode_object, encode_object
from lakehouse.bronze.upload_file import MAX_FILE, UPLOADS, read_upload
from lakehouse.market.errors import BadInput, LakehouseError
from lakehouse.storage.events import is_plain
from lakehouse.storage.store import ObjectTooLarge, Store

log = structlog.get_logger()

IMPORTED, REFUSED = "imported", "refused"


@dataclass(frozen=True)
class Upload:
    """
    An uploaded file and what became of it.

    Attributes:
        state: ``imported`` or ``refused``.
        error: Why it was refused, and what to do.
        merged_at: When Silver held its rows.
        published_at: When PostgreSQL held what they changed.
    """

    upload_key: str
    state: str
    error: str
    object_key: str | None
    rows: int
    uploaded_by: str
    seen_at: dt.datetime
    accepted_by: str
    merged_at: dt.datetime | None
    published_at: dt.datetime | None

    @property
    def fate(self) -> str:
        """What became of it, in words."""
        if self.state == REFUSED:
            return self.error
        where = "in PostgreSQL" if self.published_at else "in Silver" if self.merged_at else "in Bronze"
        return f"{where}, accepted by {self.accepted_by}" if self.accepted_by else where


def submit(conn: Connection[Any], store: Store, key: str, body: bytes, by: str) -> Upload:
    """
    Put a file under *key* for *by* and import it; the same again changes nothing.

    Raises:
        BadInput: if it cannot be imported, or another file lies there: nothing is stored.
    """
    read_upload(key, body)
    if not store.put(key, body) and store.get(key) != body:
        raise BadInput(f"{key}: there is another file of this name; give this one another name")
    return import_file(conn, store, key, by)


def import_file(conn: Connection[Any], store: Store, key: str, by: str = "") -> Upload:
    """
    Make an object of Bronze of the file under *key*, or write down why that cannot be.

    Raises:
        FileNotFoundError: if there is no such file.
        StoreUnavailable: if the store does not answer.
    """
    mark = store.mark(key)  # before the reading: what is put there meanwhile is looked at again
    try:
        object_key, body, trailer = read_upload(key, store.get(key, MAX_FILE))
    except ObjectTooLarge as error:
        _write(conn, key, mark, by, error=f"{error}: upload its pages one by one")
    except BadInput as error:
        _write(conn, key, mark, by, error=str(error))
    else:
        store.put(object_key, body)
        with conn.transaction():
            record_landed(conn, object_key, trailer)
            _write(conn, key, mark, by, object_key=object_key, rows=trailer.rows)
    found = upload(conn, key)
    if found.state == REFUSED:
        log.warning("bronze.upload_refused", key=key, error=found.error)
    else:
        log.info("bronze.upload_imported", key=key, object_key=found.object_key, rows=found.rows)
    return found


def accept(conn: Connection[Any], store: Store, key: str, by: str, now: dt.datetime | None = None) -> str:
    """
    Let the rows of an imported upload count as if the exchange had given them last; return the object's key.

    Args:
        by: The admin who accepts them.
        now: The present; by default the exchange's clock when it last answered. Whatever it says, the acceptance is
            later than all that is known of the series.

    Raises:
        BadInput: if there is no such upload, it was refused, or it was accepted already.
    """
    found = upload(conn, key)
    if found.object_key is None:
        raise BadInput(f"{key} was refused ({found.error}): it has no rows to accept")
    if found.accepted_by:
        raise BadInput(f"{key} was accepted by {found.accepted_by} already")
    uploaded = decode_object(store.get(found.object_key))
    at = later_than_known(conn, uploaded.trailer.window.series, now)
    trailer = replace(uploaded.trailer, fetched_at=at, rank=FETCHED, end_proof=f"accepted by {by}")
    object_key, body = encode_object([replace(each, fetched_at=at) for each in uploaded.exchanges], trailer)
    store.put(object_key, body)
    with conn.transaction():
        record_landed(conn, object_key, trailer)
        conn.execute(
            "UPDATE lake.upload SET accepted_by = %s, accepted_key = %s WHERE upload_key = %s", (by, object_key, key)
        )
    log.info("bronze.upload_accepted", key=key, object_key=object_key, by=by)
    return object_key


def import_missed(conn: Connection[Any], store: Store) -> Iterator[Upload]:
    """
    Import the files under uploads/ that nobody looked at since they were put there. Costs a listing of them.

    One that cannot be looked at is logged, and looked at again the next time.
    """
    known = dict(conn.execute("SELECT upload_key, mark FROM lake.upload").fetchall())
    for key, mark in store.marks(UPLOADS):
        if known.get(key) != mark and is_plain(key):
            try:
                found = import_file(conn, store, key)
            except FileNotFoundError:  # taken away since it was listed
                continue
            except (LakehouseError, psycopg.OperationalError):  # of the store, the disk or the database
                raise
            except Exception as error:  # nobody thought of it: the other files are imported all the same
                log.exception("bronze.upload_not_imported", key=key, error=str(error))
                continue
            yield found


def upload(conn: Connection[Any], key: str) -> Upload:
    """Return an upload; raise BadInput if there is none."""
    with conn.cursor(row_factory=class_row(Upload)) as cursor:
        found = cursor.execute(_UPLOADS + "WHERE u.upload_key = %s", (key,)).fetchone()
    if found is None:
        raise BadInput(f"there is no upload {key[:200]}: `lakehouse uploads` lists them")
    return found


def uploads(conn: Connection[Any], limit: int = 50) -> list[Upload]:
    """Return the uploads that were looked at last, newest first."""
    with conn.cursor(row_factory=class_row(Upload)) as cursor:
        return cursor.execute(_UPLOADS + "ORDER BY u.seen_at DESC, u.upload_key LIMIT %s", (limit,)).fetchall()


_UPLOADS: LiteralString = """
    SELECT u.upload_key, u.state, u.error, u.object_key, u.rows, u.uploaded_by, u.seen_at, u.accepted_by,
        o.merged_at, o.published_at
    FROM lake.upload u LEFT JOIN lake.bronze_object o ON o.object_key = coalesce(u.accepted_key, u.object_key) """


def _write(
    conn: Connection[Any],
    key: str,
    mark: str,
    by: str,
    *,
    error: str = "",
    object_key: str | None = None,
    rows: int = 0,
) -> None:
    """Write down what became of a file; who uploaded and who accepted stays known while its content is the same."""
    conn.execute(
        """
        INSERT INTO lake.upload (upload_key, mark, state, error, object_key, rows, uploaded_by)
        VALUES (%(key)s, %(mark)s, %(state)s, %(error)s, %(object_key)s, %(rows)s, %(by)s)
        ON CONFLICT (upload_key) DO UPDATE SET
            (mark, state, error, object_key, rows, seen_at, uploaded_by, accepted_by, accepted_key) = ROW (
                excluded.mark, excluded.state, excluded.error, excluded.object_key, excluded.rows,
                CASE WHEN upload.mark = excluded.mark THEN upload.seen_at ELSE now() END,
                CASE WHEN upload.mark = excluded.mark AND excluded.uploaded_by = '' THEN upload.uploaded_by
                    ELSE excluded.uploaded_by END,
                CASE WHEN upload.object_key = excluded.object_key THEN upload.accepted_by ELSE '' END,
                CASE WHEN upload.object_key = excluded.object_key THEN upload.accepted_key END)
        """,
        {
            "key": key,
            "mark": mark,
            "state": REFUSED if object_key is None else IMPORTED,
            "error": error,
            "object_key": object_key,
            "rows": rows,
            "by": by,
        },
    )
