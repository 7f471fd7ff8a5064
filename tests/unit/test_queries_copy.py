"""PostgreSQL's binary COPY format, byte by byte."""

from __future__ import annotations

import datetime as dt
import struct

import pyarrow as pa

from lakehouse.serving.copy import encode_rows


def test_a_row_is_encoded_as_the_server_reads_it() -> None:
    """Count of columns, then length and bytes of each; NULL has the length -1 and no bytes."""
    instant = dt.datetime(2000, 1, 1, 0, 0, 1, tzinfo=dt.UTC)
    rows = pa.table(
        {
            "long": pa.array([-5], pa.int64()),
            "double": pa.array([0.01], pa.float64()),
            "text": pa.array(["МОEX"]),
            "instant": pa.array([instant], pa.timestamp("us", "UTC")),
            "date": pa.array([dt.date(1999, 12, 31)], pa.date32()),
            "flag": pa.array([True]),
            "int": pa.array([7], pa.int32()),
            "none": pa.array([None], pa.float64()),
            "no_text": pa.array([None], pa.string()),
        }
    )
    text = "МОEX".encode()
    expected = b"".join(
        [
            struct.pack(">h", 9),
            struct.pack(">iq", 8, -5),
            struct.pack(">id", 8, 0.01),
            struct.pack(">i", len(text)) + text,
            struct.pack(">iq", 8, 1_000_000),
            struct.pack(">ii", 4, -1),
            struct.pack(">ib", 1, 1),
            struct.pack(">ii", 4, 7),
            struct.pack(">i", -1) * 2,
        ]
    )
    assert encode_rows(rows) == expected


def test_slices_and_empty_tables_are_encoded() -> None:
    """A slice is encoded as its own rows, no rows as nothing."""
    rows = pa.table({"text": ["a", None, "b"], "number": [1.0, 2.0, None]})
    assert encode_rows(rows.slice(1, 2)) == encode_rows(pa.table({"text": [None, "b"], "number": [2.0, None]}))
    assert encode_rows(rows.slice(0, 0)) == b""
