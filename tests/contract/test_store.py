"""What every object store owes: a folder, MinIO and LocalStack here, by settings only."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lakehouse.ports import free_port
from lakehouse.storage.keys import segment
from lakehouse.storage.minio import MinioServer
from lakehouse.storage.s3 import StoreRefused, StoreUnavailable
from lakehouse.storage.store import ObjectTooLarge, Store, open_store
from tests.s3_stand_in import s3_stand_in
from tests.stores import S3Server, empty_store, make_bucket, options

ON_S3 = ["minio", "localstack"]


@pytest.fixture(params=["folder", *ON_S3])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Return an empty store of each kind in turn."""
    return empty_store(None if request.param == "folder" else request.getfixturevalue(request.param), tmp_path)


@pytest.fixture(params=ON_S3)
def server(request: pytest.FixtureRequest) -> S3Server:
    """Return each server that speaks S3 in turn."""
    served: S3Server = request.getfixturevalue(request.param)
    return served


def test_an_object_comes_back_as_it_was_put(store: Store) -> None:
    """Bytes are kept exactly."""
    body = bytes(range(256)) * 1000
    assert store.put("iss/a", body)
    assert store.get("iss/a") == body


def test_an_object_is_never_changed(store: Store) -> None:
    """The second put under a key says so and changes nothing."""
    assert store.put("iss/a", b"first")
    assert not store.put("iss/a", b"second")
    assert store.get("iss/a") == b"first"


def test_of_many_puts_at_once_one_wins(store: Store) -> None:
    """Put-if-absent holds between threads: one body is kept, whole."""
    bodies = [bytes([number]) * 100_000 for number in range(16)]
    together = threading.Barrier(len(bodies))

    def put(body: bytes) -> bool:
        together.wait()
        return store.put("iss/a", body)

    with ThreadPoolExecutor(len(bodies)) as threads:
        written = list(threads.map(put, bodies))
    assert written.count(True) == 1
    assert store.get("iss/a") == bodies[written.index(True)]


def test_of_equal_puts_at_once_one_wins(store: Store) -> None:
    """Whoever puts what another is putting learns that it was not the one."""
    with ThreadPoolExecutor(16) as threads:
        written = list(threads.map(lambda _: store.put("iss/a", b"body"), range(64)))
    assert written.count(True) == 1


def test_a_big_object_is_put_in_one_piece(store: Store) -> None:
    """20 MB, more than S3 clients send at once by themselves, are kept, and kept from a second put."""
    body = bytes(range(256)) * 80_000
    assert store.put("iss/big", body)
    assert not store.put("iss/big", b"")
    assert store.get("iss/big") == body


def test_an_empty_object_is_an_object(store: Store) -> None:
    """No bytes are a body as well."""
    assert store.put("iss/empty", b"")
    assert store.exists("iss/empty")
    assert store.get("iss/empty") == b""


@pytest.mark.parametrize("name", ["a/b", "a%2Fb", "100%", "Сбер", "a b", "a?b#c", "a:b", "~.a", "\\a"])
def test_an_encoded_segment_is_kept_as_it_is_written(store: Store, name: str) -> None:
    """A percent-encoded segment is neither decoded nor encoded again."""
    key = f"iss/candles/{segment(name)}/x.gz"
    assert store.put(key, b"body")
    assert store.get(key) == b"body"
    assert store.exists(key)
    assert list(store.list()) == [key]
    assert list(store.list(f"iss/candles/{segment(name)}")) == [key]


def test_keys_are_listed_in_order(store: Store) -> None:
    """Listing is sorted, and takes whole segments of a prefix."""
    for key in ("iss/b/2", "iss/a/1", "iss/b/1", "iss/bb/1"):
        store.put(key, b"")
    assert list(store.list()) == ["iss/a/1", "iss/b/1", "iss/b/2", "iss/bb/1"]
    assert list(store.list("iss/b")) == ["iss/b/1", "iss/b/2"]
    assert list(store.list("iss/b/")) == ["iss/b/1", "iss/b/2"]
    assert list(store.list("nothing")) == []


def test_more_keys_are_listed_than_s3_lists_at_once(store: Store) -> None:
    """All come, in order, however many answers it takes."""
    keys = [f"iss/{number % 7}/{number:04}" for number in range(1_050)]
    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(lambda key: store.put(key, b""), keys))
    assert list(store.list("iss")) == sorted(keys)


def test_what_is_not_there_is_not_found(store: Store) -> None:
    """A missing object is FileNotFoundError, naming the key."""
    assert not store.exists("iss/a")
    with pytest.raises(FileNotFoundError, match=r"iss/a$"):
        store.get("iss/a")


def test_an_object_that_is_too_large_is_not_read(store: Store) -> None:
    """Whoever puts files into the store cannot fill our memory."""
    store.put("iss/a", b"12345")
    with pytest.raises(ObjectTooLarge, match="iss/a has 5 bytes, at most 4 are read"):
        store.get("iss/a", most=4)
    assert store.get("iss/a", most=5) == b"12345"


def test_a_store_pickles_by_its_address(store: Store) -> None:
    """A store that was sent to a worker finds the same objects."""
    store.put("iss/a", b"body")
    assert pickle.loads(pickle.dumps(store)).get("iss/a") == b"body"


def test_a_folder_is_opened_by_path_or_url(tmp_path: Path) -> None:
    """A path and its file:// address are the same store, blanks in it included."""
    folder = tmp_path / "a b"
    open_store(str(folder)).put("x", b"body")
    assert open_store(folder.as_uri()).get("x") == b"body"


def test_stores_of_one_bucket_do_not_see_each_other(server: S3Server) -> None:
    """A prefix is a store of its own, and no part of its keys."""
    bucket = make_bucket(server)
    one, other, whole = (open_store(f"s3://{bucket}{place}", options(server)) for place in ("/one", "/two/2/", ""))
    assert one.put("iss/a", b"1")
    assert other.put("iss/a", b"2")
    assert list(one.list()) == ["iss/a"]
    assert list(whole.list()) == ["one/iss/a", "two/2/iss/a"]
    assert other.get("iss/a") == b"2"


@pytest.mark.parametrize("act", ["put", "get", "exists", "list"])
def test_a_missing_bucket_is_one_clear_error(server: S3Server, act: str) -> None:
    """No act takes a bucket that is not there for an empty one."""
    refused = r"s3://not-made at http://127\.0\.0\.1:\d+: there is no such bucket; make it, or name another"
    with pytest.raises(StoreRefused, match=refused):
        do(open_store("s3://not-made", options(server)), act)


# LocalStack takes any credentials
@pytest.mark.parametrize("act", ["put", "get", "exists", "list"])
@pytest.mark.parametrize("wrong", ["access_key_id", "secret_access_key"])
def test_wrong_credentials_are_one_clear_error(minio: MinioServer, act: str, wrong: str) -> None:
    """The error names the settings to check, and holds no secret."""
    given = options(minio) | {wrong: "not-the-right-one"}
    refused = (
        r"bronze at .*: the credentials are refused \(.+\); check LAKEHOUSE_S3_ACCESS_KEY_ID and LAKEHOUSE_S3_SECRET"
    )
    with pytest.raises(StoreRefused, match=refused) as raised:
        do(open_store(f"s3://{make_bucket(minio)}/bronze", given), act)
    assert given["secret_access_key"] not in f"{raised.value} {raised.value.__cause__}"


def test_a_store_shows_no_secret(server: S3Server) -> None:
    """What is logged of a store says where it is, not how it is entered."""
    store = open_store("s3://bucket/bronze", options(server))
    assert repr(store) == "Store(url='s3://bucket/bronze', patience_s=120.0)"


def do(store: Store, act: str) -> None:
    """Do one of the things that a store is for."""
    acts: dict[str, Callable[[], object]] = {
        "put": lambda: store.put("iss/a", b""),
        "get": lambda: store.get("iss/a"),
        "exists": lambda: store.exists("iss/a"),
        "list": lambda: list(store.list("iss")),
    }
    acts[act]()


@pytest.fixture
def frail(minio: MinioServer, tmp_path: Path) -> Iterator[MinioServer]:
    """Return a MinIO of one's own, which may be killed."""
    with MinioServer(tmp_path / "frail") as server:
        yield server


def test_a_store_that_went_away_is_waited_for(frail: MinioServer) -> None:
    """Whatever was being asked meanwhile is done when it is back; every put is there, once."""
    store = empty_store(frail, frail.folder)
    keys = [f"iss/{number:03}" for number in range(200)]
    store.put("iss/before", b"before")
    with ThreadPoolExecutor(8) as threads:
        puts = threads.map(lambda key: store.put(key, key.encode() * 10_000), keys)
        frail.kill()
        looks = [threads.submit(do, store, act) for act in ("exists", "list")]
        read = threads.submit(store.get, "iss/before")
        time.sleep(1)
        frail.start()
        assert all(puts)
        assert read.result() == b"before"
        assert [look.exception() for look in looks] == [None, None]
    assert list(store.list("iss")) == [*keys, "iss/before"]
    assert store.get(keys[-1]) == keys[-1].encode() * 10_000


@pytest.mark.parametrize(("there", "written"), [({}, True), ({"iss/a": b"other"}, False)])
def test_a_put_whose_answer_was_lost_is_known_again(there: dict[str, bytes], written: bool) -> None:
    """The store took it and said 500: the next try finds it there, and that counts as written if it is ours."""
    with s3_stand_in() as stand_in:
        stand_in.is_shaky = True
        stand_in.objects |= there
        store = open_store(
            "s3://bucket", {"endpoint": stand_in.url, "access_key_id": "any", "secret_access_key": "any"}
        )
        assert store.put("iss/a", b"body") is written
        assert not store.put("iss/a", b"body")
        assert stand_in.objects == {"iss/a": b"body", **there}


@pytest.mark.parametrize("act", ["put", "get", "exists", "list"])
def test_a_store_that_stays_away_is_one_clear_error(minio: MinioServer, act: str) -> None:
    """Patience ends: the error says how long it was and what to check."""
    nobody = options(minio) | {"endpoint": f"http://127.0.0.1:{free_port()}"}
    away = r"s3://bucket at http://127\.0\.0\.1:\d+: it did not answer for 1 s \(.*\); check .* LAKEHOUSE_S3_ENDPOINT"
    with pytest.raises(StoreUnavailable, match=away):
        do(open_store("s3://bucket", nobody, patience_s=1), act)
