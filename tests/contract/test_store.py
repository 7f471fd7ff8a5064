"""What every object store owes: the folder here."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lakehouse.storage.keys import segment
from lakehouse.storage.store import Store, open_store


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
    with ThreadPoolExecutor(8) as threads:
        written = list(threads.map(lambda body: store.put("iss/a", body), bodies))
    assert written.count(True) == 1
    assert store.get("iss/a") == bodies[written.index(True)]


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
    assert list(store.list("nothing")) == []


def test_what_is_not_there_is_not_found(store: Store) -> None:
    """A missing object is FileNotFoundError, naming the key."""
    assert not store.exists("iss/a")
    with pytest.raises(FileNotFoundError, match="iss/a"):
        store.get("iss/a")


def test_a_store_pickles_by_its_address(store: Store) -> None:
    """A store that was sent to a worker finds the same objects."""
    store.put("iss/a", b"body")
    assert pickle.loads(pickle.dumps(store)).get("iss/a") == b"body"


def test_a_folder_is_opened_by_path_or_url(tmp_path: Path) -> None:
    """A path and its file:// address are the same store, blanks in it included."""
    folder = tmp_path / "a b"
    open_store(str(folder)).put("x", b"body")
    assert open_store(folder.as_uri()).get("x") == b"body"
