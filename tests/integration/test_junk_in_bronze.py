"""Whatever somebody puts into the Bronze folder: what is no object is named and passed over, all else is taken."""

from __future__ import annotations

import gzip
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from psycopg import Connection

from lakehouse.bronze.ledger import Junk, rebuild
from lakehouse.bronze.objects import MAX_UNPACKED
from lakehouse.bronze.reconcile import reconcile
from lakehouse.cli import main
from lakehouse.database.connection import connect
from lakehouse.market.candle import CANDLES
from lakehouse.silver.pending import unmerged
from lakehouse.storage.store import ObjectTooLarge, Store, open_store
from tests.bronze_objects import candle, candles_object

pytestmark = pytest.mark.postgres
GOOD, BODY = candles_object([candle("2024-03-01 10:00:00")])
OTHER, _ = candles_object([candle("2024-03-01 10:00:00", 1.7)], secid="GAZP")


def put(folder: Path, key: str, body: bytes) -> str:
    """Write a file as a person would, past the store."""
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return key


def bomb() -> bytes:
    """Return 0.3 MB that unpack to more than anybody should."""
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)
    return b"".join(packer.compress(zeros) for _ in range((MAX_UNPACKED >> 20) + 8)) + packer.flush()


def changed(**fields: Any) -> bytes:
    """Return a whole object whose trailer says other things."""
    *lines, last = gzip.decompress(BODY).rstrip(b"\n").split(b"\n")
    trailer = {"trailer": {**orjson.loads(last)["trailer"], **fields}}
    return gzip.compress(b"\n".join([*lines, orjson.dumps(trailer), b""]))


JUNK: dict[str, tuple[str, bytes, str]] = {
    "random bytes": ("iss/candles/x.jsonl.gz", os.urandom(5000), "cannot be read"),
    "nothing": ("iss/candles/empty.jsonl.gz", b"", r"cannot be read \(EOFError: it is cut off\)"),
    "a text": ("iss/README.txt", b"do not touch", "cannot be read"),
    "a cut object": (GOOD.object_key.replace("2024-03-01", "2024-03-02"), BODY[:-20], "EOFError: it is cut off"),
    "a broken object": ("iss/a.jsonl.gz", BODY[:60] + b"\xff\xff\xff\xff" + BODY[64:], "cannot be read"),
    "an object and more": ("iss/b.jsonl.gz", BODY + b"x", "ValueError: more bytes follow its end"),
    "no trailer": ("iss/c.jsonl.gz", gzip.compress(b'{"url": "x"}\n'), "KeyError: 'trailer'"),
    "a trailer that is none": ("iss/d.jsonl.gz", gzip.compress(b'{"trailer": []}\n'), "cannot be read"),
    "rows that are no number": ("iss/e.jsonl.gz", changed(rows="many"), "TypeError: rows is no int"),
    "a secid that is no text": ("iss/f.jsonl.gz", changed(secid="a\0b"), "TypeError: secid is no text"),
    "a date that is none": ("iss/g.jsonl.gz", changed(till="2024-02-30"), "ValueError: "),
    "another object's name": (OTHER.object_key, BODY, "is another object, of SBER TQBR 1m 2024-03-01"),
    "an object outside its folder": ("iss/" + GOOD.object_key.rpartition("/")[2], BODY, "is another object"),
    "other contents under a name": (GOOD.object_key[:-30] + "x" + GOOD.object_key[-29:], changed(rows=2), "is another"),
    "a bomb": ("iss/bomb.jsonl.gz", bomb(), "it unpacks to more than 256 MiB"),
    "bad percent-encoding": ("iss/%zz%2.jsonl.gz", b"x", "cannot be read"),
    "a file in a folder named as an object": (f"{GOOD.object_key}.d/in.jsonl.gz", b"x", "cannot be read"),
}


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Bronze with one good object."""
    put(tmp_path / "bronze", GOOD.object_key, BODY)
    return tmp_path / "bronze"


def rebuilt(conn: Connection[Any], store: Store) -> list[str]:
    """Rebuild the ledger; return what it says is junk."""
    junk: list[Junk] = []
    assert rebuild(conn, store, junk.append) == 1
    return [str(each) for each in junk]


def reconciled(conn: Connection[Any], store: Store) -> list[str]:
    """Reconcile store and ledger; return the keys of what is junk."""
    found = reconcile(conn, store)
    assert found.recorded == [GOOD.object_key]
    return found.junk


PASSES: list[Callable[[Connection[Any], Store], list[str]]] = [rebuilt, reconciled]


@pytest.mark.parametrize("look", PASSES)
@pytest.mark.parametrize("name", JUNK)
def test_junk_is_named_and_passed_over(
    conn: Connection[Any], folder: Path, name: str, look: Callable[[Connection[Any], Store], list[str]]
) -> None:
    """It is said what is wrong and what to do; the good object is taken, and Silver is offered nothing else."""
    key, body, _ = JUNK[name]
    put(folder, key, body)
    (said,) = look(conn, open_store(str(folder)))
    assert said.startswith(key)
    assert [object_.object_key for object_ in unmerged(conn, CANDLES)] == [GOOD.object_key]
    assert (folder / key).read_bytes() == body


@pytest.mark.parametrize("name", JUNK)
def test_the_reason_says_what_is_wrong(conn: Connection[Any], folder: Path, name: str) -> None:
    """One line: the key, what is wrong, and what to do."""
    key, body, reason = JUNK[name]
    put(folder, key, body)
    (said,) = rebuilt(conn, open_store(str(folder)))
    assert re.search(reason, said), said
    assert said.endswith("move it out of Bronze")
    assert "\n" not in said


@pytest.mark.parametrize("look", PASSES)
def test_links_pipes_and_names_that_are_no_text_are_no_objects(
    conn: Connection[Any], folder: Path, tmp_path: Path, look: Callable[[Connection[Any], Store], list[str]]
) -> None:
    """A link may lead out of the store or round in it, a pipe would never end: none of them is opened."""
    outside = tmp_path / "outside.jsonl.gz"
    outside.write_bytes(BODY)
    place = folder / "iss" / "odd"
    place.mkdir()
    (place / "out").symlink_to(outside)
    (place / "round").symlink_to(folder)
    (place / "nowhere").symlink_to(tmp_path / "nowhere")
    os.mkfifo(place / "pipe")
    (place / "empty").mkdir()
    Path(os.fsdecode(os.fsencode(place) + b"/\xff\xfe")).write_bytes(BODY)
    said = look(conn, open_store(str(folder)))
    keys = [f"iss/odd/{name}" for name in ("\\xff\\xfe", "nowhere", "out", "pipe", "round")]
    assert [text.partition(":")[0] for text in said] == keys
    assert [object_.object_key for object_ in unmerged(conn, CANDLES)] == [GOOD.object_key]


def test_a_file_of_any_size_is_not_read_whole(store: Store) -> None:
    """The size is looked at first."""
    store.put("iss/large", bytes(1000))
    with pytest.raises(ObjectTooLarge, match=r"^iss/large has 1,000 bytes, at most 999 are read$"):
        store.get("iss/large", 999)
    assert len(store.get("iss/large", 1000)) == 1000


def test_the_command_names_junk_and_takes_the_rest(
    dsn: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`lakehouse rebuild ledger` says each on standard error, and ends well."""
    put(folder, "iss/junk", b"x")
    monkeypatch.setenv("LAKEHOUSE_DATABASE_URL", dsn)
    monkeypatch.setattr(sys, "argv", ["lakehouse", "rebuild", "ledger", "--data", str(tmp_path)])
    main()
    said = capsys.readouterr()
    assert said.out.startswith("ledger: 1 objects read in ")
    assert said.out.endswith(" s, 1 files refused\n")
    assert said.err.startswith("not an object: iss/junk: the trailer of a Bronze object of 1 bytes cannot be read")
    assert said.err.endswith("; move it out of Bronze\n")
