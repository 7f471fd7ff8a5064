"""What the fork server loads before its first fork."""

from __future__ import annotations

import importlib
import sys

_MODULES = (
    "numpy pandas pyarrow pyarrow.ipc pyarrow.compute plotly.express plotly.graph_objects plotly.subplots plotly.io "
    "plotly.figure_factory scipy scipy.stats scipy.signal scipy.optimize scipy.interpolate scipy.cluster.hierarchy "
    "scipy.ndimage scipy.fft asyncio base64 calendar concurrent.futures csv dataclasses decimal enum fractions "
    "heapq itertools json math statistics string textwrap threading typing unicodedata zoneinfo lakehouse.sandbox.child"
)


def up() -> None:
    """Load the libraries, and run through what they load on first use."""
    sys.modules["polars"] = None  # type: ignore[assignment]  # TA-Lib would load it, and its threads survive no fork
    importlib.import_module("talib")
    del sys.modules["polars"]
    for name in _MODULES.split():
        importlib.import_module(name)
    _use()


def _use() -> None:
    import numpy as np
    import pandas as pd
    import plotly.express as px

    frame = pd.DataFrame({"key": ["a", "b"] * 4, "x": np.arange(8.0), "at": pd.date_range("2024", periods=8, tz="UTC")})
    frame.groupby("key").agg({"x": ["mean", "std"]})
    frame.merge(frame, on="key").pivot_table(index="key", values="x_x")
    frame.set_index("at").resample("2D").x.mean()
    frame.query("x > 1").describe()
    px.scatter(frame, x="at", y="x", color="key").to_json()
    px.bar(frame, x="key", y="x").to_json()
    str(frame)
