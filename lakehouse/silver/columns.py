"""What the exchange writes into a column, as numpy arrays: vectorised, and telling which values could not be read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lakehouse.market.moscow import to_utc
from lakehouse.market.table import Type
from lakehouse.silver.arrow import arrow_type

Mask = npt.NDArray[np.bool_]

_HOUR_S = 3600


@dataclass(frozen=True)
class Values:
    """One column: *data* (whatever lies where it is null or bad), where it is *null*, and where it was *bad*."""

    data: npt.NDArray[Any]
    null: Mask
    bad: Mask

    def to_arrow(self, type_: Type) -> pa.Array:
        """Return the column as Arrow; what was bad is NULL."""
        data = self.data.astype("datetime64[us]") if type_ == "timestamp" else self.data
        array = pa.array(data, mask=self.null | self.bad)
        return array if type_ == "string" else array.cast(arrow_type(type_))


def read_values(type_: Type, raw: Sequence[Any]) -> Values:
    """
    Read what the exchange wrote.

    Returns:
        float64, datetime64[D] (date), datetime64[s] in naive Moscow time (timestamp), bool, int64 or object (string).
        Minus zero is read as zero. A number that is not finite, or text in its place, is bad.
    """
    convert, dtype = _CONVERT[type_]
    null = np.array([value is None for value in raw], np.bool_) if None in raw else np.zeros(len(raw), np.bool_)
    try:
        data = convert(raw)
        bad = np.zeros(len(raw), np.bool_)
    except (ValueError, TypeError, OverflowError, pa.ArrowInvalid, pa.ArrowTypeError):
        data, bad = _one_by_one(convert, dtype, raw)
    if type_ == "double":
        bad |= ~np.isfinite(data) & ~null
        data = data + 0.0  # -0 + 0 is 0: equality of versions is then equality of bits
    return Values(data, null, bad)


def absent(type_: Type, rows: int) -> Values:
    """Return a column of NULLs, for a column that the exchange did not send."""
    return Values(np.zeros(rows, _CONVERT[type_][1]), np.ones(rows, np.bool_), np.zeros(rows, np.bool_))


def moscow_to_utc(naive: npt.NDArray[np.datetime64]) -> npt.NDArray[np.datetime64]:
    """Return UTC instants (datetime64[s]) of naive Moscow times; the offset is looked up once per hour."""
    seconds = naive.astype("datetime64[s]").astype(np.int64)
    hours, positions = np.unique(seconds // _HOUR_S, return_inverse=True)
    offsets = np.array([_offset_s(int(hour) * _HOUR_S) for hour in hours], np.int64)
    utc: npt.NDArray[np.datetime64] = (seconds - offsets[positions]).astype("datetime64[s]")
    return utc


def _offset_s(naive_s: int) -> int:
    naive = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=naive_s)  # noqa: DTZ001 - Moscow time has no marker
    return naive_s - int(to_utc(naive).timestamp())


def _one_by_one(
    convert: Callable[[Sequence[Any]], npt.NDArray[Any]], dtype: str, raw: Sequence[Any]
) -> tuple[npt.NDArray[Any], Mask]:
    data = np.zeros(len(raw), dtype)
    bad = np.zeros(len(raw), np.bool_)
    for row, value in enumerate(raw):
        try:
            data[row] = convert([value])[0]
        except (ValueError, TypeError, OverflowError, pa.ArrowInvalid, pa.ArrowTypeError):
            bad[row] = True
    return data, bad


def _doubles(raw: Sequence[Any]) -> npt.NDArray[Any]:
    # Arrow takes integers and floats mixed, as ISS writes them, and refuses text
    return pa.array(raw, pa.float64(), from_pandas=False).fill_null(0.0).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _moments(raw: Sequence[Any]) -> npt.NDArray[Any]:
    text = pa.array(raw, pa.string()).cast(pa.timestamp("s"))
    return text.fill_null(dt.datetime(1970, 1, 1)).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]  # noqa: DTZ001


def _dates(raw: Sequence[Any]) -> npt.NDArray[Any]:
    return _moments(raw).astype("datetime64[D]")


def _texts(raw: Sequence[Any]) -> npt.NDArray[Any]:
    return pa.array(raw, pa.string()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _integers(raw: Sequence[Any]) -> npt.NDArray[Any]:
    return pa.array([None if value is None else int(value) for value in raw], pa.int64()).fill_null(0).to_numpy()  # type: ignore[no-any-return]


def _flags(raw: Sequence[Any]) -> npt.NDArray[Any]:
    """ISS writes 1 and 0; a card's text block writes them as strings."""
    known = {None: False, 0: False, 1: True, "0": False, "1": True}
    if unknown := [value for value in raw if value not in known]:
        raise ValueError(f"a flag was {unknown[0]!r}, expected 0 or 1")
    return np.fromiter((known[value] for value in raw), np.bool_, len(raw))


_CONVERT: dict[Type, tuple[Callable[[Sequence[Any]], npt.NDArray[Any]], str]] = {
    "double": (_doubles, "float64"),
    "timestamp": (_moments, "datetime64[s]"),
    "date": (_dates, "datetime64[D]"),
    "string": (_texts, "object"),
    "int": (_integers, "int64"),
    "long": (_integers, "int64"),
    "boolean": (_flags, "bool"),
}
