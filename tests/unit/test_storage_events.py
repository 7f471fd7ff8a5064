"""What a store's event says, read without believing it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

import pytest

from lakehouse.market.errors import BadInput
from lakehouse.storage.events import MAX_RECORDS, created_keys, is_key

URL = "s3://bucket/bronze"
KEY = "iss/candles/stock/shares/TQBR/VEON-RX/1m/2024-03-01_2024-03-15/20240320T120000Z-0123456789abcdef.jsonl.gz"


def record(key: str, name: str = "s3:ObjectCreated:Put", bucket: str = "bucket") -> dict[str, Any]:
    return {"eventName": name, "s3": {"bucket": {"name": bucket}, "object": {"key": quote_plus(key)}}}


def test_keys_are_those_of_the_store_each_once_in_order() -> None:
    """The store's own prefix is taken off, the encoding of events undone, once."""
    encoded = "iss/history/stock/shares/-/A%2BB/-/2024-03-01_2024-03-15/x.jsonl.gz"
    event = {"Records": [record(f"bronze/{key}") for key in (KEY, encoded, KEY)]}
    assert created_keys(event, URL) == [KEY, encoded]


def test_aws_and_minio_name_the_event_differently() -> None:
    """With and without s3: in front; what is deleted is no news of an object."""
    names = (
        "ObjectCreated:Put",
        "s3:ObjectCreated:CompleteMultipartUpload",
        "s3:ObjectRemoved:Delete",
        "ObjectCreated",
    )
    event = {"Records": [record(f"bronze/iss/{number}", name) for number, name in enumerate(names)]}
    assert created_keys(event, URL) == ["iss/0", "iss/1"]


@pytest.mark.parametrize(
    "key", ["iss/x", "bronzeiss/x", "other/iss/x", "/bronze/iss/x", "bronze/../iss/x", "bronze/iss/.x", "bronze/", ""]
)
def test_what_lies_beside_the_store_is_not_heard(key: str) -> None:
    """Keys without its prefix, and keys that lead out of it."""
    assert created_keys({"Records": [record(key), record(f"bronze/{KEY}", bucket="another")]}, URL) == []


def test_a_folder_has_no_bucket_that_could_send_events() -> None:
    """Nor has a bucket without a name."""
    assert created_keys({"Records": [record(KEY), record(KEY, bucket="")]}, "/data/bronze") == []


@pytest.mark.parametrize("document", [{}, {"Records": {}}, {"Records": "iss/x"}, {"records": []}])
def test_what_is_no_event_is_refused(document: dict[str, Any]) -> None:
    """Its message says what is missing."""
    with pytest.raises(BadInput, match=r'^the body is no event of an object store: it has no list "Records"$'):
        created_keys(document, URL)


@pytest.mark.parametrize(
    "odd", [None, 1, "x", [], {}, {"eventName": "x"}, {**record(KEY), "eventName": 7}, {**record(KEY), "s3": {}},
            {**record(KEY), "s3": {"bucket": "bucket", "object": {"key": 1}}}]
)  # fmt: skip
def test_a_record_that_names_no_object_is_refused(odd: object) -> None:
    """With its place, whatever is in its place."""
    with pytest.raises(BadInput, match=r"^record 1 of the event names no object: eventName, s3\.bucket\.name and"):
        created_keys({"Records": [record(KEY), odd]}, URL)


def test_an_event_of_too_many_records_is_refused() -> None:
    """No store sends so many, and each may cost a reading."""
    with pytest.raises(BadInput, match=r"^the event has 1,001 records, at most 1,000 are taken: send them apart$"):
        created_keys({"Records": [record(KEY)] * (MAX_RECORDS + 1)}, URL)


@pytest.mark.parametrize(
    "key",
    ["iss/../x", "iss/./x", "iss//x", "/iss/x", "iss/x/", "iss/x\n", "iss/x\0", "iss/ x", "iss/\\x", "iss/é", "iss", "",
     "iss/" + "x" * 1_021],
)  # fmt: skip
def test_a_key_of_ours_has_plain_segments(key: str) -> None:
    """None that leads out of a folder, breaks a line or needs another encoding."""
    assert not is_key(key)
    assert is_key(KEY)
    assert is_key("iss/" + "x" * 1_020)
