from __future__ import annotations

import datetime as dt
import hashlib
import math
import random
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from lakehouse.engines.address import TableAddress
from lakehouse.market.candle import HISTORY
from lakehouse.silver.arrow import arrow_schema
from lakehouse.silver.content_hash import content_hash

DAY = dt.date(1970, 1, 3)
KNOWN = dt.datetime(2024, 3, 5, tzinfo=dt.UTC)


def row(secid: str, close: float | None, **changed: Any) -> dict[str, Any]:
    values = dict.fromkeys(HISTORY.names)
    key = {"engine": "stock", "market": "shares", "board": "TQBR", "secid": secid, "trade_date": DAY}
    return {**values, **key, "close": close, "known_from": KNOWN, "source": "k#1.0", **changed}


def hashed(folder: Path, rows: list[dict[str, Any]]) -> str:
    write_deltalake(folder, pa.Table.from_pylist(rows, schema=arrow_schema(HISTORY)))
    return content_hash([(TableAddress(str(folder)), HISTORY, True)])


def by_hand(rows: list[tuple[str, float | None]]) -> str:
    """The documented bytes: text with its length, dates as days, doubles big-endian, NULL as one zero byte."""
    digest = hashlib.sha256()
    for secid, close in rows:
        for text in ("stock", "shares", "TQBR", secid):
            digest.update(b"\1" + struct.pack(">I", len(text.encode())) + text.encode())
        digest.update(b"\1" + struct.pack(">q", 2))
        digest.update(b"\0" * 3)
        digest.update(b"\0" if close is None else b"\1" + struct.pack(">d", close))
        digest.update(b"\0" * 5)
    return digest.hexdigest()


def test_the_hash_is_over_the_documented_bytes(tmp_path: Path) -> None:
    """A tiny table by hand; rows are sorted by key, whatever their order in the table."""
    rows = [row("ж", None), row("SBER", 1.5), row("AA", -0.0)]
    assert hashed(tmp_path / "t", rows) == by_hand([("AA", 0.0), ("SBER", 1.5), ("ж", None)])


def test_every_nan_is_the_same(tmp_path: Path) -> None:
    """A NaN with another payload is the canonical one."""
    odd = struct.unpack(">d", bytes.fromhex("fff8000000000123"))[0]
    assert hashed(tmp_path / "odd", [row("A", odd)]) == hashed(tmp_path / "nan", [row("A", math.nan)])


def test_order_files_and_when_a_row_was_learned_do_not_count(tmp_path: Path) -> None:
    """Loaded in another order, in two commits, at another time: the same hash."""
    rows = [row(f"S{number:03}", number / 3) for number in range(300)]
    shuffled = random.Random(1).sample(rows, len(rows))
    later = [{**one, "known_from": KNOWN + dt.timedelta(days=1), "source": "other#2.2"} for one in shuffled]
    folder = tmp_path / "parts"
    for part in (later[:100], later[100:]):
        write_deltalake(folder, pa.Table.from_pylist(part, schema=arrow_schema(HISTORY)), mode="append")
    assert content_hash([(TableAddress(str(folder)), HISTORY, True)]) == hashed(tmp_path / "whole", rows)


def test_closed_versions_do_not_count_and_values_do(tmp_path: Path) -> None:
    """The hash is of current rows."""
    closed = row("A", 9.0, known_from=KNOWN - dt.timedelta(days=1), known_till=KNOWN)
    assert hashed(tmp_path / "closed", [row("A", 1.0), closed]) == hashed(tmp_path / "current", [row("A", 1.0)])
    assert hashed(tmp_path / "other", [row("A", math.nextafter(1.0, 2))]) != hashed(tmp_path / "one", [row("A", 1.0)])


def test_a_table_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """Before the first load there is nothing to hash."""
    assert content_hash([(TableAddress(str(tmp_path / "none")), HISTORY, True)]) == hashlib.sha256().hexdigest()
