"""News of objects: MinIO's webhook as it is, and news that is doubled, false or hostile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse.bronze.objects import decode_object
from lakehouse.database.connection import connect
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.jobs import events
from lakehouse.storage.store import open_store
from tests.bronze_objects import candle, candles_object
from tests.heard import Heard, hearing
from tests.killing import until
from tests.unit.test_storage_events import record
from tests.uploaded import DAYS, candles_json

pytestmark = pytest.mark.postgres

_RECORDED = "SELECT count(*) FROM lake.bronze_object WHERE object_key = %s AND rows = %s"
_UPLOADS = "SELECT count(*) FROM lake.upload"
_MERGES = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'merge'"


@pytest.fixture(scope="module")
def heard(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Heard]:
    """MinIO with the functions as its webhook."""
    with hearing(postgres, tmp_path_factory.mktemp("events")) as found:
        yield found


def landed(heard: Heard, secid: str) -> str:
    """Put an object into the store as somebody from elsewhere would: the ledger does not know it."""
    described, body = candles_object([candle("2024-03-04 10:00:00")], secid=secid)
    heard.store.put(described.object_key, body)
    return described.object_key


def test_an_object_put_into_minio_is_recorded_and_a_merge_is_asked_for(heard: Heard) -> None:
    """Though nobody of ours landed it, MinIO's own news of it, with its token, is enough."""
    heard.api.conn.execute("DELETE FROM procrastinate_jobs")
    key = landed(heard, "SBER")
    until(lambda: heard.count(_RECORDED, key, 1))
    until(lambda: heard.count(_MERGES) == 1)  # asked for once the row is committed


def test_news_that_comes_again_changes_nothing(heard: Heard) -> None:
    """Told before it is merged it pokes the one merge that waits; told afterwards not even that."""
    key = landed(heard, "GAZP")
    assert heard.tell(heard.event(key, key)) == (200, {"objects": 1})
    stored = heard.api.stored()
    assert heard.tell(heard.event(key)) == (200, {"objects": 1})
    assert (heard.api.stored(), heard.count(_MERGES)) == (stored, 1)
    heard.api.conn.execute("UPDATE lake.bronze_object SET merged_at = now()")
    heard.api.conn.execute("DELETE FROM procrastinate_jobs")
    assert heard.tell(heard.event(key)) == (200, {"objects": 1})
    assert heard.count(_MERGES) == 0


def test_who_has_not_the_token_is_not_heard(heard: Heard) -> None:
    """Even of an object that is there, and with a session of an admin."""
    key = landed(heard, "LKOH")
    until(lambda: heard.count(_RECORDED, key, 1))
    heard.api.conn.execute("DELETE FROM lake.bronze_object WHERE object_key = %s", (key,))
    for wrong in ("", "x", "Bearer", "0" * 40, heard.token[:-1], heard.api.tokens["admin"]):
        status, said = heard.tell(heard.event(key), wrong)
        assert (status, said["code"]) == (401, "not_logged_in")
    assert heard.count(_RECORDED, key, 1) == 0


def test_false_news_is_ignored(heard: Heard) -> None:
    """Of keys that are not there, that are no objects of ours, lie elsewhere, or are written to lead elsewhere."""
    described, body = candles_object([candle("2024-03-04 10:00:00")], secid="FALSE")
    key = described.object_key
    others = ["rejected/x", "iss/x.txt", key.replace("/1m/", "/1d/"), f"{key}.copy", "uploads/x.exe"]
    for other, content in zip(others, (b"x", b"", body, body, b"x"), strict=True):
        heard.store.put(other, content)
    heard.store.put("iss/large", b"\0" * (65 << 20))
    tricks = ["iss/../x", "iss/%2e%2e/x", "iss/%00", "iss/..%2f..%2fetc/passwd", "//iss/x", "iss/large", key]
    until(lambda: b"iss/large" in heard.api.logged())
    stored = heard.api.stored()
    assert heard.tell(heard.event(*others, *tricks)) == (200, {"objects": 1})  # the upload, which is listed as refused
    assert heard.tell({"Records": [record(key, bucket="another")]}) == (200, {"objects": 0})
    assert heard.api.stored() == stored
    assert decode_object(body).trailer.rows == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"junk", b"\xff\xfe", b'{"Records": [[[[' + b"[" * 5_000, b'{"Records": [{"s3": 1}]}',
     json.dumps({"Records": [record("iss/x")] * 10_000})[:1_000_000].encode(),
     json.dumps({"Records": [{"eventName": "x"}] * 10_000}).encode()],
    ids=range(9),
)  # fmt: skip
def test_a_body_that_is_no_event_is_refused(heard: Heard, body: bytes) -> None:
    """With what is wrong with it; nothing is stored, and nobody sees a traceback."""
    stored = heard.api.stored()
    status, said = heard.tell(body)
    assert (status, said["code"]) == (400, "bad_input")
    assert heard.api.stored() == stored
    assert b"Traceback" not in heard.api.logged()


def test_a_page_put_into_minio_under_uploads_is_imported(heard: Heard) -> None:
    """What cannot be imported is listed with the reason; MinIO's own news of it is enough for both."""
    heard.store.put(DAYS, candles_json([candle("2012-03-01 00:00:00")]))
    heard.store.put("uploads/somewhere.json", b"{}")
    until(lambda: heard.count(f"{_UPLOADS} WHERE upload_key <> 'uploads/x.exe'") == 2)
    found = heard.api.conn.execute("SELECT upload_key, state, rows FROM lake.upload ORDER BY 1").fetchall()
    assert (DAYS, "imported", 1) in found
    assert ("uploads/somewhere.json", "refused", 0) in found
    assert heard.count("SELECT count(*) FROM lake.bronze_object WHERE rank = -1") == 1


def test_a_store_that_is_away_is_asked_to_tell_it_again(heard: Heard) -> None:
    """
    The answer is 503 while nobody can say whether there is such an object; the news is taken afterwards.

    The last test here: what is put into a MinIO in its first second it tells nobody.
    """
    described, body = candles_object([candle("2024-03-04 10:00:00")], secid="AWAY")
    heard.minio.stop()
    status, said = heard.tell(heard.event(described.object_key))
    heard.minio.start()
    assert (status, said["code"]) == (503, "unavailable")
    heard.store.put(described.object_key, body)
    assert heard.tell(heard.event(described.object_key)) == (200, {"objects": 1})


def test_the_merge_is_poked_after_what_it_is_to_see_was_committed(
    heard: Heard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A merge that waits stands for the object, and may be begun at once: before the commit it would not see it."""
    described, body = candles_object([candle("2024-03-04 10:00:00")], secid="ROSN")
    store = open_store(str(tmp_path))
    store.put(described.object_key, body)
    seen: list[int] = []
    monkeypatch.setattr(
        events, "enqueue", lambda *_, **__: seen.append(heard.count(_RECORDED, described.object_key, 1))
    )
    with connect(heard.api.dsn) as conn:
        assert events.object_landed(conn, store, described.object_key)
    assert seen == [1]
