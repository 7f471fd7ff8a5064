"""Bins of histograms: of a size that is tiny beside the data Plotly makes a million, and the browser's tab freezes."""

from __future__ import annotations

import base64
import datetime as dt
import math
import re
import struct
from collections.abc import Iterable, Iterator
from typing import Any

MAX_BINS = 1_000
_CODES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "f4": "f", "f8": "d"}
_MONTHS = re.compile(r"M[1-9][0-9]{0,3}")


def without_tiny_bins(trace: dict[str, Any]) -> Iterator[str]:
    """Take the sizes of bins out of a checked *trace* that would make too many, or nobody knows how many; name them."""
    for axis in ("x", "y"):
        bins = trace.get(f"{axis}bins")
        if isinstance(bins, dict) and "size" in bins and not _is_coarse(bins, trace.get(axis)):
            del bins["size"]
            yield f"{axis}bins.size"


def _is_coarse(bins: dict[str, Any], values: object) -> bool:
    size = bins["size"]
    if isinstance(size, str) and _MONTHS.fullmatch(size):
        return True
    known = list(_numbers(values))
    low, high = (_number(bins.get(name)) for name in ("start", "end"))
    low = min(known, default=None) if low is None else low
    high = max(known, default=None) if high is None else high
    if low is None or high is None or type(size) not in (int, float) or size <= 0:
        return False
    return bool((high - low) / size <= MAX_BINS)


def _numbers(values: object) -> Iterator[float]:
    if isinstance(values, dict) and "bdata" in values:
        form, data = f"<{_CODES[values['dtype']]}", base64.b64decode(values["bdata"])
        found: Iterable[Any] = (number for (number,) in struct.iter_unpack(form, data))
    else:
        found = values if isinstance(values, list) else ()
    yield from (number for number in map(_number, found) if number is not None)


def _number(value: object) -> float | None:
    """Return a number as it is, and an instant in milliseconds, as Plotly counts them."""
    if type(value) in (int, float):
        return float(value) if math.isfinite(value) else None  # type: ignore[arg-type]
    try:
        instant = dt.datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return instant.replace(tzinfo=dt.UTC).timestamp() * 1000
