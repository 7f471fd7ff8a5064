"""What an object store says of new objects (S3 and MinIO alike): which keys, and none that could be no object's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from lakehouse.market.errors import BadInput

# A store sends one record a message, or a few; what is larger was not sent by one
MAX_RECORDS = 1_000
_MAX_KEY = 1_024
# Segments that storage/keys.py writes; a dot in front would be a file that hides, or the way out of a folder
_KEY = re.compile(r"(?=.{1,1024}\Z)[A-Za-z0-9_~%-][A-Za-z0-9._~%-]*(?:/[A-Za-z0-9_~%-][A-Za-z0-9._~%-]*)+")


def is_key(text: str) -> bool:
    """Return whether *text* could be the key of an object of ours: plain segments, none of which begins with a dot."""
    return _KEY.fullmatch(text) is not None


def is_plain(text: str) -> bool:
    """Return whether *text* could be a key that people write: printable, and no segment empty or with a dot first."""
    parts = text.split("/")
    return len(text) <= _MAX_KEY and text.isprintable() and all(part and not part.startswith(".") for part in parts)


def created_keys(document: Mapping[str, Any], url: str) -> list[str]:
    """
    Return the keys, as the store at *url* names them, of the objects that an event says were created, each once.

    Of other buckets, of deletions and of what lies beside the store's prefix nothing is said.

    Raises:
        BadInput: if *document* is no event of a store, or one of more than MAX_RECORDS records.
    """
    records = document.get("Records")
    if not isinstance(records, list):
        raise BadInput('the body is no event of an object store: it has no list "Records"')
    if len(records) > MAX_RECORDS:
        raise BadInput(f"the event has {len(records):,} records, at most {MAX_RECORDS:,} are taken: send them apart")
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    found = dict.fromkeys(_keys(records, parts.netloc, f"{prefix}/" if prefix else ""))
    return list(found) if parts.scheme == "s3" else []


def _keys(records: list[Any], bucket: str, prefix: str) -> Iterator[str]:
    for number, record in enumerate(records):
        try:
            name, found = record["eventName"], record["s3"]
            of, key = found["bucket"]["name"], unquote_plus(found["object"]["key"])
            is_created = name.removeprefix("s3:").startswith("ObjectCreated:")
        except (KeyError, TypeError, AttributeError, IndexError):
            raise BadInput(
                f"record {number} of the event names no object: eventName, s3.bucket.name and s3.object.key are needed"
            ) from None
        if is_created and of == bucket and key.startswith(prefix) and is_plain(key := key.removeprefix(prefix)):
            yield key
