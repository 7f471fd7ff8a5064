"""Which files a Delta table needs to be read at a version, and for its changes to be read on from another."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

import pyarrow as pa

from lakehouse.engines.address import TableAddress
from lakehouse.storage.store import Store

_LOG = "_delta_log"
_COMMIT = re.compile(r"(\d{20})\.json")
# In one piece or in several
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(\.\d{10}\.\d{10})?\.parquet")


def needed_files(address: TableAddress, store: Store, folder: str, version: int, readers: Iterable[int]) -> list[str]:
    """
    Return the files of a table that its state at *version* needs, and the changes from each of *readers* to it.

    No former state can be read of those files alone. What a reader needs and is gone already is left out: he finds
    that out, and reads the table whole.

    Args:
        store: The root of the tables; *folder* is the table's in it.
        readers: Versions that somebody read last.
    """
    read = sorted({min(reader, version) for reader in readers} | {version})
    log = _log(store, folder)
    first = max((number for number, name in log if _CHECKPOINT.fullmatch(name) and number <= read[0]), default=0)
    files = {f"{_LOG}/{name}" for number, name in log if first <= number <= version}
    files.update(_active(address, version))
    held = {f"{_LOG}/{name}" for _, name in log}
    for commit in range(read[0] + 1, version + 1):
        if (name := f"{_LOG}/{commit:020d}.json") in held:
            files.update(_changes(store.get(f"{folder}/{name}")))
    for reader in read[:-1]:
        files.update(_active(address, reader))
    return sorted(files)


def _log(store: Store, folder: str) -> list[tuple[int, str]]:
    names = (key.rpartition("/")[2] for key in store.list(f"{folder}/{_LOG}"))
    return [(int(name[:20]), name) for name in names if _COMMIT.fullmatch(name) or _CHECKPOINT.fullmatch(name)]


def _active(address: TableAddress, version: int) -> Iterator[str]:
    paths = pa.table(address.open(version).get_add_actions(flatten=True))["path"].to_pylist()
    return map(unquote, paths)


def _changes(commit: bytes) -> set[str]:
    """Return the files that tell what a commit changed."""
    actions = [json.loads(line) for line in commit.splitlines()]
    told = {unquote(action["cdc"]["path"]) for action in actions if "cdc" in action}
    files = (action[kind] for action in actions for kind in ("add", "remove") if kind in action)
    return told or {unquote(file["path"]) for file in files if file["dataChange"]}
