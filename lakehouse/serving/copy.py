"""
Arrow rows into PostgreSQL by COPY, in its binary format.

A row is its number of columns (int16), then per column its length in bytes (int32, -1 for NULL) and its bytes:
numbers big-endian, instants as microseconds since 2000-01-01 UTC, dates as days since then. Encoding a million facts
takes 0.8 s and releases the interpreter, so it goes on while the server takes the batch before.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import Connection, sql

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_EPOCH_DAYS = (dt.date(2000, 1, 1) - dt.date(1970, 1, 1)).days
_EPOCH_US = _EPOCH_DAYS * 86_400_000_000
BATCH_ROWS = 100_000


def copy_rows(
    conn: Connection[Any],
    table: sql.Composable,
    columns: Sequence[str],
    batches: Iterable[pa.Table],
    *,
    freeze: bool = False,
) -> int:
    """
    Append *batches* to *table*; return the number of rows.

    Args:
        columns: Names of the batches' columns, which are also the table's.
        freeze: Write rows as if they were old; only for a table made in this transaction.
    """
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    options = sql.SQL("FORMAT binary, FREEZE" if freeze else "FORMAT binary")
    rows = 0
    with (
        conn.cursor() as cursor,
        cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN ({})").format(table, names, options)) as copy,
    ):
        copy.write(_SIGNATURE)
        for encoded, count in _ahead(_encoded(batches, columns)):
            copy.write(encoded)
            rows += count
        copy.write(_TRAILER)
    return rows


def encode_rows(rows: pa.Table) -> bytes:
    """Return *rows* in the binary format of COPY, without signature and trailer."""
    count = len(rows.column_names).to_bytes(2, "big")
    columns = [_encode(rows.column(at).combine_chunks()) for at in range(rows.num_columns)]
    joined = pc.binary_join_element_wise(pa.scalar(count, pa.binary()), *columns, pa.scalar(b"", pa.binary()))
    return b"".join(_bytes_of(chunk) for chunk in getattr(joined, "chunks", [joined]))


def _encoded(batches: Iterable[pa.Table], columns: Sequence[str]) -> Iterator[tuple[bytes, int]]:
    for batch in batches:
        for start in range(0, len(batch), BATCH_ROWS):
            part = batch.slice(start, BATCH_ROWS).select(columns)
            yield encode_rows(part), len(part)


def _ahead(items: Iterator[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
    """Yield *items*, the next of which is made by another thread while the caller works on one."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, items, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, items, None)
            yield item


def _encode(values: pa.Array) -> pa.Array:
    type_ = values.type
    if pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return _texts(values)
    if pa.types.is_boolean(type_):
        return _fixed(_filled(values, False).astype(np.uint8), values)
    if pa.types.is_date32(type_):
        return _fixed((_filled(values.view(pa.int32()), 0) - _EPOCH_DAYS).astype(">i4"), values)
    if pa.types.is_timestamp(type_):
        micros = values.cast(pa.timestamp("us", type_.tz)).view(pa.int64())
        return _fixed((_filled(micros, 0) - _EPOCH_US).astype(">i8"), values)
    data = _filled(values, 0)
    return _fixed(data.astype(data.dtype.newbyteorder(">")), values)


def _fixed(body: npt.NDArray[Any], values: pa.Array) -> pa.Array:
    width = body.dtype.itemsize
    field = np.empty((len(body), 4 + width), np.uint8)
    field[:, :4] = np.frombuffer(width.to_bytes(4, "big"), np.uint8)
    field[:, 4:] = np.ascontiguousarray(body).view(np.uint8).reshape(-1, width)
    made = pa.Array.from_buffers(pa.binary(4 + width), len(body), [None, pa.py_buffer(field)])
    return _with_nulls(made.cast(pa.binary()), values)


def _texts(values: pa.Array) -> pa.Array:
    # Each distinct text once: timeframes, secids and buckets repeat
    distinct = values.cast(pa.string()).dictionary_encode()
    fields = [len(raw).to_bytes(4, "big") + raw for raw in (text.encode() for text in distinct.dictionary.to_pylist())]
    made = pa.array([*fields, _NULL], pa.binary())
    return made.take(pc.fill_null(distinct.indices, len(fields)))


def _with_nulls(made: pa.Array, values: pa.Array) -> pa.Array:
    return pc.if_else(values.is_valid(), made, pa.scalar(_NULL, pa.binary())) if values.null_count else made


def _filled(values: pa.Array, missing: float | bool) -> npt.NDArray[Any]:
    filled = pc.fill_null(values, missing) if values.null_count else values
    array: npt.NDArray[Any] = filled.to_numpy(zero_copy_only=False)
    return array


def _bytes_of(joined: pa.Array) -> bytes:
    _, offsets, data = joined.buffers()
    first, last = np.frombuffer(offsets, np.int32)[[joined.offset, joined.offset + len(joined)]]
    return memoryview(data)[first:last].tobytes() if data else b""
