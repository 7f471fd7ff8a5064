"""
One run, in a process of its own behind the walls: from here on nothing is trusted, this module included.

The program sees `df` (all rows), `dfs` (rows by ticker), pd, np, px, go, talib, scipy and `show`.
"""

from __future__ import annotations

import ast
import collections.abc
import gc
import linecache
import mmap
import os
import random
import signal
import sys
import traceback
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
import pyarrow as pa
import scipy
import talib

from lakehouse.sandbox import wire
from lakehouse.sandbox.output import Output, Printer
from lakehouse.sandbox.walls import Walls, put_up

NAME = "<analysis>"
_ERROR_CHARACTERS = 8000


@dataclass(frozen=True)
class Work:
    """Descriptors of one run: the program's text, an Arrow file or nothing, the result's pipe; and its bounds."""

    code: int
    data: int
    result: int
    text_bytes: int
    result_bytes: int


class Cut(BaseException):
    """The run is to end now; what was shown until then is still told."""


def run(work: Work, walls: Walls) -> NoReturn:
    """Put up the walls, run the program, write the document, end."""
    try:
        put_up(walls)
        code = wire.DONE
        output = Output(work.text_bytes, work.result_bytes)
        try:
            error = _outcome(work, output)
        except MemoryError as refused:
            code, error = wire.OUT_OF_MEMORY, _told(refused)
        except Cut as cut:
            code, error = (wire.OUT_OF_CPU if cut.args == (signal.SIGXCPU,) else wire.DONE), None
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _write(work.result, output.document("done" if error is None else "error", error))
        os._exit(code)
    except MemoryError:
        os._exit(wire.OUT_OF_MEMORY)
    finally:
        os._exit(70)


def _outcome(work: Work, output: Output) -> str | None:
    """Return the error, None if there was none."""
    for number in (signal.SIGTERM, signal.SIGXCPU):
        signal.signal(number, _cut)
    random.seed()  # a forked process would otherwise draw what its siblings draw
    np.random.seed(int.from_bytes(os.urandom(4), "little"))
    gc.freeze()
    text = _read(work.code).decode()
    module = _module(_frame(work.data), output)
    sys.stdout, sys.stderr = Printer(output, "out"), Printer(output, "err")
    linecache.cache[NAME] = (len(text), None, text.splitlines(True), NAME)
    try:
        _execute(text, module, output)
    except (Cut, MemoryError):
        raise
    except SystemExit:
        return None
    except BaseException as error:
        return _told(error)
    return None


def _execute(text: str, module: types.ModuleType, output: Output) -> None:
    tree = ast.parse(text, NAME)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, NAME, "exec"), vars(module))
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), NAME, "eval"), vars(module))
        if value is not None:
            output.show(value)


def _module(frame: pd.DataFrame, output: Output) -> types.ModuleType:
    module = types.ModuleType("__main__")
    libraries = {"pd": pd, "np": np, "px": px, "go": go, "talib": talib, "scipy": scipy}

    def show(*things: Any) -> None:
        """Show figures, tables, or the text of anything else."""
        for thing in things:
            output.show(thing)

    vars(module).update(libraries, df=frame, dfs=FrameByTicker(frame), show=show)
    sys.modules["__main__"] = module
    return module


class FrameByTicker(collections.abc.Mapping[str, pd.DataFrame]):
    """The rows of each ticker, cut out when asked for; by SECID, in the order of first appearance."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self._names = [str(name) for name in frame["secid"].unique()] if "secid" in frame else []
        self._cut: dict[str, pd.DataFrame] = {}

    def __getitem__(self, secid: str) -> pd.DataFrame:
        if secid not in self._names:
            raise KeyError(f"{secid} is not among the data: {', '.join(self._names) or 'there are none'}")
        if secid not in self._cut:
            self._cut[secid] = self._frame[self._frame["secid"] == secid].reset_index(drop=True)
        return self._cut[secid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _frame(descriptor: int) -> pd.DataFrame:
    size = os.fstat(descriptor).st_size
    if not size:
        return pd.DataFrame()
    mapped = mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    os.close(descriptor)
    with pa.ipc.open_file(pa.py_buffer(mapped)) as file:
        return file.read_all().to_pandas(use_threads=False)


def _told(error: BaseException) -> str:
    """Return the traceback with the analyst's own lines only."""
    try:
        told = traceback.TracebackException.from_exception(error)
        _keep_own_lines(told)
        return "".join(told.format())[-_ERROR_CHARACTERS:].encode("utf-8", "replace").decode()
    except Exception:
        return type(error).__name__


def _keep_own_lines(told: traceback.TracebackException | None) -> None:
    while told is not None:
        told.stack = traceback.StackSummary.from_list([frame for frame in told.stack if frame.filename == NAME])
        _keep_own_lines(told.__context__)
        told = told.__cause__


def _cut(number: int, _: object) -> NoReturn:
    raise Cut(number)


def _read(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0)


def _write(descriptor: int, document: bytes) -> None:
    left = memoryview(document)
    while left:
        left = left[os.write(descriptor, left) :]
